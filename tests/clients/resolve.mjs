// Resolves a name as Node does for its connections, and prints what came of it as JSON.
import { lookup } from "node:dns/promises";

try {
  const found = await lookup(process.argv[2], { all: true });
  console.log(JSON.stringify({ event: "resolved", addresses: found.map(({ address }) => address) }));
} catch (error) {
  console.log(JSON.stringify({ event: "unresolved", error: error.code }));
  process.exitCode = 1;
}

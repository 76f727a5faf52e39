// A tour of the site by got. What it prints is compared, so it prints nothing that changes.
import { Readable } from "node:stream";
import got from "got";

const { TOKEN } = process.env;
const headers = { authorization: `Bearer ${TOKEN}` };
const client = got.extend({ prefixUrl: "https://api.site.example", throwHttpErrors: false, retry: { limit: 0 } });

const ask = async (method, path, options = {}) => {
  const { statusCode, headers: heads, trailers, body } = await client(path, { method, ...options });
  const sorted = [heads, trailers].map((fields) => Object.entries(fields).sort());
  console.log(method, path.replace(TOKEN, "…"), statusCode, ...sorted, body.length < 200 ? body : body.length);
};

await ask("GET", "echo", { searchParams: { q: "a b+ü" }, headers: { ...headers, "x-mixed": "Case" } });
await ask("POST", "echo", { username: "user", password: TOKEN, json: { text: "grüße" } });
await ask("PATCH", "echo", { headers: { "X-Api-Key": TOKEN }, form: { a: 1, b: 2 } });
await ask("GET", "echo", { searchParams: { key: TOKEN, other: 1 } });
await ask("GET", `bot${TOKEN}/me`);
await ask("PUT", "echo", { headers, body: "x".repeat(2_000_000) });
await ask("POST", "echo", { headers, body: Readable.from(["one", "two", "three"]) });
let text = "";
for await (const piece of client.stream("events")) text += piece;
console.log(text);
for (const path of ["gzip", "chunks", "large", "redirect", "missing", "broken"]) await ask("GET", path, { headers });
await ask("POST", "away", { headers, body: "body" });
await ask("HEAD", "echo", { headers });
await ask("DELETE", "empty", { headers });

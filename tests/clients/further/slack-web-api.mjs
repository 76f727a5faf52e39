// The library @slack/web-api: a message, and a file. What it prints is compared.
import { WebClient } from "@slack/web-api";

const client = new WebClient(process.env.TOKEN);
console.log((await client.auth.test()).user);
console.log((await client.chat.postMessage({ channel: "C1", text: "grüße & <hello>" })).ts);
const uploaded = await client.files.uploadV2({ channel_id: "C1", filename: "a.txt", content: "x".repeat(100_000) });
console.log(JSON.stringify(uploaded.files));

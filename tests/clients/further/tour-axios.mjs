// A tour of the site by axios. What it prints is compared, so it prints nothing that changes.
import { Readable } from "node:stream";
import axios from "axios";

const { TOKEN } = process.env;
const bearer = { Authorization: `Bearer ${TOKEN}` };
const client = axios.create({ baseURL: "https://api.site.example", validateStatus: () => true });

const ask = async (method, url, options = {}) => {
  const { status, headers, data } = await client.request({ method, url, ...options });
  const text = typeof data === "string" ? data : JSON.stringify(data);
  const sorted = Object.entries(headers.toJSON()).sort();
  console.log(method, url.replace(TOKEN, "…"), status, sorted, text.length < 200 ? text : text.length);
};

await ask("get", "/echo", { params: { q: "a b+ü" }, headers: { ...bearer, "x-MiXed": "Case" } });
await ask("post", "/echo", { auth: { username: "user", password: TOKEN }, data: { text: "grüße" } });
await ask("patch", "/echo", { headers: { "X-Api-Key": TOKEN }, data: new URLSearchParams({ a: 1, b: 2 }) });
await ask("get", "/echo", { params: { key: TOKEN, other: 1 } });
await ask("get", `/bot${TOKEN}/me`);
const form = new FormData();
form.append("file", new Blob(["x".repeat(2_000_000)]), "upload");
form.append("note", "hello");
await ask("post", "/echo", { headers: bearer, data: form });
await ask("put", "/echo", { headers: bearer, data: "x".repeat(2_000_000) });
await ask("post", "/echo", { headers: bearer, data: Readable.from(["one", "two", "three"]) });
const events = await client.get("/events", { responseType: "stream" });
let text = "";
for await (const piece of events.data) text += piece;
console.log(Object.entries(events.headers.toJSON()).sort(), text);
for (const path of ["/gzip", "/chunks", "/large", "/redirect", "/missing", "/broken"]) {
  await ask("get", path, { headers: bearer });
}
await ask("post", "/away", { headers: bearer, data: "body" });
await ask("head", "/echo", { headers: bearer });
await ask("delete", "/empty", { headers: bearer });

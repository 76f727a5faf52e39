// A tour of the site by undici's fetch, and by its request and stream, which are its own.
import { FormData, fetch, request } from "undici";
import { tour } from "./tour.mjs";

await tour(fetch, { FormData });

const headers = { authorization: `Bearer ${process.env.TOKEN}` };
for (const path of ["/echo", "/chunks", "/large"]) {
  const { statusCode, headers: heads, body, trailers } = await request(`https://api.site.example${path}`, { headers });
  const bytes = await body.bytes();
  console.log(path, statusCode, Object.entries(heads).sort(), bytes.length, Object.entries(trailers).sort());
}

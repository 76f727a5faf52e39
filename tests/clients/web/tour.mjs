// A tour of the site by anything that is called like fetch. What it prints is compared, so it prints nothing that changes.
const site = "https://api.site.example";
const { TOKEN } = process.env;
const bearer = { Authorization: `Bearer ${TOKEN}` };

export async function tour(fetch, { FormData = globalThis.FormData } = {}) {
  const ask = async (path, options) => {
    const response = await fetch(site + path, options);
    const { status, redirected } = response;
    const headers = [...response.headers];
    const text = await response.text();
    const shown = text.length < 200 ? text : text.length;
    console.log(JSON.stringify({ path: path.replace(TOKEN, "…"), status, redirected, headers, text: shown }));
    return response;
  };

  await ask("/echo?q=a%20b+c&q=%C3%BC", { headers: { ...bearer, "x-MiXed": "Case", "X-Empty": "" } });
  const basic = Buffer.from(`user:${TOKEN}`).toString("base64");
  await ask("/echo", {
    method: "POST",
    headers: { Authorization: `Basic ${basic}`, "Content-Type": "application/json" },
    body: JSON.stringify({ text: "grüße" }),
  });
  await ask("/echo", { method: "PATCH", headers: { "X-Api-Key": TOKEN }, body: new URLSearchParams({ a: 1, b: 2 }) });
  await ask(`/echo?key=${TOKEN}&other=1`);
  await ask(`/bot${TOKEN}/me`);

  const upload = "x".repeat(2_000_000);
  const form = new FormData();
  form.append("file", new Blob([upload]), "upload");
  form.append("note", "hello");
  await ask("/echo", { method: "POST", headers: bearer, body: form });
  await ask("/echo", { method: "PUT", headers: bearer, body: upload });
  const pieces = async function* () {
    for (let piece = 0; piece < 20; piece++) yield Buffer.alloc(10_000, piece);
  };
  await ask("/echo", { method: "POST", headers: bearer, body: ReadableStream.from(pieces()), duplex: "half" });

  const events = await fetch(`${site}/events`);
  const decoder = new TextDecoder();
  let text = "";
  for await (const piece of events.body) text += decoder.decode(piece, { stream: true });
  console.log([...events.headers], text);
  await ask("/gzip");
  await ask("/chunks");
  await ask("/large");
  await ask("/redirect", { headers: bearer });
  await ask("/away", { method: "POST", headers: bearer, body: "body" });
  const cookies = await ask("/cookie");
  console.log(cookies.headers.getSetCookie());
  await ask("/echo", { method: "HEAD", headers: bearer });
  await ask("/empty", { method: "DELETE", headers: bearer });
  await ask("/echo", { method: "OPTIONS" });
  await ask("/missing");
  await ask("/broken");
  const all = ["/echo?1", "/echo?2", "/echo?3", "/events?4"].map(async (path) => (await fetch(site + path)).text());
  console.log(await Promise.all(all));

  const forms = async (options) => {
    const response = await fetch("https://forms.site.example/echo", { method: "POST", ...options });
    console.log([...response.headers], await response.text());
  };
  const json = { "Content-Type": "application/json" };
  await forms({ headers: json, body: JSON.stringify({ login: { token: TOKEN }, x: [1, "ü"] }) });
  await forms({ body: new URLSearchParams({ token: TOKEN, other: "a b" }) });
  const login = new FormData();
  login.append("token", TOKEN);
  login.append("file", new Blob(["small"]), "small");
  await forms({ body: login });
  await forms({ body: `it is ${TOKEN}, ü` });

  // Given up on in the middle; the next one has to be well.
  const controller = new AbortController();
  const left = await fetch(`${site}/events`, { signal: controller.signal });
  await left.body.getReader().read();
  controller.abort();
  await ask("/echo");
}

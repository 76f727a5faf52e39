// The npm library `ws`, put to the test by Autobahn's suite, with permessage-deflate.
//
//   node testee.mjs server CERTIFICATE KEY            echoes every message; tells when it sees EXPECTED
//   node testee.mjs client URL LANES CASE...          answers a fuzzing server's cases, LANES of them at a time
//   node testee.mjs login URL                         sends DISCORD_BOT_TOKEN where it belongs, and ends with the echo
import fs from "node:fs";
import https from "node:https";
import WebSocket, { WebSocketServer } from "ws";

const print = (event, fields = {}) => console.log(JSON.stringify({ event, ...fields }));
// No limit on fragments: interceptor may join them, and a peer that counts them then sees fewer.
const options = { perMessageDeflate: { threshold: 0 }, maxFragments: 0, maxBufferedChunks: 0 };

function echo(socket) {
  socket.on("message", (data, isBinary) => socket.send(data, { binary: isBinary }));
  // That the other side errs is what is being tested.
  socket.on("error", () => {});
}

function serve(certificate, key) {
  const server = https.createServer({ cert: fs.readFileSync(certificate), key: fs.readFileSync(key) });
  new WebSocketServer({ server, ...options }).on("connection", (socket) => {
    echo(socket);
    socket.on("message", (data) => {
      if (data.includes(process.env.EXPECTED)) print("expected");
    });
  });
  server.listen(0, "127.0.0.1", () => print("listening", { port: server.address().port }));
}

function run(url, name) {
  return new Promise((resolve) => {
    const socket = new WebSocket(`${url}/runCase?casetuple=${name}&agent=testee`, options);
    echo(socket);
    socket.on("close", resolve);
  });
}

async function answer(url, lanes, ...cases) {
  const rest = cases[Symbol.iterator]();
  const lane = async () => {
    for (const name of rest) await run(url, name);
  };
  await Promise.all(Array.from({ length: Number(lanes) }, lane));
}

function login(url) {
  const socket = new WebSocket(url, options);
  socket.on("open", () => socket.send(JSON.stringify({ op: 2, d: { token: process.env.DISCORD_BOT_TOKEN } })));
  socket.on("message", () => socket.close(1000));
  socket.on("close", (code) => print("close", { code }));
}

const [role, ...rest] = process.argv.slice(2);
({ server: serve, client: answer, login })[role](...rest);

// The npm library `ws` with permessage-deflate on both sides, as JSON lines.
//
//   node deflating.mjs server CERTIFICATE KEY    tells of each message, and repeats it; EXPECTED is what a token should
//                                                read
//   node deflating.mjs client                    sends DISCORD_BOT_TOKEN where it belongs and where it does not
//   node deflating.mjs strict                    the same as client, but fails over what it did not ask for, and then tries
//                                                once more
//   node deflating.mjs bomb                      sends 20 MiB that compress to next to nothing
import fs from "node:fs";
import https from "node:https";
import WebSocket, { WebSocketServer } from "ws";

const print = (event, fields = {}) => console.log(JSON.stringify({ event, ...fields }));
// Every message compressed, however short, with the window going on from message to message where that is agreed.
const perMessageDeflate = { threshold: 0 };
const echoed = (text) => text + "x".repeat(5000);

function serve(certificate, key) {
  const server = https.createServer({ cert: fs.readFileSync(certificate), key: fs.readFileSync(key) });
  new WebSocketServer({ server, perMessageDeflate }).on("connection", (socket) => {
    print("connected", { extensions: socket.extensions });
    socket.on("message", (data) => {
      const text = data.toString();
      print("message", {
        length: text.length,
        real: text.includes(process.env.EXPECTED),
        placeholder: text.includes("openshell:"),
      });
      socket.send(echoed(text));
    });
  });
  server.listen(0, "127.0.0.1", () => print("listening", { port: server.address().port }));
}

function explode() {
  const socket = new WebSocket("wss://gateway.discord.gg/", { perMessageDeflate });
  socket.on("open", () => socket.send(JSON.stringify({ op: 2, d: { pad: "y".repeat(20 << 20) } })));
  socket.on("error", (error) => print("error", { message: error.message }));
  socket.on("close", (code) => print("close", { code }));
}

function connect(perMessageDeflate, failed) {
  const token = process.env.DISCORD_BOT_TOKEN;
  const numbers = Array.from({ length: 60000 }, (_, index) => (index * 7919) % 10007).join(",");
  const messages = [
    { op: 1, d: null },
    { op: 2, d: { token, pad: "y".repeat(3000) } },
    ...Array.from({ length: 50 }, (_, number) => ({ op: 3, d: { text: `${token} is how it is written, ${number}` } })),
    { op: 2, d: { numbers, token } },
    { op: 1, d: 1 },
  ].map((message) => JSON.stringify(message));
  const socket = new WebSocket("wss://gateway.discord.gg/", { perMessageDeflate });
  let [answers, same, compressed] = [0, 0, 0];
  socket.on("open", () => {
    print("open", { extensions: socket.extensions });
    messages.forEach((message) => socket.send(message));
  });
  socket.on("message", (data) => {
    // As it went out, with the placeholder.
    same += data.toString() === echoed(messages[answers]);
    // Of the message's first frame: the library tells nobody.
    compressed += socket._receiver._compressed;
    answers += 1;
    if (answers === messages.length) socket.close(1000);
  });
  socket.on("error", (error) => {
    print("error", { message: error.message });
    failed?.();
  });
  socket.on("close", (code) => print("close", { code, answers, same, compressed }));
}

const [role, ...files] = process.argv.slice(2);
if (role === "server") serve(...files);
else if (role === "bomb") explode();
else if (role === "strict") {
  const strict = { ...perMessageDeflate, clientNoContextTakeover: false };
  connect(strict, () => setTimeout(() => connect(strict), 100));
} else connect(perMessageDeflate);

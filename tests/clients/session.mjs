// A Discord bot with the npm library `ws` that stays: it resumes where READY told it to when the server wants it to
// come again, and sends each line of its standard input as a message, `$TOKEN` standing for its token.
import readline from "node:readline";
import tls from "node:tls";
import WebSocket from "ws";

const token = process.env.DISCORD_BOT_TOKEN;
const print = (event, fields = {}) => console.log(JSON.stringify({ event, ...fields }));

let socket;
let session;
let url = "wss://gateway.discord.gg";
let sequence = null;
let ending = false;

const send = (message) => socket.send(JSON.stringify(message));

const connect = () => {
  const host = new URL(url).hostname;
  socket = new WebSocket(`${url}/?v=10&encoding=json`, {
    createConnection: () => tls.connect({ host, port: 443, servername: host }),
  });
  socket.on("open", () => print("open", { host }));
  socket.on("message", (data) => {
    const message = JSON.parse(data);
    sequence = message.s ?? sequence;
    if (message.op === 7) {
      print("reconnect");
      socket.close(4000);
    } else if (message.op === 10 && session) {
      send({ op: 6, d: { token, session_id: session, seq: sequence } });
    } else if (message.op === 10) {
      send({ op: 2, d: { token, intents: 513, properties: { os: "linux" } } });
    } else if (message.op === 0) {
      if (message.t === "READY") {
        session = message.d.session_id;
        url = message.d.resume_gateway_url;
      }
      print(message.t.toLowerCase());
    }
  });
  socket.on("close", (code, reason) => {
    print("close", { code, reason: String(reason) });
    if (code === 4000 && !ending) connect();
    else process.stdin.destroy();
  });
  socket.on("error", (error) => print("error", { code: error.code, message: error.message }));
};

readline
  .createInterface({ input: process.stdin })
  .on("line", (line) => socket.send(line.replaceAll("$TOKEN", token)))
  .on("close", () => {
    ending = true;
    socket.close(1000);
  });

connect();

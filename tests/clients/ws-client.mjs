// A Discord bot's connection with the npm library `ws`, as many bots have it. It opens its TLS connection with
// tls.connect and knows nothing of proxies.
//
// Its token is DISCORD_BOT_TOKEN. It prints one JSON object a line. ECHO=n sends n messages after READY and compares
// what comes back; HOLD=1 stays connected until standard input ends.
import tls from "node:tls";
import WebSocket from "ws";

const host = "gateway.discord.gg";
const token = process.env.DISCORD_BOT_TOKEN;
const messages = Number(process.env.ECHO ?? 0);
const hold = process.env.HOLD === "1";

const print = (event, fields = {}) => console.log(JSON.stringify({ event, ...fields }));

const socket = new WebSocket(`wss://${host}/?v=10&encoding=json`, {
  createConnection: () => tls.connect({ host, port: 443, servername: host }),
});
const send = (message) => socket.send(JSON.stringify(message));

// Of every length from a few bytes to a few thousand, with text outside ASCII.
const payload = (number) => ({ number, text: "grüße ".repeat((number * 7) % 500) });

let heartbeat;
let sequence = null;
let echoed = 0;
let unchanged = true;

const finish = () => {
  if (!hold) socket.close(1000);
};

socket.on("open", () => {
  print("open", { peer: `${socket._socket.remoteAddress}:${socket._socket.remotePort}` });
});

socket.on("message", (data) => {
  const message = JSON.parse(data);
  sequence = message.s ?? sequence;
  if (message.op === 10) {
    print("hello", { interval: message.d.heartbeat_interval });
    send({ op: 1, d: null });
    heartbeat = setInterval(() => send({ op: 1, d: sequence }), message.d.heartbeat_interval);
    send({
      op: 2,
      d: {
        token,
        intents: 513,
        properties: { os: "linux", browser: "ws-client", device: "ws-client" },
      },
    });
  } else if (message.op === 11) {
    print("heartbeat-ack");
  } else if (message.t === "READY") {
    print("ready", { user: message.d.user.username });
    for (let number = 0; number < messages; number += 1) send({ op: 100, d: payload(number) });
    if (messages === 0) finish();
  } else if (message.t === "ECHO") {
    unchanged &&= JSON.stringify(message.d) === JSON.stringify(payload(echoed));
    echoed += 1;
    if (echoed === messages) {
      print("echoed", { messages, unchanged });
      finish();
    }
  }
});

socket.on("close", (code) => {
  clearInterval(heartbeat);
  process.stdin.destroy();
  print("close", { code });
  process.exitCode = code === 1000 ? 0 : 1;
});

socket.on("error", (error) => print("error", { code: error.code, message: error.message }));

if (hold) {
  process.stdin.on("end", () => socket.close(1000));
  process.stdin.resume();
}

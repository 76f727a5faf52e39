// An HTTPS server that tells each request as it understood it. Arguments: certificate and key, as files.
import { readFileSync } from "node:fs";
import { createServer } from "node:https";

const print = (event, fields) => console.log(JSON.stringify({ event, ...fields }));

const [, , cert, key] = process.argv;
const limits = { keepAliveTimeout: 300, headersTimeout: 1500, requestTimeout: 1500, connectionsCheckingInterval: 200 };
const server = createServer({ cert: readFileSync(cert), key: readFileSync(key), ...limits });

let requests = 0;
server.on("request", (request, response) => {
  const number = requests++;
  print("request", { number, host: request.socket.servername, method: request.method, target: request.url });
  const chunks = [];
  request.on("data", (chunk) => chunks.push(chunk));
  request.on("end", () => {
    print("body", { number, body: Buffer.concat(chunks).toString("latin1") });
    response.end("seen");
  });
});
server.on("clientError", (_, socket) => socket.end("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"));

server.listen(0, "127.0.0.1", () => print("listening", { port: server.address().port }));
process.stdin.on("end", () => process.exit());
process.stdin.resume();

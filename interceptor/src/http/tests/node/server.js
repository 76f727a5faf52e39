// A server that shows what reached it. Prints its port, ends when its standard input does.
'use strict';
const crypto = require('node:crypto');
const http = require('node:http');

let hungUp = 0;

const routes = {
  // Sends the body back as it comes, and the trailers after it.
  echo(req, res) {
    res.writeHead(200, { 'X-Case-Kept': 'yes', Trailer: 'X-Sum' });
    const hash = crypto.createHash('sha256');
    req.on('data', (chunk) => {
      hash.update(chunk);
      if (!res.write(chunk)) req.pause();
    });
    res.on('drain', () => req.resume());
    req.on('end', () => {
      res.addTrailers({ 'X-Sum': hash.digest('hex'), 'X-Sent': req.trailers['x-sent'] ?? 'none' });
      res.end();
    });
  },
  fields(req, res) {
    res.end(JSON.stringify(req.rawHeaders));
  },
  big(req, res) {
    const body = Buffer.alloc(10_000_000, 'x');
    res.writeHead(200, { 'Content-Length': body.length });
    res.end(body);
  },
  empty(req, res) {
    res.writeHead(204).end();
  },
  // Never ends by itself.
  forever(req, res) {
    res.write('start');
    req.socket.on('close', () => hungUp++);
  },
  broken(req, res) {
    res.writeHead(200, { 'Content-Length': 1000 });
    res.write('only this', () => req.socket.destroy());
  },
  hungup(req, res) {
    res.end(String(hungUp));
  },
  early(req, res) {
    res.writeHead(413, { Connection: 'close' }).end('too large');
  },
};

const server = http.createServer((req, res) => routes[req.url.slice(1)](req, res));
server.on('checkContinue', (req, res) => {
  res.writeContinue();
  routes[req.url.slice(1)](req, res);
});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
process.stdin.resume().on('end', () => process.exit(0));

// A server whose answers say what it was asked.
const http2 = require('http2');
const { createHash } = require('crypto');

const server = http2.createServer({ settings: { enableConnectProtocol: true } });
server.on('stream', (stream, headers) => {
  stream.on('error', () => {});
  const path = headers[':path'];
  if (path === '/echo') {
    const hash = createHash('sha256');
    let length = 0;
    stream.on('data', (data) => { hash.update(data); length += data.length; });
    stream.on('trailers', (trailers) => { stream.told = trailers['x-end']; });
    stream.on('end', () => {
      const token = headers['x-api-key'] ?? '';
      // What is told plainly does not come back.
      const seen = { 'x-token': token, 'x-seen': createHash('sha256').update(token).digest('hex') };
      stream.respond({ ':status': 200, ...seen }, { waitForTrailers: true });
      stream.on('wantTrailers', () => stream.sendTrailers({ 'x-told': stream.told ?? 'nothing' }));
      stream.end(`${length} ${hash.digest('hex')}`);
    });
  } else if (path === '/large') {
    stream.respond({ ':status': 200 });
    let left = 160;
    const more = () => {
      while (left-- > 0) {
        if (!stream.write(Buffer.alloc(65536, left))) return stream.once('drain', more);
      }
      stream.end();
    };
    more();
  } else if (path === '/events') {
    stream.respond({ ':status': 200, 'content-type': 'text/event-stream' });
    let number = 0;
    const timer = setInterval(() => {
      stream.write(`data: ${number}\n\n`);
      if (++number === 5) { clearInterval(timer); stream.end(); }
    }, 20);
  } else if (path === '/wait') {
    stream.on('close', () => { server.cancelled = stream.rstCode; });
  } else if (path === '/cancelled') {
    stream.respond({ ':status': 200 });
    stream.end(String(server.cancelled));
  } else if (path === '/early') {
    stream.additionalHeaders({ ':status': 103, link: '</a>' });
    stream.respond({ ':status': 200, 'content-length': '5' });
    stream.end('early');
  } else if (headers[':protocol'] === 'websocket') {
    stream.respond({ ':status': 200 });
    // Each frame comes back without its mask.
    stream.on('data', (data) => {
      data[1] &= 0x7f;
      for (let at = 6; at < data.length; at++) data[at] ^= data[2 + (at - 6) % 4];
      stream.write(Buffer.concat([data.subarray(0, 2), data.subarray(6)]));
      if (data[0] === 0x88) stream.end();
    });
  } else if (path === '/leave') {
    stream.session.goaway(0);
    stream.respond({ ':status': 200 });
    stream.end('left');
  } else {
    stream.respond({ ':status': 404 }, { endStream: true });
  }
});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
process.stdin.on('end', () => process.exit()).resume();

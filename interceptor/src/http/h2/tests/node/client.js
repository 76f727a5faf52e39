// Does over the relay what clients do, and fails where the answer is not as without it.
const http2 = require('http2');
const assert = require('assert');
const { createHash } = require('crypto');

const session = () => http2.connect(`http://127.0.0.1:${process.env.RELAY_PORT}`);

function ask(over, headers, send) {
  return new Promise((resolve, reject) => {
    const stream = over.request(
      { ':scheme': 'https', ':authority': 'api.example.com', ...headers },
      { endStream: !send, waitForTrailers: true },
    );
    const answer = { parts: [], body: Buffer.alloc(0), interim: [] };
    stream.on('headers', (headers) => answer.interim.push(headers[':status']));
    stream.on('response', (headers) => { answer.headers = headers; });
    stream.on('trailers', (trailers) => { answer.trailers = trailers; });
    stream.on('data', (data) => { answer.parts.push({ at: Date.now(), data }); });
    stream.on('error', reject);
    stream.on('wantTrailers', () => stream.sendTrailers({ 'x-end': 'all' }));
    stream.on('end', () => {
      answer.body = Buffer.concat(answer.parts.map((part) => part.data));
      resolve(answer);
    });
    if (send) send(stream);
  });
}

(async () => {
  const over = session();

  const body = Buffer.alloc(5_000_000, 'abc');
  const digest = createHash('sha256').update(body).digest('hex');
  const uploads = Array.from({ length: 8 }, () => ask(over,
    { ':method': 'POST', ':path': '/echo', 'x-api-key': 'openshell:resolve:env:TOKEN' },
    (stream) => stream.end(body)));
  for (const answer of await Promise.all(uploads)) {
    assert.equal(answer.body.toString(), `${body.length} ${digest}`);
    assert.equal(answer.headers['x-token'], 'openshell:resolve:env:TOKEN');
    assert.equal(answer.headers['x-seen'], createHash('sha256').update('s3cr3t-value').digest('hex'));
    assert.equal(answer.trailers['x-told'], 'all');
  }
  console.log('eight uploads of five megabytes at once, with trailers');

  for (const answer of await Promise.all(Array.from({ length: 4 }, () => ask(over, { ':path': '/large' })))) {
    assert.equal(answer.body.length, 160 * 65536);
  }
  console.log('four downloads of ten megabytes at once');

  const events = await ask(over, { ':path': '/events' });
  assert.equal(events.parts.length, 5);
  assert.equal(events.parts[4].at - events.parts[0].at >= 60, true);
  console.log('events come one by one');

  const early = await ask(over, { ':path': '/early' });
  assert.deepEqual(early.interim, [103]);
  assert.equal(early.body.toString(), 'early');
  const head = await ask(over, { ':path': '/early', ':method': 'HEAD' });
  assert.equal(head.body.length, 0);
  console.log('interim answers, and answers to HEAD');

  const told = () => over.remoteSettings.enableConnectProtocol;
  if (!told()) await new Promise((resolve) => over.on('remoteSettings', () => told() && resolve()));
  const socket = over.request({
    ':scheme': 'https', ':authority': 'api.example.com', ':path': '/socket',
    ':method': 'CONNECT', ':protocol': 'websocket', 'sec-websocket-version': '13',
  });
  const next = () => new Promise((resolve) => socket.once('data', resolve));
  socket.write(Buffer.from([0x81, 0x82, 1, 2, 3, 4, 0x68 ^ 1, 0x69 ^ 2]));
  assert.deepEqual(await next(), Buffer.from([0x81, 2, 0x68, 0x69]));
  socket.write(Buffer.from([0x88, 0x82, 1, 2, 3, 4, 3 ^ 1, 0xe8 ^ 2]));
  assert.deepEqual(await next(), Buffer.from([0x88, 2, 3, 0xe8]));
  await new Promise((resolve) => socket.on('close', resolve).end());
  assert.equal(socket.rstCode, 0);
  console.log('a WebSocket on a stream');

  const waiting = over.request({ ':scheme': 'https', ':authority': 'api.example.com', ':path': '/wait' });
  waiting.on('error', () => {});
  await new Promise((resolve) => setTimeout(resolve, 100));
  waiting.close(http2.constants.NGHTTP2_CANCEL);
  await new Promise((resolve) => setTimeout(resolve, 100));
  const cancelled = await ask(over, { ':path': '/cancelled' });
  assert.equal(cancelled.body.toString(), String(http2.constants.NGHTTP2_CANCEL));
  console.log('a request that is taken back is taken back from the server');

  const elsewhere = await ask(over, { ':path': '/', ':authority': 'evil.example' });
  assert.equal(elsewhere.headers[':status'], 421);
  assert.equal(JSON.parse(elsewhere.body).error, 'authority_mismatch');
  console.log('a request to another host is refused with a reason');

  const closed = new Promise((resolve) => over.on('close', resolve));
  const left = await ask(over, { ':path': '/leave' });
  assert.equal(left.body.toString(), 'left');
  await closed;
  const again = session();
  assert.equal((await ask(again, { ':path': '/early' })).body.toString(), 'early');
  again.close();
  console.log('a server that leaves is left, and another connection made');
})().catch((error) => {
  console.error(error);
  process.exit(1);
});

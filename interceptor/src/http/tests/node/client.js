// Uses a relay to the server beside this file as any program would. Throws at what is not as without the relay.
'use strict';
const assert = require('node:assert');
const crypto = require('node:crypto');
const http = require('node:http');

const port = Number(process.env.RELAY_PORT);
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });

function open(path, options = {}) {
  const headers = { Host: 'api.example.com', ...options.headers };
  return http.request({ host: '127.0.0.1', port, path, agent, ...options, headers });
}

function fetch(path, options = {}, body) {
  return new Promise((resolve, reject) => {
    const req = open(path, options);
    req.on('error', reject);
    req.on('response', (res) => {
      const chunks = [];
      res.on('data', (chunk) => chunks.push(chunk));
      res.on('error', reject);
      res.on('end', () => resolve({ req, res, body: Buffer.concat(chunks) }));
    });
    req.end(body);
  });
}

const cases = {
  async 'one connection carries many requests'() {
    for (let n = 0; n < 50; n++) {
      const { req, body } = await fetch('/echo', { method: 'POST' }, `message ${n}`);
      assert.equal(body.toString(), `message ${n}`);
      assert.equal(req.reusedSocket, n > 0, `request ${n}`);
    }
  },
  async 'order and case of fields are kept'() {
    const sent = ['hOsT', 'api.example.com', 'X-b', '1', 'x-A', '2', 'X-b', '3', 'COOKIE', 'a=b', 'Connection', 'keep-alive'];
    const req = http.request({ host: '127.0.0.1', port, path: '/fields', agent, headers: sent, setHost: false });
    const body = await new Promise((resolve, reject) => {
      req.on('error', reject);
      req.on('response', (res) => {
        let text = '';
        res.on('data', (chunk) => (text += chunk)).on('end', () => resolve(text));
      });
      req.end();
    });
    assert.deepEqual(JSON.parse(body), sent);
  },
  async 'ten megabytes and trailers go up and down in chunks'() {
    const body = crypto.randomBytes(10_000_000);
    const sum = crypto.createHash('sha256').update(body).digest('hex');
    const { res, echoed } = await new Promise((resolve, reject) => {
      const req = open('/echo', { method: 'POST', headers: { Trailer: 'X-Sent', 'Transfer-Encoding': 'chunked' } });
      req.on('error', reject);
      req.on('response', (res) => {
        const hash = crypto.createHash('sha256');
        res.on('data', (chunk) => hash.update(chunk));
        res.on('end', () => resolve({ res, echoed: hash.digest('hex') }));
      });
      for (let at = 0; at < body.length; at += 99_991) req.write(body.subarray(at, at + 99_991));
      req.addTrailers({ 'X-Sent': 'all' });
      req.end();
    });
    assert.equal(echoed, sum);
    assert.equal(res.trailers['x-sum'], sum);
    assert.equal(res.trailers['x-sent'], 'all');
    assert.ok(res.rawHeaders.includes('X-Case-Kept'));
  },
  async 'ten megabytes come down with their length'() {
    const { body } = await fetch('/big');
    assert.equal(body.length, 10_000_000);
  },
  async 'answers without a body leave the connection usable'() {
    for (const options of [{ method: 'HEAD' }, { method: 'GET' }]) {
      const { body } = await fetch(options.method === 'HEAD' ? '/big' : '/empty', options);
      assert.equal(body.length, 0);
    }
    const { req } = await fetch('/fields');
    assert.ok(req.reusedSocket);
  },
  async 'a body waits for 100-continue'() {
    const text = await new Promise((resolve, reject) => {
      const req = open('/echo', { method: 'PUT', headers: { Expect: '100-continue' } });
      req.on('error', reject);
      req.on('continue', () => req.end('after'));
      req.on('response', (res) => {
        let text = '';
        res.on('data', (chunk) => (text += chunk)).on('end', () => resolve(text));
      });
      req.flushHeaders();
    });
    assert.equal(text, 'after');
  },
  async 'a client that hangs up is seen to hang up'() {
    await new Promise((resolve, reject) => {
      const req = open('/forever', { agent: false });
      req.on('error', reject);
      req.on('response', (res) => {
        res.once('data', () => {
          res.on('error', () => {});
          req.destroy();
          resolve();
        });
      });
      req.end();
    });
    for (let tries = 0; ; tries++) {
      const { body } = await fetch('/hungup');
      if (body.toString() === '1') return;
      assert.ok(tries < 500, 'the server never saw the client go');
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  },
  async 'a server that breaks off is seen to break off'() {
    await assert.rejects(fetch('/broken', { agent: false }), { code: 'ECONNRESET' });
  },
  async 'an early answer to a large body arrives'() {
    const { res } = await fetch('/early', { agent: false, method: 'POST' }, Buffer.alloc(300_000));
    assert.equal(res.statusCode, 413);
  },
  async 'a request to another host is refused with a reason'() {
    const { res, body } = await fetch('/echo', { agent: false, headers: { Host: 'evil.example' } });
    assert.equal(res.statusCode, 421);
    assert.equal(JSON.parse(body).error, 'authority_mismatch');
  },
};

(async () => {
  for (const [name, run] of Object.entries(cases)) {
    await run().catch((error) => {
      console.error(`${name}:`, error);
      process.exit(1);
    });
    console.log(name);
  }
  agent.destroy();
})();

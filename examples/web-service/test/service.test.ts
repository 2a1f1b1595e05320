import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, test } from 'node:test';
import { type Container, createContainer, createTestRedisConfig } from 'redis-backplane';
import { createService } from '../src/service.js';

let redis: Container;
let server: Server;
let url: string;

before(async () => {
  redis = await createContainer({ redis: createTestRedisConfig() }); // memory://, or the server of REDIS_TEST_URL
  server = createService(redis).listen(0);
  await once(server, 'listening');
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});

after(async () => {
  server.close();
  server.closeAllConnections();
  await redis.shutdown();
});

const order = (key: string, item: string): Promise<Response> =>
  fetch(`${url}/orders`, { method: 'POST', headers: { 'idempotency-key': key }, body: JSON.stringify({ item }) });

test('an order that is sent twice is taken once, and mailed once', async () => {
  const answers = await Promise.all([order('a', 'tea'), order('a', 'tea')]);
  assert.deepEqual(answers.map(({ status }) => status).sort(), [200, 201]);
  assert.deepEqual(await (await fetch(`${url}/orders/a`)).json(), { id: 'a', item: 'tea' });
  const mails = redis.getQueue('mails');
  await (await mails.getJob('mail-a'))?.waitUntilFinished();
  assert.equal((await mails.counts()).completed, 1);
});

test('every order reaches those who watch', async () => {
  const response = await fetch(`${url}/events`);
  assert.ok(response.body);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  assert.equal((await reader.read()).value, ': ready\n\n');
  await order('b', 'coffee');
  assert.equal((await reader.read()).value, 'data: {"id":"b","item":"coffee"}\n\n');
  await reader.cancel();
});

test('what is no order is refused, and the service says that it is ready', async () => {
  assert.equal((await fetch(`${url}/orders`, { method: 'POST', body: '{}' })).status, 400);
  assert.equal((await fetch(`${url}/orders/nobody`)).status, 404);
  assert.equal((await fetch(`${url}/ready`)).status, 200);
});

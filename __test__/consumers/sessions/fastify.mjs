/** A real Fastify server with @fastify/session on BackplaneStore. Ends by itself, or it has failed. */
import assert from 'node:assert/strict';
import fastifyCookie from '@fastify/cookie';
import fastifySession from '@fastify/session';
import fastify from 'fastify';
import { RedisConnectionManager } from 'redis-backplane';
import { BackplaneStore } from 'redis-backplane/express-session';

for (const url of [process.env.REDIS_TEST_URL, 'memory://consumer-fastify']) {
  const namespace = `consumer-fastify-${process.pid}`;
  const manager = new RedisConnectionManager({ url, namespace });
  const app = fastify();
  app.register(fastifyCookie);
  app.register(fastifySession, {
    store: new BackplaneStore(manager),
    secret: 'of the sessions of this consumer, long enough',
    cookie: { secure: false, maxAge: 60_000 },
    saveUninitialized: false,
  });
  app.get('/set/:name', async (request) => {
    request.session.set(request.params.name, 1);
    return 'set';
  });
  app.get('/logout', async (request) => {
    await request.session.destroy();
    return 'out';
  });
  app.get('/', async (request) => Object.keys(JSON.parse(JSON.stringify(request.session))).filter((name) => name !== 'cookie'));
  const address = await app.listen({ port: 0, host: '127.0.0.1' });
  const get = async (path, cookie) => {
    const response = await fetch(`${address}${path}`, { headers: cookie ? { cookie } : {} });
    const text = await response.text();
    assert.equal(response.status, 200, text);
    return { text, cookie: response.headers.get('set-cookie')?.split(';')[0] ?? cookie };
  };

  const { cookie } = await get('/set/first');
  await Promise.all(Array.from({ length: 200 }, (_, at) => get(`/set/k${at}`, cookie)));
  assert.equal(JSON.parse((await get('/', cookie)).text).length, 201, 'of 200 requests at once none is lost');
  await get('/logout', cookie);
  assert.equal((await get('/', cookie)).text, '[]');

  await app.close();
  for (const key of await manager.command('KEYS', `${namespace}*`)) await manager.command('DEL', key);
  await manager.disconnect();
}

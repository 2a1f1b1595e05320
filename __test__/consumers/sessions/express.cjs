/** A real Express server with express-session on BackplaneStore, taking over from connect-redis. Ends by itself, or it has failed. */
const assert = require('node:assert/strict');
const { once } = require('node:events');
const { RedisConnectionManager } = require('redis-backplane');
assert.ok(!Object.keys(require.cache).some((file) => file.includes('express-session')), 'requiring the package loads no peer');
const express = require('express');
const session = require('express-session');
const { RedisStore } = require('connect-redis');
const { createClient } = require('redis');
const { BackplaneStore } = require('redis-backplane/express-session');

const SECRET = 'of the sessions of this consumer';

/** An application that changes and shows its session, and one that waits before it is done. */
async function serve(store) {
  const app = express();
  app.use(session({ store, secret: SECRET, resave: false, saveUninitialized: false, cookie: { maxAge: 60_000 } }));
  const waiting = new Map();
  app.get('/set/:name', (request, response) => {
    request.session[request.params.name] = 1;
    response.end('set');
  });
  app.get('/slow/:name', async (request, response) => {
    await new Promise((resolve) => waiting.set(request.params.name, resolve));
    request.session[request.params.name] = 1;
    response.end('slow');
  });
  app.get('/login', (request, response, next) => {
    request.session.regenerate((error) => {
      if (error) return next(error);
      request.session.user = 'ann';
      response.end('in');
    });
  });
  app.get('/logout', (request, response, next) => request.session.destroy((error) => (error ? next(error) : response.end('out'))));
  app.get('/', (request, response) => {
    const { cookie: _, ...data } = request.session;
    response.json(data);
  });
  const server = app.listen(0);
  await once(server, 'listening');
  const get = async (path, cookie) => {
    const response = await fetch(`http://127.0.0.1:${server.address().port}${path}`, { headers: cookie ? { cookie } : {} });
    const text = await response.text();
    assert.equal(response.status, 200, text);
    return { text, cookie: response.headers.get('set-cookie')?.split(';')[0] ?? cookie };
  };
  return {
    get,
    /** Resolves when a slow request has begun; lets it go on. */
    async go(name) {
      while (!waiting.has(name)) await new Promise(setImmediate);
      return waiting.get(name);
    },
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

async function run(url) {
  const namespace = `consumer-sessions-${process.pid}`;
  const manager = new RedisConnectionManager({ url, namespace });
  const prefix = `${namespace}-sess:`;
  const dropped = [];
  const store = new BackplaneStore(manager, { importFrom: prefix });
  store.on('conflict', (conflict) => dropped.push(conflict.reason));
  const [one, other] = [await serve(store), await serve(new BackplaneStore(manager, { importFrom: prefix }))];

  const { cookie } = await one.get('/set/first');
  await Promise.all(Array.from({ length: 200 }, (_, at) => (at % 2 ? one : other).get(`/set/k${at}`, cookie)));
  assert.equal(Object.keys(JSON.parse((await one.get('/', cookie)).text)).length, 201, 'of 200 requests at once none is lost');

  const login = await one.get('/login', cookie);
  assert.notEqual(login.cookie, cookie);
  assert.equal((await other.get('/', login.cookie)).text, '{"user":"ann"}');
  assert.equal((await other.get('/', cookie)).text, '{}', 'the id before the login is worth nothing');

  const slow = one.get('/slow/late', login.cookie);
  const go = await one.go('late');
  await other.get('/logout', login.cookie);
  go();
  assert.equal((await slow).text, 'slow');
  assert.deepEqual(dropped, ['destroyed']);
  assert.equal((await other.get('/', login.cookie)).text, '{}', 'a slow request does not undo a logout');

  if (url.startsWith('redis:')) await rollout(url, prefix, one);
  await one.close();
  await other.close();
  for (const key of await manager.command('KEYS', `${namespace}*`)) await manager.command('DEL', key);
  await manager.disconnect();
}

/** Users of a service on connect-redis go on with the next release, while their requests come. */
async function rollout(url, prefix, next) {
  const client = await createClient({ url }).connect();
  const before = await serve(new RedisStore({ client, prefix }));
  const cookies = [];
  for (let at = 0; at < 20; at++) cookies.push((await before.get(`/set/user${at}`)).cookie);
  await Promise.all(
    cookies.flatMap((cookie, at) => [
      before.get('/', cookie).then(({ text }) => assert.match(text, new RegExp(`"user${at}"`))),
      next.get('/set/a', cookie),
      next.get('/set/b', cookie),
      before.get('/', cookie),
    ]),
  );
  for (const [at, cookie] of cookies.entries()) {
    assert.deepEqual(JSON.parse((await next.get('/', cookie)).text), { [`user${at}`]: 1, a: 1, b: 1 });
  }
  await before.close();
  client.destroy();
}

(async () => {
  await run(process.env.REDIS_TEST_URL);
  await run('memory://consumer-sessions');
})();

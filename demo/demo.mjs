/** A team's everyday use of Redis, in a few seconds. On `memory://demo`, or on the server of REDIS_URL. */
import { fork } from 'node:child_process';
import { once as onceEmitted } from 'node:events';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import {
  CheckpointStore,
  createEnvelope,
  createTestRedisConfig,
  deduplicateEvent,
  KVStore,
  makeRedisBus,
  memoryControl,
  once,
  RedisConnectionManager,
  RedisError,
  SessionStore,
  TaskQueue,
  WorkerRegistry,
} from 'redis-backplane';

const url = process.env.REDIS_URL ?? 'memory://demo';
const show = (what, value) => console.log(`  ${what.padEnd(58)} ${JSON.stringify(value)}`);
const chapter = (title) => console.log(`\n${title}`);
// What dies in the middle of its work is a process of its own. On memory://, which no other process can reach, it is a thread.
const inThread = url.startsWith('memory:');
const start = (script, data) => {
  const file = fileURLToPath(new URL(script, import.meta.url));
  return inThread ? new Worker(file, { workerData: data }) : fork(file, [JSON.stringify(data)]);
};
const kill = (child) => (inThread ? child.terminate() : child.kill('SIGKILL'));

chapter(`Connect to ${url.startsWith('memory:') ? url : 'the server of REDIS_URL'}`);
const { namespace } = createTestRedisConfig();
const config = { url, namespace };
const redis = new RedisConnectionManager(config);
await Promise.all([redis.connect(), redis.connect(), redis.connect()]);
const { server } = await redis.health();
show('three connect() at once share one attempt', redis.state);
show('who answers', server);
show('round trip in ms', Number((await redis.ping()).toFixed(3)));

chapter('A KV store');
const kv = new KVStore(redis, { namespace: 'shop' });
await kv.set('cart:7', { items: ['tea'], total: 4 }, 60);
show('get', await kv.get('cart:7'));
show('cas with what is there', await kv.cas('cart:7', { items: ['tea'], total: 4 }, { items: ['tea', 'cup'], total: 9 }));
show('cas with what was there', await kv.cas('cart:7', { items: ['tea'], total: 4 }, { items: [], total: 0 }));
await Promise.all(Array.from({ length: 20 }, () => kv.update('visits', (n) => (n ?? 0) + 1, { maxAttempts: 100 })));
show('20 concurrent update() lose nothing', await kv.get('visits'));

chapter('Once, whoever calls');
const charge = (caller) => once(kv, 'charge:7', async () => `charged by ${caller}`, 60);
show('two callers race: one runs, the other gets null', await Promise.all([charge('A'), charge('B')]));
show('an event comes twice', [await deduplicateEvent(kv, 'evt-1', 60), await deduplicateEvent(kv, 'evt-1', 60)]);

chapter('Sessions');
const sessions = new SessionStore(redis, { namespace: 'web' });
const visit = await sessions.create({ cart: [] }, { user: 'ann' });
const attempts = await Promise.allSettled([sessions.save(visit, { cart: ['tea'] }), sessions.save(visit, { cart: ['cup'] })]);
show(
  'a session saved by two requests at once',
  attempts.map(({ status, reason }) => (status === 'fulfilled' ? 'saved' : reason.reason)),
);
await sessions.update(visit.id, ({ cart }) => ({ cart: [...cart, 'pot'] }));
const inside = await sessions.regenerate(visit.id);
show('after a login it has another id', [inside?.data, await sessions.load(visit.id)]);
const slow = await sessions.load(inside?.id ?? '');
show('logged out everywhere', await sessions.destroyOfUser('ann'));
show('a request that was slower', await sessions.save(slow, { cart: [] }).catch((error) => error.reason));

chapter('A lock with a fencing token');
const first = await kv.lock('invoice-run', { leaseMs: 5_000 });
const refused = await kv.lock('invoice-run').then(
  () => 'taken twice',
  (error) => (error instanceof RedisError ? error.redisErrorKind : 'another error'),
);
show('a second caller meanwhile', refused);
await first.release();
const second = await kv.lock('invoice-run');
show('the next holder has a greater token', second.token > first.token);
await second.release();

chapter('A cache with one loader');
let loads = 0;
const load = async () => {
  loads += 1;
  return { rate: 1.08 };
};
await Promise.all(Array.from({ length: 100 }, () => kv.getOrSet('rate:eur', load, { ttlSec: 30, staleSec: 30 })));
show('100 concurrent getOrSet ran the loader', `${loads} time(s)`);

chapter('A message bus: live');
const bus = makeRedisBus(redis);
bus.on('error', ({ topic, error }) => show(`a handler of ${topic} failed, the other did not`, error.message));
const shipped = [];
await bus.subscribe('orders.created', async ({ payload }) => {
  await bus.publish('orders.shipped', { order: payload.id });
});
await bus.subscribe('orders.created', () => {
  throw new Error('the printer is out of paper');
});
const done = new Promise((resolve) => {
  bus.psubscribe('orders.*', ({ payload, corrId }, { topic }) => {
    shipped.push([topic, payload, corrId]);
    if (topic === 'orders.shipped') resolve();
  });
});
await bus.ready();
show(
  'receivers: one subscription by topic, one by pattern',
  await bus.publish('orders.created', createEnvelope('order', { id: 7 }, 'corr-7')),
);
await done;
for (const [topic, payload, corrId] of shipped) show(`${topic}, in one correlation`, { ...payload, corrId });
await bus.respond('price', ({ sku }) => {
  if (sku !== 'tea') throw new RangeError(`no ${sku} here`);
  return { eur: 4 };
});
show('a request and its reply', await bus.request('price', { sku: 'tea' }));
for (const [topic, sku] of [
  ['price', 'gold'],
  ['nobody', 'tea'],
]) {
  await bus.request(topic, { sku }).catch((error) => show(`${error.name} (${error.redisErrorKind})`, error.message));
}
await bus.close();

chapter('A message bus: durable');
const durable = makeRedisBus(redis);
durable.on('error', ({ error }) => show('a handler failed', error.message));
const invoice = (number, customer) => durable.publish('invoices', { number }, { durable: true, key: customer });
await invoice(1, 'ada');
await invoice(2, 'ada');
let bankIsClosed = true;
const paid = [];
const until = (count) =>
  new Promise((resolve) => {
    const look = () => (paid.length >= count ? resolve() : setTimeout(look, 5));
    look();
  });
await durable.subscribe(
  'invoices',
  ({ payload: { number } }, { key, attempt }) => {
    if (number === 1 && attempt < 3) throw new Error('the line is busy');
    if (number === 3 && bankIsClosed) throw new Error('the bank is closed');
    paid.push(`${key}, invoice ${number}, attempt ${attempt}`);
  },
  { group: 'payments', from: 'start', concurrency: 10, retry: { maxAttempts: 3, minDelayMs: 10, maxDelayMs: 20 } },
);
await until(2);
show('retried, and the next of that key waited for it', paid);
await invoice(3, 'bob');
const letters = durable.deadLetters('invoices', 'payments');
let dead = [];
while (dead.length === 0) dead = await letters.list();
show('after three attempts it is a dead letter', dead[0].lastError);
bankIsClosed = false;
await letters.redrive();
await until(3);
show('redriven, it is handled', paid.at(-1));
await durable.close();

chapter('A task queue');
const mails = new TaskQueue('mails', redis);
const mailer = mails.process(
  async (job, { attempt }) => {
    if (job.name === 'flaky' && attempt < 3) throw new Error('the mail server is busy');
    return `sent at attempt ${attempt}`;
  },
  { concurrency: 10 },
);
const flaky = await mails.add(
  'flaky',
  { to: 'a@example.org' },
  { attempts: 5, backoff: { type: 'exponential', delayMs: 20, jitter: 0.5 } },
);
show('a job whose first two attempts fail', await flaky.waitUntilFinished());
show('the stacks of its failed attempts', (await flaky.refresh()).stacktrace.length);
const begun = performance.now();
const many = await mails.addBulk(Array.from({ length: 1_000 }, (_, n) => ({ name: 'plain', data: { n } })));
await many.at(-1).waitUntilFinished();
show('1 000 jobs added and done, in ms', Math.round(performance.now() - begun));

await mails.schedule('digest', { everyMs: 100 }, { name: 'digest', data: null });
await new Promise((resolve) => {
  let ticks = 0;
  mailer.on('completed', (job) => {
    ticks += job.name === 'digest' ? 1 : 0;
    if (ticks === 3) resolve();
  });
});
show('a schedule of every 100 ms has ticked', (await mails.schedules())[0].ticks);
await mails.unschedule('digest');

const reports = new TaskQueue('reports', redis);
const doomed = start('doomed-worker.mjs', { config });
const report = await reports.add('yearly', { year: 2026 });
await onceEmitted(doomed, 'message');
await kill(doomed);
show('its worker has died in the middle of the job', (await report.refresh()).state);
reports.process((job) => `done by another one, which found: ${job.progress}`);
show('and the job', await report.waitUntilFinished());
show('counts', await reports.counts());
for (const queue of [mails, reports]) {
  await queue.close();
  await new TaskQueue(queue.name, redis).obliterate();
}

chapter('A long import, killed in the middle');
const imports = new CheckpointStore(redis, { namespace: 'imports' });
const importer = start('doomed-import.mjs', { config });
const [killedAt] = await onceEmitted(importer, 'message');
show('another one asks for it meanwhile', await imports.acquire('orders.csv'));
await kill(importer);
show('rows it had saved when it was killed', killedAt.rows);
await new Promise((resolve, reject) => {
  const resumer = imports.resume(async (run, { attempt }) => {
    let { rows } = run.checkpoint.state;
    show('another one goes on', { behindRow: rows, attempt, hasGreaterToken: run.fence > killedAt.fence });
    for (; rows < 5_000; await run.save({ rows }, { meta: { by: 'the second' } })) rows += 1_000;
    await run.finish();
    resumer.close().then(resolve, reject);
  });
  resumer.on('error', reject);
});
const saved = {};
for await (const { meta } of imports.history('orders.csv')) saved[meta.by] = (saved[meta.by] ?? 0) + 1;
show('rows at the end, and who saved how many checkpoints', [(await imports.latest('orders.csv')).state.rows, saved]);
const tip = await imports.latest('orders.csv');
const writers = [1, 2].map((n) => imports.save('orders.csv', { rows: 5_000 + n }, { parent: tip.id }));
show(
  'two save behind the same checkpoint',
  (await Promise.allSettled(writers)).map(({ status, reason }) => (status === 'fulfilled' ? 'saved' : reason.redisErrorKind)),
);

chapter('A fleet of workers');
const pace = { heartbeatIntervalMs: 100, degradedAfterMs: 300, crashedAfterMs: 500 };
const fleet = new WorkerRegistry(redis, pace);
const crash = new Promise((resolve) => fleet.once('crashed', resolve));
await fleet.ready();
await fleet.register({ id: 'render-1', type: 'render', capabilities: ['gpu', 'cpu'], capacity: 2 });
await fleet.register({ id: 'render-2', type: 'render', capabilities: ['gpu'], capacity: 2 });
await fleet.register({ id: 'mail-1', type: 'mail', metadata: { zone: 'b' } });
const mortal = start('fleet-worker.mjs', { config, options: pace });
await onceEmitted(mortal, 'message');
show('who has a gpu', (await fleet.list({ capabilities: ['gpu'] })).map(({ id }) => id).sort());
const claims = await Promise.all(Array.from({ length: 7 }, () => fleet.claim({ type: 'render', capabilities: ['gpu'] })));
const slots = {};
for (const claim of claims) slots[claim?.workerId ?? 'nobody'] = (slots[claim?.workerId ?? 'nobody'] ?? 0) + 1;
show('7 claim a slot of 3 workers with 2 each', slots);
await Promise.all(claims.map((claim) => claim?.release()));
show('the fleet', await fleet.count());
await kill(mortal);
const { id, health } = await crash;
show('one of them dies, and everyone is told', { id, health });
const reapers = await Promise.all(Array.from({ length: 5 }, () => fleet.reap()));
show('five reap: one is handed the crash', reapers.flat().length);
const [leader, another] = [await fleet.elect('planner'), fleet.elect('planner')];
await leader.resign();
show('the next leader has a greater token', (await another).token > leader.token);
await fleet.cleanup();

chapter('Speed and numbers');
const started = performance.now();
await Promise.all(Array.from({ length: 10_000 }, (_, n) => kv.set(`bulk:${n}`, { n }, 60)));
show('10 000 set() in ms', Math.round(performance.now() - started));
if (url.startsWith('memory:')) {
  memoryControl('demo').advance(61_000);
  show('a minute later (the clock is moved), bulk:1 is', await kv.get('bulk:1'));
}
const metrics = redis.metrics();
show('cache hits and misses', [metrics.redis_cache_hit_total, metrics.redis_cache_miss_total]);
show('errors of connections', metrics.redis_connection_errors_total);

chapter('Errors say what happened and whether it is safe to go on');
await kv.set('text', 'not a list');
await redis.command('LPUSH', `${namespace}:shop:text`, 'x').catch((error) => {
  show(`${error.name} ${error.code}`, { kind: error.redisErrorKind, serverCode: error.serverCode, delivery: error.delivery });
});
const left = await redis.command('KEYS', `${namespace}:*`);
if (left.length > 0) await redis.command('UNLINK', ...left);
await redis.disconnect();
console.log('\nDone. Nothing keeps this process alive.');

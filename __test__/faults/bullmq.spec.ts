/** BullMQ on a manager's connections while servers die, freeze and forget. */
import { FlowProducer, Queue, QueueEvents, Worker, type WorkerOptions } from 'bullmq';
import { type BullMQClient, bullmqConnection, type RedisConfig, type RedisConnectionManager, type RedisError } from 'redis-backplane';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { FakeServer } from '../support/fake-server.ts';
import { runProcess } from '../support/process.ts';
import { PATIENCE_MS, reaches, useRig } from '../support/rig.ts';
import { until, within } from '../support/until.ts';

interface Closeable {
  close(): Promise<unknown>;
}

const rig = useRig();
let open: Closeable[];

beforeEach(() => {
  open = [];
});
// Registered after the rig's, so it runs before the managers are disconnected and the servers stopped.
afterEach(async () => {
  await within(PATIENCE_MS, Promise.all(open.map((one) => one.close())), 'everything of BullMQ to close');
});

const keep = <T extends Closeable>(one: T): T => {
  open.push(one);
  return one;
};
const manage = (config: RedisConfig): RedisConnectionManager =>
  rig.manager({ reconnect: { minDelayMs: 20, maxDelayMs: 100 }, commandTimeoutMs: 1_000, ...config });

interface Site {
  connection: BullMQClient;
  queue: Queue;
  worker: Worker;
  done: string[];
  errors: Error[];
  manager: RedisConnectionManager;
}

/** A queue and a worker, the worker waiting for a job. */
async function site(config: RedisConfig, more: Partial<WorkerOptions> = {}, work: () => Promise<unknown> = async () => {}): Promise<Site> {
  const manager = manage(config);
  const connection = bullmqConnection(manager);
  const [done, errors]: [string[], Error[]] = [[], []];
  const queue = keep(new Queue('paint', { connection }));
  const worker = keep(
    new Worker('paint', async (job) => void done.push(await work().then(() => job.id as string)), {
      connection,
      drainDelay: 1,
      runRetryDelay: 200,
      ...more,
    }),
  );
  queue.on('error', (error) => errors.push(error));
  worker.on('error', (error) => errors.push(error));
  await worker.waitUntilReady();
  await until(() => manager.metrics().redis_commands_pending > 0, { what: 'the worker to wait for a job' });
  return { manager, connection, queue, worker, done, errors };
}

const added = async ({ queue, done }: Site, id: string): Promise<void> => {
  await queue.add('wall', {}, { jobId: id });
  await until(() => done.includes(id), { what: `job ${id} to be processed`, timeoutMs: PATIENCE_MS });
};

it('a server is killed and comes back while a worker waits: worker and listener go on', async () => {
  const server = await rig.server({ durable: true });
  const at = await site({ url: server.url });
  const events = keep(new QueueEvents('paint', { connection: at.connection, blockingTimeout: 60_000 }));
  const completed: string[] = [];
  events.on('completed', ({ jobId }) => completed.push(jobId));
  events.on('error', (error) => at.errors.push(error));
  await until(async () => (await server.clients()).some(({ cmd }) => cmd === 'xread'), { what: 'the listener to wait' });
  await added(at, 'before');
  await until(() => completed.includes('before'), { what: 'the listener to hear of it' });
  await server.kill9();
  await until(() => at.errors.length > 0, { what: 'the loss to be told' });
  await server.restart();
  await reaches(at.manager, 'ready');
  await added(at, 'after');
  await until(() => completed.includes('after'), { what: 'the listener to hear of it', timeoutMs: PATIENCE_MS });
  expect(completed).toEqual(['before', 'after']);
  expect(at.connection.status).toBe('ready');
  expect((await at.queue.getWorkers()).length).toBe(1);
});

it('a job that ends while the server is gone is completed when it is back, and runs once', async () => {
  const server = await rig.server({ durable: true });
  let finish = (): void => {};
  let runs = 0;
  const at = await site({ url: server.url, commandTimeoutMs: 300 }, { drainDelay: 60 }, () => {
    runs++;
    return new Promise<void>((resolve) => {
      finish = resolve;
    });
  });
  await at.queue.add('wall', {}, { jobId: 'long' });
  await until(() => runs === 1, { what: 'the job to run' });
  await server.kill9();
  await reaches(at.manager, 'reconnecting');
  finish();
  const late = () => at.manager.metrics().redis_commands_timed_out_total;
  const before = late();
  await until(() => late() > before, { what: 'an attempt to complete it to fail', timeoutMs: PATIENCE_MS });
  await server.restart();
  await until(async () => (await at.queue.getJob('long'))?.isCompleted(), { what: 'the job to be completed', timeoutMs: PATIENCE_MS });
  expect((await at.queue.getJob('long'))?.attemptsMade).toBe(1);
  expect(runs).toBe(1);
});

it('a frozen server thaws: the worker goes on', async () => {
  const server = await rig.server();
  const at = await site({ url: server.url, keepAliveMs: 300 });
  await server.freeze();
  await until(() => at.errors.length > 0, { what: 'the silence to be noticed', timeoutMs: PATIENCE_MS });
  server.thaw();
  await reaches(at.manager, 'ready');
  await added(at, 'after');
});

it('a black hole swallows every connection: the worker notices, and goes on when it is gone', async () => {
  const server = await rig.server();
  const proxy = await rig.proxy(server);
  const at = await site({ url: proxy.url, keepAliveMs: 300 }, { drainDelay: 3_600 });
  let restored = 0;
  at.manager.on('ready', () => restored++);
  proxy.set({ silent: true, up: { blackHole: true }, down: { blackHole: true } });
  await until(() => at.errors.length > 0, { what: 'the silence to be noticed', timeoutMs: PATIENCE_MS });
  proxy.heal();
  proxy.cut();
  // Ready it also is until it notices the loss, which the worker's own connection may do first.
  await until(() => restored > 0, { what: 'the connection to be restored', timeoutMs: PATIENCE_MS });
  await added(at, 'after');
});

it('only the connection of a worker is killed: it is back under its name, and the duplicate says so', async () => {
  const server = await rig.server();
  const at = await site({ url: server.url });
  const client = at.connection.duplicate({ connectionName: 'brush' });
  const seen: string[] = [];
  for (const event of ['ready', 'close', 'reconnecting', 'end']) client.on(event, () => seen.push(event));
  await client.connect();
  const named = async () => (await server.clients()).filter(({ name }) => name === 'brush');
  const [first] = await named();
  const read = client.xread([{ key: 'nothing', id: '$' }], { BLOCK: 60_000 });
  read.catch(() => {});
  await until(async () => (await named())[0]?.cmd === 'xread', { what: 'the read to block' });
  await server.cli('CLIENT', 'KILL', 'ID', first?.id as string);
  await until(async () => (await named()).some(({ id, cmd }) => id !== first?.id && cmd === 'xread'), {
    what: 'the read to go on over a new connection',
  });
  await until(() => seen.length === 4, { what: 'the duplicate to say so' });
  expect(seen).toEqual(['ready', 'close', 'reconnecting', 'ready']);
  await client.quit();
  await expect(read).rejects.toThrow('Connection is closed.');
  await until(() => seen.length === 6, { what: 'the end to be told' });
  expect(seen.slice(4)).toEqual(['close', 'end']);
  expect(client.status).toBe('end');
  const lost = new Promise<void>((resolve) => at.connection.once('close', () => resolve()));
  await server.cli('CLIENT', 'KILL', 'TYPE', 'normal');
  await within(PATIENCE_MS, lost, 'the loss of every connection to be told');
  await reaches(at.manager, 'ready');
  await added(at, 'after');
});

it('a server that becomes a replica: the connection for what blocks is renewed once for a command', async () => {
  const server = await rig.server();
  const client = bullmqConnection(manage({ url: server.url })).duplicate();
  const seen: string[] = [];
  for (const event of ['ready', 'close', 'reconnecting', 'end']) client.on(event, () => seen.push(event));
  await client.connect();
  await server.cli('REPLICAOF', '127.0.0.1', 1);
  await expect(client.bzpopmin('paint', 60)).rejects.toThrow('READONLY');
  expect(seen).toEqual(['ready', 'close', 'reconnecting', 'ready']);
  await server.cli('REPLICAOF', 'NO', 'ONE');
  await server.cli('ZADD', 'paint', 1, 'red');
  expect(await client.bzpopmin('paint', 60)).toEqual(['paint', 'red', '1']);
  client.disconnect();
});

it('what takes an element away is not sent twice: its loss is told', async () => {
  const server = await rig.server();
  const client = bullmqConnection(manage({ url: server.url })).duplicate({ connectionName: 'brush' });
  await client.connect();
  const popped = client.bzpopmin('z', 60);
  popped.catch(() => {});
  const named = async () => (await server.clients()).find(({ name }) => name === 'brush');
  await until(async () => (await named())?.cmd === 'bzpopmin', { what: 'the command to block' });
  await server.cli('CLIENT', 'KILL', 'ID', (await named())?.id as string);
  const error = (await popped.catch((error: unknown) => error)) as RedisError;
  expect(error).toMatchObject({ message: 'Connection is closed.', redisErrorKind: 'connection', delivery: 'maybe-executed' });
  await until(() => client.status === 'ready', { what: 'the connection to be back' });
  expect(await client.bzpopmin('z', 0.01)).toBeNull();
  await client.quit();
});

it('the scripts are forgotten: single jobs, bulk, flows and workers do not notice', async () => {
  const server = await rig.server();
  const at = await site({ url: server.url });
  const flows = keep(new FlowProducer({ connection: at.connection }));
  await server.cli('SCRIPT', 'FLUSH');
  await added(at, 'one');
  await server.cli('SCRIPT', 'FLUSH');
  const bulk = Array.from({ length: 50 }, (_, n) => ({ name: 'wall', data: {}, opts: { jobId: `bulk-${n}` } }));
  await at.queue.addBulk(bulk);
  await server.cli('SCRIPT', 'FLUSH');
  const children = [1, 2].map((n) => ({ name: 'wall', queueName: 'paint', opts: { jobId: `child-${n}` } }));
  await flows.add({ name: 'house', queueName: 'paint', opts: { jobId: 'house' }, children });
  await until(() => at.done.length === 54, { what: () => `54 jobs, ${at.done.length} are done`, timeoutMs: PATIENCE_MS });
  expect(new Set(at.done).size).toBe(54);
  expect(at.errors).toEqual([]);
});

it('a server that is not there at first is waited for', async () => {
  const server = await rig.server();
  await server.kill9();
  const manager = manage({ url: server.url });
  const connection = bullmqConnection(manager);
  const queue = keep(new Queue('paint', { connection }));
  const done: string[] = [];
  const worker = keep(new Worker('paint', async (job) => void done.push(job.id as string), { connection }));
  const errors: Error[] = [];
  queue.on('error', (error) => errors.push(error));
  worker.on('error', (error) => errors.push(error));
  const add = queue.add('wall', {}, { jobId: 'early' });
  await until(() => errors.length > 3, { what: 'several attempts' });
  expect((errors[0] as RedisError).redisErrorKind).toBe('connection');
  await server.restart();
  await within(PATIENCE_MS, add, 'the job to be added');
  await until(() => done.includes('early'), { what: 'the job to be processed', timeoutMs: PATIENCE_MS });
});

it('a wrong password is told at once, and no worker runs in circles over it', async () => {
  const server = await rig.server({ password: 'right' });
  const manager = manage({ url: server.url, password: 'wrong' });
  const connection = bullmqConnection(manager);
  const queue = keep(new Queue('paint', { connection }));
  const worker = keep(new Worker('paint', async () => {}, { connection }));
  const events = new QueueEvents('paint', { connection });
  const errors: RedisError[] = [];
  for (const name of ['queue', 'worker', 'events'] as const) {
    const one: { on(event: 'error', listener: (error: Error) => void): unknown } = { queue, worker, events }[name];
    one.on('error', (error) => errors.push(error as RedisError));
  }
  const error = (await within(5_000, queue.add('wall', {}), 'the refusal').catch((e: unknown) => e)) as RedisError;
  expect(error).toMatchObject({ redisErrorKind: 'auth', message: 'Connection is closed.', cause: { serverCode: 'WRONGPASS' } });
  const refused = () => errors.filter(({ redisErrorKind }) => redisErrorKind === 'auth').length;
  await until(() => refused() >= 3, { what: () => `everyone to be told, ${refused()} are` });
  const told = errors.length;
  // A hundred turns of the event loop, which a worker in circles would not allow.
  for (let turn = 0; turn < 100; turn++) await new Promise((resolve) => setImmediate(resolve));
  expect(errors.length - told).toBeLessThan(10);
  await within(5_000, Promise.all([worker.close(), queue.close()]), 'close()');
  // BullMQ gives what its connection began with.
  await expect(within(5_000, events.close(), 'events.close()')).rejects.toThrow('Connection is closed.');
});

it('what a duplicate asks does not wait for the answer to its name: meanwhile a listener would hear nothing', async () => {
  // A server that answers to the name only when it has been asked what comes next.
  for (const answer of ['+OK\r\n', '-NOPERM this user has no permissions\r\n']) {
    await using server = await FakeServer.start(([name, what, value]) => {
      if (name === 'CLIENT' && what === 'SETNAME' && value?.startsWith('listener')) return '';
      return name === 'XREAD' ? `${answer}_\r\n` : undefined;
    });
    const manager = manage({ url: server.url, connectTimeoutMs: 300 });
    const client = bullmqConnection(manager).duplicate();
    await client.connect();
    expect(await client.clientSetName('listener')).toBe('OK');
    expect(await within(PATIENCE_MS, client.xread([{ key: 'events', id: '$' }], { BLOCK: 60_000 }))).toBeNull();
    // What a server would refuse is waited for, but not for ever.
    await expect(client.clientSetName('listener of mine')).rejects.toMatchObject({ redisErrorKind: 'timeout' });
    await client.quit();
    await manager.disconnect();
  }
});

it('everything closes while the server is gone', async () => {
  const server = await rig.server();
  const at = await site({ url: server.url });
  const events = keep(new QueueEvents('paint', { connection: at.connection }));
  events.on('error', () => {});
  await events.waitUntilReady();
  await server.kill9();
  await reaches(at.manager, 'reconnecting');
  await within(5_000, Promise.all([at.worker.close(), events.close(), at.queue.close()]), 'close()');
  await within(5_000, at.manager.disconnect(), 'disconnect()');
});

it('a manager that is disconnected first takes everything with it; what is closed afterwards closes', async () => {
  const server = await rig.server();
  const at = await site({ url: server.url });
  const events = keep(new QueueEvents('paint', { connection: at.connection }));
  events.on('error', () => {});
  await events.waitUntilReady();
  await within(5_000, at.manager.disconnect(), 'disconnect()');
  expect(at.connection.status).toBe('end');
  await expect(at.queue.add('wall', {})).rejects.toThrow('Connection is closed.');
  await within(5_000, Promise.all([at.worker.close(), events.close(), at.queue.close()]), 'close()');
  // What the user has closed stays closed, however often a worker asks.
  expect(at.manager.state).toBe('closed');
});

it('a process ends by itself when all is closed and nothing is disconnected', async () => {
  const server = await rig.server();
  const ended = await runProcess<{ url: string }>(
    async ({ redis, require, emit, args }) => {
      const { Queue, QueueEvents, Worker } = require('bullmq') as typeof import('bullmq');
      const manager = new redis.RedisConnectionManager(args.url);
      const connection = redis.bullmqConnection(manager);
      const [queue, events] = [new Queue('paint', { connection }), new QueueEvents('paint', { connection, lastEventId: '0' })];
      const worker = new Worker('paint', async () => 'dry', { connection, drainDelay: 300 });
      await Promise.all([events.waitUntilReady(), worker.waitUntilReady()]);
      emit(await (await queue.add('wall', {})).waitUntilFinished(events, 5_000));
      await Promise.all([worker.close(), events.close(), queue.close()]);
      emit([manager.state, manager.metrics().redis_connection_pool_size]);
    },
    { args: { url: server.url } },
  );
  expect(ended).toMatchObject({ code: 0, lines: ['dry', ['ready', 1]], stderr: '' });
});

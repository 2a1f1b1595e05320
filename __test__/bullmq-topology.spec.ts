/** BullMQ on a cluster, and on a master that sentinels watch over. */
import { FlowProducer, type Job, Queue, QueueEvents, Worker } from 'bullmq';
import { bullmqConnection, type RedisConfig, RedisConnectionManager } from 'redis-backplane';
import { afterEach, describe, expect, it } from 'vitest';
import { checkLeaks } from './support/leaks.ts';
import { RedisServer, startCluster } from './support/redis-server.ts';
import { until } from './support/until.ts';

const PATIENCE_MS = 10_000;
let servers: RedisServer[] = [];
let sentinels: RedisServer[] = [];

checkLeaks();
afterEach(async () => {
  await Promise.all([...servers.splice(0), ...sentinels.splice(0)].map((server) => server[Symbol.asyncDispose]()));
});

/** How many clients of all servers but the sentinels wait for something. */
async function blocked(): Promise<number> {
  const counts = await Promise.all(servers.map((server) => server.info('blocked_clients')));
  return counts.reduce((sum, count) => sum + Number(count), 0);
}

/** Jobs one by one and in bulk, a flow, a delay and the listing of workers. */
async function works(config: RedisConfig, prefix: string): Promise<void> {
  await until(async () => (await blocked()) === 0, { what: 'those before to have gone' });
  await using manager = new RedisConnectionManager(config);
  const options = { connection: bullmqConnection(manager), prefix };
  const queue = new Queue('paint', options);
  const events = new QueueEvents('paint', options);
  const flows = new FlowProducer(options);
  const done: string[] = [];
  const paint = async (job: Job<{ n: number }>): Promise<number> => {
    done.push(job.name);
    return job.data.n;
  };
  const worker = new Worker<{ n: number }>('paint', paint, { ...options, name: 'brush' });
  const errors: Error[] = [];
  queue.on('error', (error) => errors.push(error));
  worker.on('error', (error) => errors.push(error));
  events.on('error', (error) => errors.push(error));
  await Promise.all([events.waitUntilReady(), worker.waitUntilReady()]);
  // Ready is not reading: QueueEvents hears what happens from its first XREAD on, and the end of a job before that would never come.
  await until(async () => (await blocked()) === 2, { what: 'the worker and the events to wait for something' });
  expect(await (await queue.add('one', { n: 1 })).waitUntilFinished(events, PATIENCE_MS)).toBe(1);
  expect(await (await queue.add('late', { n: 2 }, { delay: 50 })).waitUntilFinished(events, PATIENCE_MS)).toBe(2);
  await queue.addBulk(Array.from({ length: 20 }, (_, n) => ({ name: 'bulk', data: { n } })));
  const { job } = await flows.add({
    name: 'house',
    queueName: 'paint',
    data: { n: 3 },
    children: [{ name: 'wall', queueName: 'paint', data: { n: 4 } }],
  });
  expect(await job.waitUntilFinished(events, PATIENCE_MS)).toBe(3);
  expect(done.filter((name) => name === 'bulk')).toHaveLength(20);
  expect((await queue.getWorkers()).map(({ rawname }) => rawname)).toEqual([
    `${prefix}:${Buffer.from('paint').toString('base64')}:w:brush`,
  ]);
  await Promise.all([worker.close(), events.close(), flows.close()]);
  await queue.obliterate({ force: true });
  await queue.close();
  expect(errors).toEqual([]);
}

describe('BullMQ', () => {
  it('works on a cluster, with a prefix that has a hash tag', async () => {
    servers = await startCluster(3);
    const url = `redis+cluster://${servers.map(({ host, port }) => `${host}:${port}`).join(',')}`;
    // Keys of each of these are on another node, one of which the manager asked first.
    for (const prefix of ['{a}', '{b}', '{c}', '{d}']) await works({ url }, prefix);
  });

  it('works on a master that sentinels name, and goes on with the next one', async () => {
    const master = await RedisServer.start();
    const replica = await RedisServer.start();
    servers = [master, replica];
    await replica.replicaOf(master);
    const sentinel = await RedisServer.start({ sentinel: { name: 'main', server: master, quorum: 1, downAfterMs: 300 } });
    sentinels = [sentinel];
    const config: RedisConfig = { url: `redis+sentinel://${sentinel.host}:${sentinel.port}/main`, keepAliveMs: 500 };
    await works(config, 'bull');
    await until(async () => String(await sentinel.cli('SENTINEL', 'REPLICAS', 'main')).includes(`${replica.port}`), {
      what: 'the sentinel to know the replica',
      timeoutMs: 15_000,
    });
    await using manager = new RedisConnectionManager(config);
    const connection = bullmqConnection(manager);
    const queue = new Queue('paint', { connection });
    const done: string[] = [];
    const worker = new Worker('paint', async (job) => void done.push(job.name), { connection });
    queue.on('error', () => {});
    worker.on('error', () => {});
    await queue.add('before', {});
    await until(() => done.includes('before'), { what: 'the first job' });
    await master.kill9();
    await until(() => manager.state === 'ready' && replica.running && queue.add('after', {}).then(() => true), {
      what: 'a job to be added at the next master',
      timeoutMs: 20_000,
    });
    await until(() => done.includes('after'), { what: 'the job after the failover', timeoutMs: 15_000 });
    await Promise.all([worker.close(), queue.close()]);
  }, 60_000);

  it('goes on at the next master after a planned switch, while the old one takes itself for the master', async () => {
    const master = await RedisServer.start();
    const replica = await RedisServer.start();
    servers = [master, replica];
    await replica.replicaOf(master);
    const sentinel = await RedisServer.start({ sentinel: { name: 'main', server: master, quorum: 1 } });
    sentinels = [sentinel];
    await until(async () => String(await sentinel.cli('SENTINEL', 'REPLICAS', 'main')).includes(`${replica.port}`), {
      what: 'the sentinel to know the replica',
      timeoutMs: 15_000,
    });
    await using manager = new RedisConnectionManager(`redis+sentinel://${sentinel.host}:${sentinel.port}/main`);
    const connection = bullmqConnection(manager);
    const queue = new Queue('paint', { connection });
    const events = new QueueEvents('paint', { connection });
    const worker = new Worker('paint', async (job) => job.name, { connection });
    queue.on('error', () => {});
    events.on('error', () => {});
    worker.on('error', () => {});
    const waiting = (server: RedisServer) => async () => (await server.info('blocked_clients')) === '2';
    await until(waiting(master), { what: 'the worker and the events to wait for something' });

    await until(async () => (await sentinel.cli('SENTINEL', 'FAILOVER', 'main').catch(() => '')) === 'OK', {
      what: 'the sentinel to begin the switch',
    });
    await until(waiting(replica), { what: 'both to wait at the new master', timeoutMs: 15_000 });
    expect(await master.info('role')).toBe('master');
    const job = await queue.add('after', {});
    expect(await job.waitUntilFinished(events, PATIENCE_MS)).toBe('after');
    await Promise.all([worker.close(), events.close(), queue.close()]);
  }, 60_000);
});

/** BullMQ 6 on this package's connections, with no other Redis client installed. Ends by itself, or it has failed. */
const assert = require('node:assert/strict');
const { FlowProducer, Queue, QueueEvents, Worker } = require('bullmq');
const { bullmqConnection, RedisConnectionManager } = require('redis-backplane');

const PATIENCE_MS = 10_000;

async function until(condition, what) {
  const deadline = Date.now() + PATIENCE_MS;
  while (!(await condition())) {
    assert.ok(Date.now() < deadline, `waiting for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

async function run(url) {
  const manager = new RedisConnectionManager(url);
  const connection = bullmqConnection(manager);
  const prefix = `consumer-${process.pid}`;
  const options = { connection, prefix };
  const errors = [];
  const runs = [];
  const queue = new Queue('paint', options);
  const events = new QueueEvents('paint', { ...options, lastEventId: '0' });
  const flows = new FlowProducer(options);
  const worker = new Worker(
    'paint',
    async (job) => {
      runs.push(job.name);
      if (job.name === 'retried' && job.attemptsMade === 0) throw new Error('once');
      return job.name === 'house' ? Object.keys(await job.getChildrenValues()).length : job.data.n;
    },
    { ...options, concurrency: 4, limiter: { max: 1_000, duration: 1_000 }, stalledInterval: 100, name: 'brush' },
  );
  for (const one of [queue, events, flows, worker]) one.on('error', (error) => errors.push(error));
  await Promise.all([queue.waitUntilReady(), events.waitUntilReady(), worker.waitUntilReady()]);

  assert.equal(await (await queue.add('one', { n: 1 })).waitUntilFinished(events, PATIENCE_MS), 1);
  const retried = await queue.add('retried', { n: 2 }, { attempts: 2, backoff: { type: 'fixed', delay: 10 } });
  assert.equal(await retried.waitUntilFinished(events, PATIENCE_MS), 2);
  const children = [1, 2, 3].map((n) => ({ name: 'wall', queueName: 'paint', data: { n } }));
  const { job } = await flows.add({ name: 'house', queueName: 'paint', data: {}, children });
  assert.equal(await job.waitUntilFinished(events, PATIENCE_MS), 3);
  await queue.upsertJobScheduler('tick', { every: 50 }, { name: 'tick', data: { n: 0 } });
  await until(() => runs.filter((name) => name === 'tick').length >= 2, 'two ticks');
  await queue.removeJobScheduler('tick');
  assert.equal((await queue.getWorkers()).length, 1);

  await worker.pause();
  const lost = new Worker('paint', null, { ...options, lockDuration: 50, skipLockRenewal: true });
  await queue.add('stalled', { n: 3 });
  await until(async () => (await lost.getNextJob('token'))?.name === 'stalled', 'the job to be taken');
  await queue.pause();
  await queue.resume();
  await worker.resume();
  await until(() => runs.includes('stalled'), 'the stalled job to be run by another');
  await queue.addBulk(Array.from({ length: 200 }, (_, n) => ({ name: 'bulk', data: { n } })));
  await until(() => runs.filter((name) => name === 'bulk').length === 200, 'the jobs of addBulk()');

  await Promise.all([worker.close(), lost.close(), events.close()]);
  await queue.obliterate({ force: true });
  await Promise.all([queue.close(), flows.close()]);
  assert.deepEqual(errors, []);
  assert.equal(manager.metrics().redis_connection_pool_size, 1);
}

(async () => {
  for (const name of ['ioredis', 'redis']) assert.throws(() => require.resolve(name), { code: 'MODULE_NOT_FOUND' });
  // No manager is disconnected: an idle connection keeps no process alive.
  for (const url of [process.env.REDIS_TEST_URL, 'memory://consumer']) await run(url);
  console.log('done');
})();

/**
 * BullMQ 5.81 and 5.77 on this package's connections, and with 4 on connections of their own with the same configuration. Ends by
 * itself, or it has failed.
 */
const assert = require('node:assert/strict');
const { bullmqConnection, bullmqOptions, RedisConnectionManager } = require('redis-backplane');

const PATIENCE_MS = 10_000;

async function run(what, { FlowProducer, Queue, QueueEvents, Worker }, connection) {
  const options = { connection, prefix: `${what}-${process.pid}` };
  const errors = [];
  const queue = new Queue('paint', options);
  const events = new QueueEvents('paint', { ...options, lastEventId: '0' });
  const flows = new FlowProducer(options);
  let attempts = 0;
  const worker = new Worker(
    'paint',
    async (job) => {
      if (job.name === 'retried' && attempts++ === 0) throw new Error('once');
      return job.name === 'house' ? Object.keys(await job.getChildrenValues()).length : job.data.n;
    },
    { ...options, concurrency: 4 },
  );
  for (const one of [queue, events, flows, worker]) one.on('error', (error) => errors.push(error));
  await Promise.all([queue.waitUntilReady(), events.waitUntilReady(), worker.waitUntilReady()]);
  const job = await queue.add('one', { n: 1 });
  assert.equal(await job.waitUntilFinished(events, PATIENCE_MS), 1);
  const retried = await queue.add('retried', { n: 2 }, { attempts: 2, backoff: { type: 'fixed', delay: 10 } });
  assert.equal(await retried.waitUntilFinished(events, PATIENCE_MS), 2);
  const late = await queue.add('late', { n: 3 }, { delay: 50 });
  assert.equal(await late.waitUntilFinished(events, PATIENCE_MS), 3);
  const children = [1, 2, 3].map((n) => ({ name: 'wall', queueName: 'paint', data: { n } }));
  const tree = await flows.add({ name: 'house', queueName: 'paint', data: {}, children });
  assert.equal(await tree.job.waitUntilFinished(events, PATIENCE_MS), 3);
  assert.equal((await queue.getWorkers()).length, 1);
  await worker.pause();
  await worker.resume();
  const again = await queue.add('one', { n: 4 });
  assert.equal(await again.waitUntilFinished(events, PATIENCE_MS), 4);
  await Promise.all([worker.close(), events.close()]);
  await queue.obliterate({ force: true });
  await Promise.all([queue.close(), flows.close()]);
  assert.deepEqual(errors, []);
  console.log(what);
}

(async () => {
  const url = process.env.REDIS_TEST_URL;
  for (const name of ['bullmq', 'bullmq-5-77']) {
    for (const each of [url, 'memory://consumer']) {
      const manager = new RedisConnectionManager(each);
      await run(`${name}-connection`, require(name), bullmqConnection(manager));
      assert.equal(manager.metrics().redis_connection_pool_size, 1);
    }
  }
  for (const name of ['bullmq', 'bullmq-5-77', 'bullmq-4']) {
    await run(`${name}-options`, require(name), bullmqOptions(new RedisConnectionManager(url)));
  }
})();

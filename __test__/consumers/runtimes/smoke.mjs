/** Named imports from an ES module: every part at work; a connection is left open and idle, and the process ends all the same. */
import assert from 'node:assert/strict';
import { createContainer, createTestRedisConfig, makeRedisSuite } from 'redis-backplane';

const suite = await makeRedisSuite(createTestRedisConfig());
assert.equal((await suite.base.health()).ok, true);
assert.equal(await suite.base.command('ECHO', 'hi'), 'hi');

for (const url of [undefined, 'memory://smoke']) {
  const container = await createContainer({ redis: createTestRedisConfig(url === undefined ? {} : { url }) });
  const bus = container.getBus();
  const corrId = await new Promise((resolve, reject) => {
    bus.on('error', ({ error }) => reject(error));
    const forward = async ({ payload }) => {
      await Promise.resolve();
      await bus.publish('second', payload);
    };
    Promise.all([
      bus.subscribe('first', forward, { group: 'g', from: 'start' }),
      bus.subscribe('second', (envelope) => resolve(envelope.corrId)),
    ])
      .then(() => bus.publish('first', { n: 1 }, { durable: true }))
      .catch(reject);
  });
  assert.match(corrId, /^[\da-f-]{36}$/);

  const queue = container.getQueue('jobs');
  queue.process((job, { attempt }) => {
    if (attempt === 1) throw new Error('busy');
    return job.data.n + 1;
  });
  assert.equal(await (await queue.add('add', { n: 1 }, { attempts: 2 })).waitUntilFinished(), 2);

  const registry = container.getRegistry();
  const { id } = await registry.register({ capabilities: ['gpu'] });
  assert.equal((await registry.claim({ capabilities: ['gpu'] })).workerId, id);
  assert.equal((await container.health()).ok, true);
  await container.shutdown();
}
console.log('smoke: ok');

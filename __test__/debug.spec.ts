/** `NODE_DEBUG=redis-backplane`: one line for each event and each slow call, and nothing that a user stored. */
import { expect, test } from 'vitest';
import { runProcess } from './support/process.ts';
import { useRig } from './support/rig.ts';

const rig = useRig();

const code = async ({ redis, args }: { redis: typeof import('redis-backplane'); args: { url: string } }) => {
  const manager = new redis.RedisConnectionManager({
    url: args.url,
    password: 'pass-secret',
    reconnect: { minDelayMs: 1, maxDelayMs: 10 },
  });
  const kv = new redis.KVStore(manager);
  const bus = new redis.MessageBus(manager);
  await kv.set('key-secret', 'value-secret');
  const failed = new Promise((resolve) => bus.on('error', resolve));
  await bus.subscribe('orders', () => {
    throw new TypeError('payload-secret');
  });
  await bus.publish('orders', { card: 'payload-secret' });
  await failed;
  const queue = new redis.TaskQueue<string>('mails', manager);
  const done = new Promise((resolve) => {
    queue.process(async ({ data }) => {
      if (data === 'fails') throw new redis.UnrecoverableError('payload-secret');
      resolve(undefined);
    });
  });
  await queue.add('send', 'fails');
  await queue.add('send', 'payload-secret');
  await done;
  const lock = await kv.lock('door', { leaseMs: 100 });
  const lost = new Promise((resolve) => lock?.signal.addEventListener('abort', resolve));
  await manager.command('FLUSHALL');
  await lost;
  await manager.command('EVAL', "local n = redis.call('TIME')[1] + 2 while tonumber(redis.call('TIME')[1]) < n do end", 0);
  await queue.close();
  await manager.disconnect();
};

test('shows states, failures, lost leases and slow calls, without a word of what is stored', async () => {
  const server = await rig.server({ password: 'pass-secret' });
  const { stderr, code: exit } = await runProcess(code, { args: { url: server.url }, env: { NODE_DEBUG: 'redis-backplane' } });
  expect(exit, stderr).toBe(0);
  for (const line of [
    /^REDIS-BACKPLANE \d+: RedisConnectionManager state connecting idle$/m,
    /^REDIS-BACKPLANE \d+: RedisConnectionManager ready$/m,
    /^REDIS-BACKPLANE \d+: MessageBus error topic=orders envelopeId=\S+ TypeError$/m,
    /^REDIS-BACKPLANE \d+: TaskWorker failed .*name=send attemptsMade=0 UnrecoverableError$/m,
    /^REDIS-BACKPLANE \d+: Lock lost lease-lost \(/m,
    /^REDIS-BACKPLANE \d+: slow call manager\.command took \d+ ms$/m,
    /^REDIS-BACKPLANE \d+: RedisConnectionManager end$/m,
  ]) {
    expect(stderr).toMatch(line);
  }
  expect(stderr).not.toMatch(/secret/);
});

test('shows nothing where it is not asked for', async () => {
  const server = await rig.server({ password: 'pass-secret' });
  const { stderr } = await runProcess(code, { args: { url: server.url } });
  expect(stderr).toBe('');
});

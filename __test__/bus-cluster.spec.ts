/** Durable topics on a Redis Cluster: all that a script of a topic touches is in one slot, whatever the topic is called. */
import { MessageBus, RedisConnectionManager } from 'redis-backplane';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type RedisServer, startCluster } from './support/redis-server.ts';
import { until } from './support/until.ts';

let nodes: RedisServer[];
beforeAll(async () => {
  nodes = await startCluster(3);
}, 60_000);
afterAll(async () => {
  for (const node of nodes) await node[Symbol.asyncDispose]();
});

it('bounds topics in bytes, counts what groups have not read and redrives, on whichever node they are', async () => {
  const manager = new RedisConnectionManager({ url: `redis+cluster://127.0.0.1:${nodes[0]?.port}`, namespace: 'app' });
  const bus = new MessageBus(manager, { retention: { maxBytes: 200_000 } });
  const text = 'x'.repeat(10_000);
  /** The streams of all topics, wherever they are. */
  const streams = async (): Promise<[RedisServer, string][]> => {
    const found = nodes.map(async (node) =>
      ((await node.cli('KEYS', 'app:~stream:*')) as string[]).map((key): [RedisServer, string] => [node, key]),
    );
    return (await Promise.all(found)).flat();
  };
  const known = new Set<string>();
  for (const topic of ['a', 'b', 'user:{42}', '{x}y', 'a}b', '{c']) {
    const seen = new Set<unknown>();
    await bus.subscribe(topic, ({ payload }) => void seen.add(payload), { group: 'g', concurrency: 20, claimAfterMs: 600 });
    let fails = true;
    const failing = (): void => {
      if (fails) throw new Error('no');
    };
    await bus.subscribe(topic, failing, { group: 'h', concurrency: 20, claimAfterMs: 600, retry: { maxAttempts: 1 } });
    let sent = 0;
    const publish = async (): Promise<void> => {
      await Promise.all(Array.from({ length: 20 }, () => bus.publish(topic, `${sent++}${text}`, { durable: true })));
    };
    await publish();
    const letters = bus.deadLetters(topic, 'h');
    await until(async () => (await letters.count()) === sent, { timeoutMs: 30_000, what: 'the dead letters' });
    fails = false;
    expect(await letters.redrive()).toBe(sent);
    const made = (await streams()).filter(([, key]) => !known.has(key));
    expect(made, topic).toHaveLength(1);
    const [node, stream] = made[0] as [RedisServer, string];
    known.add(stream);
    const trimmed = async (): Promise<boolean> => {
      await publish();
      await until(() => seen.size === sent, { timeoutMs: 30_000, what: 'the messages' });
      return sent > 60 && Number(await node.cli('XLEN', stream)) < 60;
    };
    await until(trimmed, { timeoutMs: 30_000, what: 'the topic to be trimmed' });
    await until(() => manager.metrics().redis_bus_lag[topic]?.g === 0, { timeoutMs: 30_000, what: 'the lag to be told' });
    expect((await bus.groups(topic)).map(({ name, lag }) => [name, lag]).sort()).toEqual([
      ['g', 0],
      ['h', 0],
    ]);
  }
  await bus.close();
  await manager.disconnect();
}, 180_000);

/** The registry on a Redis Cluster: every key of one is of one hash slot, whatever its namespace is. */
import { RedisConnectionManager, WorkerRegistry } from 'redis-backplane';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type RedisServer, startCluster } from '../support/redis-server.ts';
import { until } from '../support/until.ts';

describe('registry on a cluster', () => {
  let nodes: RedisServer[];

  beforeAll(async () => {
    nodes = await startCluster(3);
  });
  afterAll(async () => {
    for (const node of nodes) await node[Symbol.asyncDispose]();
  });

  test.each(['', 'app', '{app}', 'a:{t}:b', 'a}b', '{a', 'a{b'])('in namespace "%s" everything is in one slot', async (namespace) => {
    const [{ host, port }] = nodes as [RedisServer];
    const manager = new RedisConnectionManager({ url: `redis+cluster://${host}:${port}`, namespace });
    const registry = new WorkerRegistry(manager, { heartbeatIntervalMs: 100, degradedAfterMs: 300, crashedAfterMs: 400 });
    const silent = new WorkerRegistry(manager, {
      heartbeatIntervalMs: 100,
      degradedAfterMs: 300,
      crashedAfterMs: 400,
      autoHeartbeat: false,
    });
    const seen: string[] = [];
    registry.on('joined', ({ id }) => seen.push(`joined ${id}`)).on('crashed', ({ id }) => seen.push(`crashed ${id}`));
    await registry.ready();
    await registry.register({ id: 'w{1}', type: 't', capabilities: ['{x}', 'y'], capacity: 2 });
    await silent.register({ id: '{2}' });
    const claim = await registry.claim({ type: 't', capabilities: ['{x}', 'y'] });
    expect(claim?.workerId).toBe('w{1}');
    expect(await claim?.release()).toBe(true);
    expect(await registry.send('w{1}', 'pause')).toBe(true);
    expect(await registry.list({ capabilities: ['{x}'], type: 't', status: 'idle' })).toHaveLength(1);
    await until(() => seen.length === 3, { timeoutMs: 10_000, what: () => `the events: ${seen}` });
    expect(seen).toEqual(['joined w{1}', 'joined {2}', 'crashed {2}']);
    expect((await registry.reap()).map(({ id }) => id)).toEqual(['{2}']);
    await using leadership = await registry.elect('{role}');
    expect(leadership.token).toBeGreaterThan(0);
    await registry.cleanup();
    await manager.disconnect();
  });
});

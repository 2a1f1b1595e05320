/** What `health()` says of servers that answer, and yet do not do everything. */

import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { type ConnectionHealth, createContainer, memoryControl } from 'redis-backplane';
import { describe, expect, it } from 'vitest';
import { type RedisServer, startCluster } from './support/redis-server.ts';
import { useRig } from './support/rig.ts';
import { stretched } from './support/starvation.ts';
import { ReplicatedCluster } from './support/topology.ts';
import { until } from './support/until.ts';
import { watchedFolder } from './support/watched.ts';

const rig = useRig();
const WELL = { ok: true, writable: true, state: 'ready' };

describe('health() of one server', () => {
  it('says why Redis refuses writes, apart from being reached, and writes nothing to find out', async () => {
    const dir = join(watchedFolder(), 'data');
    mkdirSync(dir);
    const server = await rig.server({ config: { dir, save: '3600 1' } });
    const manager = rig.manager({ url: server.url, namespace: 'app' });
    expect(await manager.health()).toMatchObject(WELL);
    const refuses = async (code: string, begin: () => Promise<unknown>, end: () => Promise<unknown>) => {
      await begin();
      await until(async () => !(await manager.health()).writable, { what: code });
      expect(await manager.health()).toMatchObject({ ...WELL, writable: false, error: expect.stringContaining(code) });
      await end();
      await until(async () => (await manager.health()).writable, { what: `no ${code}` });
    };
    const configure = (name: string, value: string | number) => () => server.cli('CONFIG', 'SET', name, value);
    await refuses('OOM', configure('maxmemory', 1), configure('maxmemory', 0));
    await refuses('NOREPLICAS', configure('min-replicas-to-write', 1), configure('min-replicas-to-write', 0));
    const save = async (status: string) => {
      await server.cli('BGSAVE');
      await until(async () => (await server.info('rdb_last_bgsave_status')) === status, { what: `a save: ${status}` });
    };
    const lose = async () => {
      rmSync(dir, { recursive: true });
      await save('err');
    };
    await refuses('MISCONF', lose, configure('stop-writes-on-bgsave-error', 'no'));
    expect(await server.info('rdb_changes_since_last_save')).toBe('0');
    expect(await server.keys()).toEqual([]);
  });

  it('of a replica says that it takes no writes, and stays on it', async () => {
    const [master, replica] = await Promise.all([rig.server(), rig.server()]);
    await replica.replicaOf(master);
    const manager = rig.manager(replica.url);
    for (let n = 0; n < 3; n += 1) {
      expect(await manager.health()).toMatchObject({ ...WELL, writable: false, error: expect.stringContaining('READONLY') });
    }
    expect(manager.metrics().redis_reconnection_attempts_total).toBe(0);
  });

  it('does not judge a user that may not write', async () => {
    const server = await rig.server({ acl: ['reader on >secret ~* &* +@all -@write'] });
    const manager = rig.manager({ url: server.url, username: 'reader', password: 'secret' });
    expect(await manager.health()).toMatchObject(WELL);
  });

  it('says on memory:// what was switched on there', async () => {
    const manager = rig.manager('memory://health');
    expect(await manager.health()).toMatchObject(WELL);
    memoryControl('health').readonly(true);
    expect(await manager.health()).toMatchObject({ ...WELL, writable: false, error: expect.stringContaining('READONLY') });
    memoryControl('health').readonly(false);
    expect(await manager.health()).toMatchObject(WELL);
  });

  it('is followed by that of a container', async () => {
    const server = await rig.server();
    await using container = await createContainer({ redisUrl: server.url });
    expect(await container.health()).toMatchObject({ ok: true, redis: true });
    await server.cli('CONFIG', 'SET', 'maxmemory', 1);
    expect(await container.health()).toMatchObject({ ok: false, redis: false, kv: true });
  });
});

describe('health() of a cluster', () => {
  const total = 16_384;
  const cluster = (slotsServed: number, state = 'ok') => ({ state, slotsServed, slotsTotal: total });

  it('says how much of the key space is served, and is well again with the rest', async () => {
    const nodes = await startCluster(3, { config: { 'cluster-require-full-coverage': 'no' } });
    try {
      const [first, second] = nodes as [RedisServer, RedisServer];
      const manager = rig.manager({
        url: `redis+cluster://127.0.0.1:${first.port}`,
        commandTimeoutMs: 2_000,
        reconnect: { minDelayMs: 5, maxDelayMs: 100 },
      });
      expect(await manager.health()).toMatchObject({ ...WELL, cluster: cluster(total) });

      await second.cli('CONFIG', 'SET', 'maxmemory', 1);
      expect(await manager.health()).toMatchObject({
        ...WELL,
        writable: false,
        cluster: cluster(total),
        error: expect.stringContaining('OOM'),
      });
      await second.cli('CONFIG', 'SET', 'maxmemory', 0);
      expect(await manager.health()).toMatchObject(WELL);

      await second.freeze();
      const began = performance.now();
      const frozen = await manager.health();
      expect(performance.now() - began).toBeLessThan(stretched(6_000));
      const open = 10_922 - 5_461;
      expect(frozen).toMatchObject({
        ok: false,
        writable: true,
        latencyMs: expect.any(Number),
        cluster: cluster(total - open),
        error: expect.stringContaining(`${open} of ${total}`),
      });
      second.thaw();
      await until(async () => (await manager.health()).ok, { timeoutMs: 20_000, what: 'the whole to be served' });

      // Where a part is not enough for the nodes, nothing is served.
      const others = [first, nodes[2] as RedisServer];
      for (const node of others) {
        const forgiven = async () => String(await node.cli('CLUSTER', 'INFO')).includes(`cluster_slots_ok:${total}`);
        await until(forgiven, { timeoutMs: 20_000, what: 'the thawed node to be thought well of' });
        await node.cli('CONFIG', 'SET', 'cluster-require-full-coverage', 'yes');
      }
      await second.kill9();
      let seen: ConnectionHealth | undefined;
      await until(
        async () => {
          seen = await manager.health();
          return seen.cluster?.slotsServed === 0;
        },
        { timeoutMs: 20_000, what: () => `the cluster to be down; ${JSON.stringify(seen)}` },
      );
      expect(seen).toMatchObject({ ok: false, writable: false, cluster: cluster(0, 'fail') });
      await second.restart();
      await until(async () => (await manager.health()).ok, { timeoutMs: 20_000, what: 'the cluster to be up' });
    } finally {
      await Promise.all(nodes.map((node) => node[Symbol.asyncDispose]()));
    }
  });

  it('raises no alarm for a planned failover', async () => {
    await using replicated = await ReplicatedCluster.start();
    const manager = rig.manager({ url: replicated.url });
    expect(await manager.health()).toMatchObject({ ...WELL, cluster: cluster(total) });
    await replicated.failover(replicated.nodes[3] as RedisServer);
    await until(
      async () => {
        const health = await manager.health();
        expect(health).toMatchObject({ ok: true, cluster: cluster(total) });
        return health.writable;
      },
      { what: 'the new master to be known' },
    );
    await manager.disconnect();
  });
});

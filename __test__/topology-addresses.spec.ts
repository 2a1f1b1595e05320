/** Clusters and sentinels that announce addresses of which clients know others: behind NAT, in Docker, through a tunnel. */

import { bullmqOptions, KVStore, MessageBus, RedisConnectionManager } from 'redis-backplane';
import { describe, expect, it } from 'vitest';
import { failureOf } from './support/failure.ts';
import { freePort } from './support/port.ts';
import { type RedisServer, startCluster } from './support/redis-server.ts';
import { TcpProxy } from './support/tcp-proxy.ts';
import { Sentinels, slotOf } from './support/topology.ts';
import { until } from './support/until.ts';

const KEYS = Array.from({ length: 30 }, (_, n) => `key-${n}`);

describe('a cluster that announces ports at which nobody listens', () => {
  it('is reached by addressMap: commands, redirections, messages, blocking commands', { timeout: 90_000 }, async () => {
    const nodes = (await startCluster(3)) as [RedisServer, RedisServer, RedisServer];
    const addressMap: Record<string, string> = {};
    const announced: string[] = [];
    for (const node of nodes) {
      const port = await freePort();
      announced.push(`127.0.0.1,${port}`);
      addressMap[`127.0.0.1:${port}`] = `127.0.0.1:${node.port}`;
      await node.cli('CONFIG', 'SET', 'cluster-announce-port', port);
    }
    for (const node of nodes) {
      const told = async () => {
        const slots = String(await node.cli('CLUSTER', 'SLOTS'));
        // A node closes its links to a node that announces something else, and passes on no message until it has new ones.
        const links = String(await node.cli('CLUSTER', 'NODES'));
        return announced.every((one) => slots.includes(one)) && !links.includes('disconnected');
      };
      await until(told, { timeoutMs: 30_000, what: 'every node to know what the others announce, and to be connected with them' });
    }
    const url = `redis+cluster://127.0.0.1:${nodes[0].port}`;
    const lost = new RedisConnectionManager({ url, connectTimeoutMs: 2_000 });
    expect(await failureOf(lost.connect())).toMatchObject({ redisErrorKind: 'connection' });
    await lost.disconnect();

    const manager = new RedisConnectionManager({ url, addressMap });
    const kv = new KVStore(manager);
    await kv.mset(Object.fromEntries(KEYS.map((key) => [key, key])));
    expect(await kv.mget(KEYS)).toEqual(KEYS);
    expect((await manager.health()).cluster).toMatchObject({ state: 'ok', slotsServed: 16_384 });
    const bus = new MessageBus(manager);
    const heard: unknown[] = [];
    const end = await bus.subscribe('news', ({ payload }) => void heard.push(payload));
    await bus.publish('news', 'hello');
    await until(() => heard.length === 1, { what: 'the message' });
    await end();

    // A slot that moves: the MOVED names what is announced.
    const slot = slotOf('moved');
    const owner = nodes[Math.floor((slot * 3) / 16_384)] as RedisServer;
    const heir = nodes[(nodes.indexOf(owner) + 1) % 3] as RedisServer;
    const id = String(await heir.cli('CLUSTER', 'MYID'));
    for (const node of [heir, owner]) await node.cli('CLUSTER', 'SETSLOT', slot, 'NODE', id);
    const popped = manager.command('BLPOP', 'moved', 10);
    await manager.command('RPUSH', 'moved', 'element');
    expect(await popped).toEqual(['moved', 'element']);
    await manager.disconnect();
    await Promise.all(nodes.map((node) => node[Symbol.asyncDispose]()));
  });

  it('says of redis:// to one of its nodes what to use instead', { timeout: 60_000 }, async () => {
    const nodes = (await startCluster(3)) as [RedisServer, RedisServer, RedisServer];
    const manager = new RedisConnectionManager(`redis://127.0.0.1:${nodes[0].port}`);
    const elsewhere = KEYS.find((key) => slotOf(key) > 8_192) as string;
    const moved = { serverCode: 'MOVED', message: expect.stringContaining('redis+cluster://') };
    expect(await failureOf(manager.command('GET', elsewhere))).toMatchObject(moved);
    expect(await failureOf(manager.transaction([['GET', elsewhere]]))).toMatchObject(moved);
    expect(await failureOf(new KVStore(manager).get(elsewhere))).toMatchObject(moved);
    expect(await failureOf(manager.command('BLPOP', elsewhere, 1))).toMatchObject(moved);
    await manager.disconnect();
    await Promise.all(nodes.map((node) => node[Symbol.asyncDispose]()));
  });
});

describe('sentinels behind a tunnel', () => {
  it('are reached by addressMap, and so is every master that they name, over a switch', { timeout: 120_000 }, async () => {
    await using topology = await Sentinels.start(1);
    const proxies = new Map<RedisServer, TcpProxy>();
    for (const one of [...topology.servers, ...topology.sentinels]) {
      proxies.set(one, await TcpProxy.start({ host: one.host, port: one.port }));
    }
    const addressMap = Object.fromEntries([...proxies].map(([one, proxy]) => [`${one.host}:${one.port}`, `localhost:${proxy.port}`]));
    const manager = new RedisConnectionManager({ url: topology.url, addressMap, clientName: 'tunnelled' });
    /** Those of the manager at `server` that did not come through its proxy. */
    const strays = async (server: RedisServer) => {
      const clients = await server.clients();
      const own = clients.filter((client) => client.name === 'tunnelled').length;
      return own - (proxies.get(server)?.counters.open ?? 0);
    };
    const before = await topology.named();
    await manager.command('SET', 'key', 'value');
    expect(proxies.get(before)?.counters.accepted).toBeGreaterThan(0);
    expect(await strays(before)).toBeLessThanOrEqual(0);
    const after = await topology.failover();
    const moved = async () => String(await manager.command('INFO', 'server').catch(() => '')).includes(`tcp_port:${after.port}`);
    await until(moved, { timeoutMs: 30_000, what: 'the manager to be at the new master' });
    expect(proxies.get(after)?.counters.accepted).toBeGreaterThan(0);
    expect(await strays(after)).toBeLessThanOrEqual(0);
    for (const sentinel of topology.sentinels) expect(proxies.get(sentinel)?.counters.accepted).toBeGreaterThan(0);
    expect(bullmqOptions(manager).natMap).toMatchObject({
      [`${after.host}:${after.port}`]: { host: 'localhost', port: proxies.get(after)?.port },
    });
    await manager.disconnect();
    await Promise.all([...proxies.values()].map((proxy) => proxy[Symbol.asyncDispose]()));
  });
});

/** A script of a user whose own words are those of the server: it was executed, and must not be executed again. */
import { bullmqConnection, RedisConnectionManager, type RedisError } from 'redis-backplane';
import { describe, expect, test } from 'vitest';
import { describeBackends } from '../support/backends.ts';
import { failureOf } from '../support/failure.ts';
import { startCluster } from '../support/redis-server.ts';
import { useRig } from '../support/rig.ts';
import { slotOf } from '../support/topology.ts';
import { until } from '../support/until.ts';

/** What servers say of a script that they did not execute, or have stopped. */
const WORDS = [
  'LOADING Redis is loading the dataset in memory',
  'LOADING Valkey is loading the dataset in memory',
  'NOSCRIPT No matching script. Please use EVAL.',
  "READONLY You can't write against a read only replica.",
  "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
  'CLUSTERDOWN The cluster is down',
  'CLUSTERDOWN Hash slot not served',
  'TRYAGAIN Multiple keys request during rehashing of slot',
  'UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)',
  'BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.',
  'MOVED 1 127.0.0.1:1',
  'ASK 1 127.0.0.1:1',
];
/** What is added to `MOVED`, whoever says it. */
const HINT = ' (the server is a node of a cluster: a RedisConfig.url of redis+cluster:// or rediss+cluster:// follows what it says)';
const COUNTS = "redis.call('INCR', KEYS[1]) return redis.error_reply(ARGV[1])";

describeBackends("a script that says the server's words", (backend) => {
  test.each(WORDS)('is executed once: %s', async (words) => {
    const manager = backend.manager();
    const key = `${backend.namespace}:n`;
    const client = bullmqConnection(manager);
    client.defineCommand('counts', { numberOfKeys: 1, lua: `${COUNTS} -- for BullMQ` });
    const calls: [string, () => Promise<unknown>][] = [
      ['script()', () => manager.script(COUNTS, [key], [words])],
      ['script() again', () => manager.script(COUNTS, [key], [words])],
      ['EVAL', () => manager.command('EVAL', COUNTS, 1, key, words)],
      ['runCommand()', () => client.runCommand('counts', [key, words])],
    ];
    for (const [at, [how, call]] of calls.entries()) {
      const error: RedisError = await failureOf(call());
      expect([how, error.redisErrorKind, error.message]).toEqual([how, 'server', words + (words.startsWith('MOVED ') ? HINT : '')]);
      expect([how, await manager.command('GET', key)]).toEqual([how, String(at + 1)]);
    }
    await client.quit();
  });
});

describe('what the server itself says of a script', () => {
  const rig = useRig();

  test('is believed: a script that was never loaded, or was forgotten, is loaded and executed once', async () => {
    const server = await rig.server();
    const manager = rig.manager(server.url);
    const calls = () =>
      Promise.all(Array.from({ length: 50 }, (_, n) => manager.script("return redis.call('INCR', KEYS[1]) + ARGV[1]", ['n'], [n * 1_000])));
    expect(await calls()).toEqual(Array.from({ length: 50 }, (_, n) => n * 1_000 + n + 1));
    await server.cli('SCRIPT', 'FLUSH');
    expect(await calls()).toEqual(Array.from({ length: 50 }, (_, n) => n * 1_000 + n + 51));
  });

  test('is believed: a script to a replica that is promoted meanwhile is executed once', async () => {
    const [master, replica] = [await rig.server(), await rig.server()];
    await replica.cli('REPLICAOF', master.host, master.port);
    await until(async () => String(await replica.cli('INFO', 'replication')).includes('master_link_status:up'), { what: 'the replica' });
    const manager = rig.manager({ url: replica.url, commandTimeoutMs: 10_000 });
    // A single server that stays a replica says so once more, to the caller.
    const refused = await failureOf(manager.script("return redis.call('INCR', KEYS[1])", ['n']));
    expect([refused.redisErrorKind, refused.serverCode]).toEqual(['server', 'READONLY']);
    await replica.cli('REPLICAOF', 'NO', 'ONE');
    expect(await manager.script("return redis.call('INCR', KEYS[1])", ['n'])).toBe(1);
  });

  test('in a cluster is believed where a slot has moved, and not where the script made it up', async () => {
    const nodes = await startCluster(3);
    const [first] = nodes;
    if (first === undefined) throw new Error('no cluster');
    const manager = new RedisConnectionManager({ url: first.url.replace('redis:', 'redis+cluster:') });
    try {
      const key = 'moved';
      const script = "return redis.call('INCR', KEYS[1])";
      expect(await manager.script(script, [key])).toBe(1);
      for (const words of [`MOVED ${slotOf(key)} ${first.host}:${first.port}`, 'CLUSTERDOWN Hash slot not served']) {
        const before = Number(await manager.command('GET', key));
        expect((await failureOf(manager.script(COUNTS, [key], [words]))).message).toContain(words.split(' ')[0]);
        expect(Number(await manager.command('GET', key))).toBe(before + 1);
      }
      await move(nodes, slotOf(key), key);
      expect(await manager.script(script, [key])).toBe(4);
    } finally {
      await manager.disconnect();
      await Promise.all(nodes.map((node) => node[Symbol.asyncDispose]()));
    }
  });

  /** Gives a slot, and its one key, to another master. */
  async function move(nodes: Awaited<ReturnType<typeof startCluster>>, slot: number, key: string): Promise<void> {
    const ids = await Promise.all(nodes.map(async (node) => String(await node.cli('CLUSTER', 'MYID'))));
    const owns = await Promise.all(nodes.map(async (node) => Number(await node.cli('CLUSTER', 'COUNTKEYSINSLOT', slot)) > 0));
    const from = owns.indexOf(true);
    const to = (from + 1) % nodes.length;
    const [source, target] = [nodes[from], nodes[to]];
    if (source === undefined || target === undefined) throw new Error('nobody has the slot');
    await target.cli('CLUSTER', 'SETSLOT', slot, 'IMPORTING', ids[from] ?? '');
    await source.cli('CLUSTER', 'SETSLOT', slot, 'MIGRATING', ids[to] ?? '');
    await source.cli('MIGRATE', target.host, target.port, key, 0, 5_000);
    for (const node of [target, source]) await node.cli('CLUSTER', 'SETSLOT', slot, 'NODE', ids[to] ?? '');
  }
});

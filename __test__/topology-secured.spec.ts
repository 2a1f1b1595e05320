/** Sentinel and Cluster where every connection is TLS and every user has rights of its own. */

import { inspect } from 'node:util';
import { KVStore, MessageBus, TaskQueue } from 'redis-backplane';
import { describe, expect, it } from 'vitest';
import { failureOf } from './support/failure.ts';
import { type RedisServer, startCluster } from './support/redis-server.ts';
import { reaches, textOf, useRig } from './support/rig.ts';
import { until } from './support/until.ts';

const PASSWORD = 'sesame-of-the-app';
/** All that this package issues, on its own keys and channels. */
const USER = `app on >${PASSWORD} ~* &* +@all -@dangerous +info +keys`;
const rig = useRig();

async function works(manager: ReturnType<typeof rig.manager>): Promise<void> {
  const kv = new KVStore(manager);
  const keys = Array.from({ length: 50 }, (_, n) => `key-${n}`);
  await kv.mset(Object.fromEntries(keys.map((key, n) => [key, n])));
  expect(await kv.mget(keys)).toEqual(keys.map((_, n) => n));
  const bus = new MessageBus(manager);
  const heard: unknown[] = [];
  const end = await bus.subscribe('news', ({ payload }) => void heard.push(payload));
  await bus.publish('news', 'hello');
  await until(() => heard.length === 1, { what: 'the message' });
  await end();
  const queue = new TaskQueue('work', manager);
  const worker = queue.process(async () => 'done');
  const job = await queue.add('job', {});
  expect(await job.waitUntilFinished({ timeoutMs: 10_000 })).toBe('done');
  await worker.close();
}

describe('a cluster with TLS and ACL', () => {
  it('serves a user of its own on every node, and refuses a wrong password and a stranger as such', async () => {
    const nodes = await startCluster(3, { tls: true, acl: [USER, 'default off'] });
    try {
      const [first] = nodes as [RedisServer, ...RedisServer[]];
      const url = `redis+cluster://${nodes.map((node) => `127.0.0.1:${node.port}`).join(',')}`;
      const ca = first.certificates?.ca.cert as string;
      const manager = rig.manager({ url, tls: { ca }, username: 'app', password: PASSWORD });
      await manager.connect();
      await works(manager);
      const users = await Promise.all(nodes.map(async (node) => (await node.clients()).map(({ user }) => user)));
      for (const seen of users) expect(new Set(seen)).toEqual(new Set(['app']));
      await manager.disconnect();

      const wrong = await failureOf(rig.manager({ url, tls: { ca }, username: 'app', password: 'guessed-wrong' }).connect());
      expect(wrong.redisErrorKind).toBe('auth');
      expect(textOf(wrong, inspect)).not.toContain('guessed-wrong');
      const stranger = first.certificates?.strangerCa.cert as string;
      const distrusted = await failureOf(rig.manager({ url, tls: { ca: stranger }, username: 'app', password: PASSWORD }).connect());
      expect(distrusted.redisErrorKind).toBe('tls');
    } finally {
      await Promise.all(nodes.map((node) => node[Symbol.asyncDispose]()));
    }
  });
});

describe('sentinels with TLS and ACL', () => {
  it('are asked with credentials of their own, and a fail-over is followed', async () => {
    const options = { tls: true, acl: [USER, 'default off'] };
    const [master, replica] = await Promise.all([rig.server(options), rig.server(options)]);
    await replica.replicaOf(master);
    const sentinel = await rig.server({
      tls: true,
      sentinel: { name: 'main', server: master },
      acl: ['asker on >sesame-of-the-sentinel &* +@all', 'default off'],
    });
    await until(async () => String(await sentinel.cli('SENTINEL', 'REPLICAS', 'main')).includes(`${replica.port}`), {
      timeoutMs: 15_000,
      what: 'the sentinel to find the replica',
    });
    const ca = master.certificates?.ca.cert as string;
    const config = {
      url: `redis+sentinel://127.0.0.1:${sentinel.port}/main`,
      tls: { ca },
      username: 'app',
      password: PASSWORD,
      sentinelUsername: 'asker',
      sentinelPassword: 'sesame-of-the-sentinel',
    };
    const manager = rig.manager(config);
    await manager.connect();
    await works(manager);

    const wrong = await failureOf(rig.manager({ ...config, sentinelPassword: 'guessed-wrong' }).connect());
    expect(wrong.redisErrorKind).toBe('auth');
    expect(textOf(wrong, inspect)).not.toContain('guessed-wrong');
    const distrusted = rig.manager({ ...config, tls: { ca: master.certificates?.strangerCa.cert as string } });
    expect((await failureOf(distrusted.connect())).redisErrorKind).toBe('tls');

    await master.kill9();
    await reaches(manager, 'ready', 30_000);
    await until(async () => (await manager.command('SET', 'after', 'x').catch(() => 'not yet')) === 'OK', {
      timeoutMs: 30_000,
      what: 'the promoted replica to be written to',
    });
    expect(await replica.info('role')).toBe('master');
    await works(manager);
  });
});

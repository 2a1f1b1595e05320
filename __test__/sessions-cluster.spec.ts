/** Sessions on a cluster: what belongs to one session is in one slot, and its user's list may be in another. */
import { RedisConnectionManager, SessionStore } from 'redis-backplane';
import { BackplaneStore } from 'redis-backplane/express-session';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type RedisServer, startCluster } from './support/redis-server.ts';

let nodes: RedisServer[];
beforeAll(async () => {
  nodes = await startCluster(3);
}, 60_000);
afterAll(() => Promise.all(nodes.map((node) => node[Symbol.asyncDispose]())));

test('every call works there, and the sessions are spread over all masters', async () => {
  await using manager = new RedisConnectionManager({ url: `redis+cluster://127.0.0.1:${nodes[0]?.port}`, namespace: 'app' });
  const sessions = new SessionStore<{ n: number }>(manager);
  const made = await Promise.all(Array.from({ length: 100 }, (_, n) => sessions.create({ n }, { user: 'ann' })));
  for (const session of made) {
    await sessions.append(session.id, 'hello');
    const saved = await sessions.save(session, { n: session.data.n + 1 });
    const renewed = await sessions.regenerate(saved.id);
    expect(await sessions.recent(renewed?.id ?? '', 5)).toEqual(['hello']);
    expect(await sessions.update(renewed?.id ?? '', ({ n }) => ({ n: n + 1 }))).toMatchObject({ data: { n: session.data.n + 2 } });
    expect(await sessions.load(session.id)).toBeNull();
  }
  const keys = await Promise.all(nodes.map((node) => node.keys()));
  for (const of of keys) expect(of.filter(({ key }) => key.includes(':data:')).length).toBeGreaterThan(0);
  expect(await sessions.ofUser('ann')).toHaveLength(100);

  const store = new BackplaneStore(manager, { importFrom: 'sess:' });
  await manager.command('SET', 'sess:theirs', JSON.stringify({ cookie: {}, n: 5 }), 'PX', 60_000);
  const theirs = await new Promise((resolve, reject) => store.get('theirs', (error, data) => (error ? reject(error) : resolve(data))));
  expect(theirs).toMatchObject({ n: 5 });
  const ids = await new Promise<string[]>((resolve, reject) => store.ids((error, found) => (found ? resolve(found) : reject(error))));
  expect(ids).toHaveLength(101);
  expect(await sessions.destroyOfUser('ann')).toBe(100);
});

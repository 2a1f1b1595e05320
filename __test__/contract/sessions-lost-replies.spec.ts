/** What happens when the server acts and its answer is lost: each call is made again, and is done once. */
import { randomUUID } from 'node:crypto';
import { memoryControl, type RedisConnectionManager, type Session, SessionStore } from 'redis-backplane';
import { beforeEach, describe, expect, test } from 'vitest';
import { useRig } from '../support/rig.ts';

const rig = useRig();

/** A manager, and how its next answer is lost. */
interface Lossy {
  manager: RedisConnectionManager;
  loseAnswer(): void;
}

const FAST = { reconnect: { minDelayMs: 1, maxDelayMs: 10 } };
const BACKENDS: [kind: string, start: () => Promise<Lossy>][] = [
  [
    'memory',
    async () => {
      const name = randomUUID();
      const manager = rig.manager({ url: `memory://${name}`, ...FAST });
      return { manager, loseAnswer: () => memoryControl(name).dropReplies(1) };
    },
  ],
  [
    'redis-server',
    async () => {
      const proxy = await rig.proxy(await rig.server());
      const manager = rig.manager({ url: proxy.url, ...FAST });
      manager.on('reconnecting', () => proxy.heal());
      return { manager, loseAnswer: () => proxy.set({ down: { dropAfterBytes: 0 } }) };
    },
  ],
];

describe.each(BACKENDS)('a lost answer of %s', (_, start) => {
  let manager: RedisConnectionManager;
  let store: SessionStore<{ n: number }>;
  let loseAnswer: () => void;
  let session: Session<{ n: number }>;

  beforeEach(async () => {
    ({ manager, loseAnswer } = await start());
    store = new SessionStore(manager);
    await manager.connect();
    // The server must know the scripts: else the lost answer would say that it does not.
    session = await store.create({ n: 0 }, { user: 'ann' });
    const { id } = await store.create({ n: 0 });
    await store.append(id, 1);
    await store.touch(id);
    const other = await store.regenerate(id);
    await store.destroy(other?.id ?? '');
    session = await store.save(session, { n: 1 });
  });

  /** Makes a call whose first answer is lost. */
  async function losing<T>(call: () => Promise<T>): Promise<T> {
    const { redis_commands_resent_total: before } = manager.metrics();
    await manager.ping();
    loseAnswer();
    const outcome = await call();
    expect(manager.metrics().redis_commands_resent_total, String(call)).toBeGreaterThan(before);
    return outcome;
  }

  test('a save is done once, and its version is that of once', async () => {
    const saved = await losing(() => store.save(session, { n: 2 }));
    expect(saved.version).toBe(session.version + 1);
    expect(await losing(() => store.load(session.id))).toEqual(saved);
  });

  test('a session is created once, with its id or another', async () => {
    expect((await losing(() => store.create({ n: 5 }, { id: 'mine' }))).version).toBe(1);
    expect((await losing(() => store.create({ n: 5 }))).version).toBe(1);
  });

  test('a session is destroyed once, and that is said', async () => {
    expect(await losing(() => store.destroy(session.id))).toBe(true);
    expect(await store.destroy(session.id)).toBe(false);
  });

  test('a message is appended once', async () => {
    expect(await losing(() => store.append(session.id, 'a'))).toBe(1);
    expect(await losing(() => store.append(session.id, 'b'))).toBe(2);
    expect(await store.recent(session.id, 5)).toEqual(['b', 'a']);
  });

  test('a session has one new id', async () => {
    const bare = await store.create({ n: 3 });
    const renewed = (await losing(() => store.regenerate(bare.id))) as Session<{ n: number }>;
    expect(renewed.data).toEqual({ n: 3 });
    expect(await store.load(bare.id)).toBeNull();
    expect(await store.load(renewed.id)).toEqual(renewed);
  });

  test('an update is done once', async () => {
    expect((await losing(() => store.update(session.id, ({ n }) => ({ n: n + 1 }))))?.data).toEqual({ n: 2 });
    expect((await store.load(session.id))?.data).toEqual({ n: 2 });
  });
});

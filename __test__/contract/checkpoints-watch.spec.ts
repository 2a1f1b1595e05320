/** New checkpoints of a thread as a watcher is given them, on every backend. */
import { type CheckpointInfo, CheckpointStore, type RedisConnectionManager } from 'redis-backplane';
import { beforeEach, expect, test } from 'vitest';
import { describeBackends } from '../support/backends.ts';
import { refusalOf } from '../support/failure.ts';
import { gate } from '../support/queues.ts';
import { until } from '../support/until.ts';

describeBackends('watching a thread', (backend) => {
  let manager: RedisConnectionManager;
  let store: CheckpointStore;
  let told: CheckpointInfo[];
  const note = (info: CheckpointInfo): void => void told.push(info);
  const allOf = (count: number) =>
    until(() => told.length >= count, { what: () => `${told.length} of ${count} checkpoints`, timeoutMs: 15_000 });

  beforeEach(() => {
    manager = backend.manager();
    store = new CheckpointStore(manager);
    told = [];
  });

  test('gives what is saved from now on, by whomever, in order and without a hole', async () => {
    await store.save('t', 'before');
    await using _ = await store.watch('t', note);
    const other = new CheckpointStore(backend.manager());
    const run = await other.acquire('t');
    await run?.save('of a run', { meta: { a: 1 } });
    await run?.finish();
    const saved = await Promise.all(Array.from({ length: 400 }, (_, n) => (n % 2 ? store : other).save('t', n)));
    await store.save('u', 'another thread');
    const last = await store.save('t', 'scoped', { scope: 's' });
    await allOf(402);
    expect(told[0]).toMatchObject({ thread: 't', meta: { a: 1 } });
    const ids = saved.map(({ id }) => id).sort();
    expect(told.slice(1, -1).map(({ id }) => id)).toEqual(ids);
    expect(told.at(-1)).toEqual(last);
  });

  test('begins behind a checkpoint, or with all where that is not there', async () => {
    const saved: CheckpointInfo[] = [];
    for (let n = 0; n < 150; n++) saved.push(await store.save('t', n));
    {
      await using _ = await store.watch('t', note, { after: saved[20]?.id });
      await allOf(129);
      const one = await store.save('t', 'new');
      await allOf(130);
      expect(told).toEqual([...saved.slice(21), one]);
      saved.push(one);
    }
    told = [];
    await using _ = await store.watch('t', note, { after: 'gone' });
    await allOf(151);
    expect(told).toEqual(saved);
  });

  test('gives one after another: the next when the handler has ended', async () => {
    const go = gate();
    let most = 0;
    let now = 0;
    await using _ = await store.watch('t', async (info) => {
      now += 1;
      most = Math.max(most, now);
      await go.opened;
      now -= 1;
      told.push(info);
    });
    for (let n = 0; n < 5; n++) await store.save('t', n);
    await until(() => now === 1, { what: 'the handler' });
    expect(told).toEqual([]);
    go.open();
    await allOf(5);
    expect(most).toBe(1);
  });

  test('goes on when a handler throws, which is a warning', async () => {
    const warnings: Error[] = [];
    const listener = (warning: Error): void => void warnings.push(warning);
    process.on('warning', listener);
    try {
      await using _ = await store.watch('t', (info) => {
        told.push(info);
        throw new Error(`no ${told.length}`);
      });
      await store.save('t', 1);
      await store.save('t', 2);
      await allOf(2);
      await until(() => warnings.length === 2, { what: 'two warnings' });
      expect(warnings.map(({ message }) => message)).toEqual([expect.stringContaining('no 1'), expect.stringContaining('no 2')]);
    } finally {
      process.off('warning', listener);
    }
  });

  test('ends by the function or the signal, in the middle too; another watcher goes on', async () => {
    const other: string[] = [];
    await using _ = await store.watch('t', ({ id }) => void other.push(id));
    const ending = new AbortController();
    await store.watch(
      't',
      (info) => {
        note(info);
        if (told.length === 2) ending.abort();
      },
      { signal: ending.signal },
    );
    const second: string[] = [];
    const unsubscribe = await store.watch('t', ({ id }) => void second.push(id));
    for (let n = 0; n < 5; n++) await store.save('t', n);
    await until(() => other.length === 5 && second.length === 5, { what: 'the others' });
    expect(told).toHaveLength(2);
    await unsubscribe();
    await unsubscribe();
    await store.save('t', 6);
    await until(() => other.length === 6, { what: 'the one that is left' });
    expect([told.length, second.length]).toEqual([2, 5]);
    await refusalOf(store.watch('t', note, { signal: ending.signal }), 'cancelled', /^CheckpointStore\.watch: signal: aborted$/);
    await refusalOf(store.watch('t', note, { signal: AbortSignal.abort() }), 'cancelled');
  });

  test('a signal that is aborted while it begins ends it', async () => {
    const ending = new AbortController();
    const watching = store.watch('t', note, { signal: ending.signal });
    ending.abort();
    await refusalOf(watching, 'cancelled', /^CheckpointStore\.watch: signal: aborted$/);
    await using _ = await store.watch('t', (info) => void other.push(info.id));
    const other: string[] = [];
    await store.save('t', 1);
    await until(() => other.length === 1, { what: 'another watcher' });
    expect(told).toEqual([]);
  });

  test('goes on with a thread that was removed and has begun again', async () => {
    await using _ = await store.watch('t', note);
    const first = await store.save('t', 1);
    await allOf(1);
    await store.remove('t');
    const again = [await store.save('t', 2), await store.save('t', 3)];
    await allOf(3);
    expect(told).toEqual([first, ...again]);
  });

  test('does not tell of what was trimmed before it was read', async () => {
    const go = gate();
    await using _ = await store.watch('t', async (info) => {
      told.push(info);
      await go.opened;
    });
    await store.save('t', 0);
    await allOf(1);
    const saved: CheckpointInfo[] = [];
    for (let n = 1; n < 6; n++) saved.push(await store.save('t', n));
    await store.prune('t', { last: 2 });
    go.open();
    await allOf(3);
    expect(told.slice(1)).toEqual(saved.slice(-2));
  });
});

/** What the saver for LangGraph does beyond LangGraph's own validation suite (`__test__/consumers/langgraph`), on every backend. */
import { gunzipSync, gzipSync } from 'node:zlib';
import {
  type Checkpoint,
  type CheckpointListOptions,
  type CheckpointMetadata,
  type CheckpointTuple,
  emptyCheckpoint,
  type PendingWrite,
  type SerializerProtocol,
} from '@langchain/langgraph-checkpoint';
import { CheckpointStore } from 'redis-backplane';
import { RedisSaver, type RedisSaverOptions } from 'redis-backplane/langgraph';
import { beforeEach, describe, expect, test } from 'vitest';
import { describeBackends } from '../support/backends.ts';

type Config = CheckpointTuple['config'];

describeBackends('saver for LangGraph', (backend) => {
  let saver: RedisSaver;

  beforeEach(() => {
    saver = new RedisSaver(backend.manager());
  });

  const at = (thread: string, id?: string, scope = ''): Config => ({
    configurable: { thread_id: thread, checkpoint_ns: scope, ...(id !== undefined && { checkpoint_id: id }) },
  });
  const told = (step: number, more: object = {}): CheckpointMetadata => ({ source: 'loop', step, parents: {}, ...more });
  const checkpoint = (id: string, values: Record<string, unknown> = {}, version = 1): Checkpoint => ({
    ...emptyCheckpoint(),
    id,
    ts: '2026-01-01T00:00:00.000Z',
    channel_values: values,
    channel_versions: Object.fromEntries(Object.keys(values).map((channel) => [channel, version])),
  });
  /** Saves a checkpoint whose channels are all new. */
  const put = (config: Config, one: Checkpoint, metadata = told(0), of = saver): Promise<Config> =>
    of.put(config, one, metadata, one.channel_versions);
  const listed = async (config: Config, options?: CheckpointListOptions, of = saver): Promise<string[]> => {
    const ids: string[] = [];
    for await (const { checkpoint: found } of of.list(config, options)) ids.push(found.id);
    return ids;
  };
  const valuesOf = async (config: Config, of = saver) => (await of.getTuple(config))?.checkpoint.channel_values;

  test('what JSON cannot say comes back: classes, bytes, undefined, text of any kind', async () => {
    const values = {
      map: new Map([['a', new Set([1, 2])]]),
      bytes: new Uint8Array([0, 255, 123, 34]),
      inner: { bytes: new Uint8Array([0, 1]), at: /x/g },
      none: undefined,
      text: '\0 "ü" \ud83d\ude00',
      null: null,
    };
    const saved = await put(at('t'), checkpoint('1', values), told(0, { nested: new Map([[1, 2]]) }));
    await saver.putWrites(saved, [['bytes', new Uint8Array([0, 1])]], 'task');
    const tuple = await saver.getTuple(at('t'));
    expect(tuple?.checkpoint.channel_values).toEqual(values);
    expect(tuple?.checkpoint.channel_values.bytes?.constructor).toBe(Uint8Array);
    expect(tuple?.metadata).toEqual(told(0, { nested: new Map([[1, 2]]) }));
    expect(tuple?.pendingWrites).toEqual([['task', 'bytes', new Uint8Array([0, 1])]]);
  });

  test('a serializer of the user has types of its own, and bytes of any kind', async () => {
    const gzip: SerializerProtocol = {
      dumpsTyped: async (value) => ['gzip', gzipSync(JSON.stringify(value))],
      loadsTyped: async (type, data) => {
        expect(type).toBe('gzip');
        return JSON.parse(gunzipSync(data).toString());
      },
    };
    const own = new RedisSaver(backend.manager(), { serde: gzip });
    await put(at('t'), checkpoint('1', { a: 'a'.repeat(10_000) }), told(3), own);
    expect(await valuesOf(at('t'), own)).toEqual({ a: 'a'.repeat(10_000) });
    expect((await own.store.history('t').next()).value).toMatchObject({ meta: { source: 'loop', step: 3 } });

    const odd: SerializerProtocol = {
      dumpsTyped: async (value) => ['json', Buffer.from(`\0json\0${JSON.stringify(value)}`)],
      loadsTyped: async (type, data) => JSON.parse(Buffer.from(data).toString().slice(`\0${type}\0`.length)),
    };
    const beginsWithNul = new RedisSaver(backend.manager(), { serde: odd, namespace: 'odd' });
    await put(at('t'), checkpoint('1', { a: 1 }), told(0), beginsWithNul);
    expect(await valuesOf(at('t'), beginsWithNul)).toEqual({ a: 1 });

    const wrong = new RedisSaver(backend.manager(), { serde: { ...odd, dumpsTyped: async () => ['a\0b', Buffer.of(1)] } });
    await expect(put(at('t'), checkpoint('2', { a: 1 }), told(0), wrong)).rejects.toMatchObject({ redisErrorKind: 'serialization' });
  });

  test('a version that was named before its value was given has it until the last checkpoint with it is gone', async () => {
    let config = await saver.put(at('t'), checkpoint('1', { a: 'x' }), told(0), {});
    config = await saver.put(config, checkpoint('2', { a: 'x' }), told(1), { a: 1 });
    config = await saver.put(config, checkpoint('3', { a: 'x' }), told(2), {});
    expect(await valuesOf(at('t', '2'))).toEqual({ a: 'x' });
    expect(await saver.store.prune('t', { last: 1 })).toBe(2);
    expect(await valuesOf(config)).toEqual({ a: 'x' });
    await put(config, checkpoint('4', { a: 'y' }, 2));
    expect(await saver.store.prune('t', { last: 1 })).toBe(1);
    await put(at('t', '4'), checkpoint('5', { a: 'new' }, 1));
    expect(await valuesOf(at('t'))).toEqual({ a: 'new' });
  });

  test('a channel is stored once for each of its versions', async () => {
    const all = Object.fromEntries(Array.from({ length: 100 }, (_, number) => [`channel-${number}`, 'x'.repeat(1_000)]));
    const first = await put(at('t'), checkpoint('1', all));
    const next = checkpoint('2', { ...all, 'channel-7': 'changed' });
    next.channel_versions['channel-7'] = 2;
    await saver.put(first, next, told(1), { 'channel-7': 2 });
    expect(await valuesOf(at('t'))).toEqual({ ...all, 'channel-7': 'changed' });
    expect(await valuesOf(first)).toEqual(all);
    const bytes: number[] = [];
    for await (const info of saver.store.history('t')) bytes.push(info.bytes);
    expect(bytes[0]).toBeLessThan(1_000);
    expect(bytes[1]).toBeGreaterThan(100_000);
  });

  test('a put can be repeated, but neither its id nor a version stands for two contents', async () => {
    const one = checkpoint('1', { a: 1 });
    const saved = await put(at('t'), one);
    expect(await put(at('t'), one)).toEqual(saved);
    await expect(put(at('t'), checkpoint('1', { a: 2 }))).rejects.toMatchObject({ redisErrorKind: 'conflict' });
    await expect(put(saved, checkpoint('2', { a: 2 }))).rejects.toMatchObject({
      redisErrorKind: 'conflict',
      message: 'CheckpointStore.save: versions of these parts are there with other values: a',
    });
    await put(saved, checkpoint('2', { a: 1, b: 2 }));
    expect(await listed(at('t'))).toEqual(['2', '1']);
    expect(await valuesOf(saved)).toEqual({ a: 1 });
  });

  test('a checkpoint without a parent has none, also in a thread that has others', async () => {
    await put(await put(at('t'), checkpoint('1')), checkpoint('2'));
    await put(at('t'), checkpoint('15'));
    expect((await saver.getTuple(at('t', '15')))?.parentConfig).toBeUndefined();
    expect((await saver.getTuple(at('t')))?.parentConfig).toEqual(at('t', '1'));
    // A parent that is not there, or not yet.
    await put(at('t', '4'), checkpoint('5'));
    expect((await saver.getTuple(at('t')))?.parentConfig).toEqual(at('t', '4'));
  });

  describe('writes', () => {
    const writesOf = async (config: Config) => (await saver.getTuple(config))?.pendingWrites;

    test('come before their checkpoint, in the order of path, task and place, whatever order they were written in', async () => {
      const many: PendingWrite[] = Array.from({ length: 12 }, (_, number) => ['many', number]);
      await saver.putWrites(at('t', '1'), [['c', 1]], 'task-1', '~b');
      await saver.putWrites(at('t', '1'), many, 'task-3', '~a');
      await saver.putWrites(at('t', '1'), [['\ud83d\ude00', 2]], 'task-2', '~\ud83d\ude00');
      await saver.putWrites(at('t', '1'), [['c', 3]], 'task-4', '~\uffee');
      await saver.putWrites(at('t', '1'), [['c', 4]], 'task-9');
      await saver.putWrites(at('t', '1'), [['c', 5]], 'task-10');
      expect(await saver.getTuple(at('t', '1'))).toBeUndefined();
      await put(at('t'), checkpoint('1'));
      expect(await writesOf(at('t'))).toEqual([
        ['task-10', 'c', 5],
        ['task-9', 'c', 4],
        ...many.map((write) => ['task-3', ...write]),
        ['task-1', 'c', 1],
        ['task-4', 'c', 3],
        ['task-2', '\ud83d\ude00', 2],
      ]);
    });

    test('of a task stay as they were written first, but for those that LangGraph replaces', async () => {
      const saved = await put(at('t'), checkpoint('1'));
      await saver.putWrites(saved, [['c', 'first'], ['__resume__', 'first'], ['constructor', 1]], 'task'); // biome-ignore format: one line
      await saver.putWrites(saved, [['c', 'second'], ['__resume__', 'second'], ['constructor', 2]], 'task'); // biome-ignore format: one line
      await saver.putWrites(saved, [['__error__', 'e']], 'task');
      await saver.putWrites(saved, [['__interrupt__', 'i']], 'task');
      expect(await writesOf(saved)).toEqual([
        ['task', '__resume__', 'second'],
        ['task', '__interrupt__', 'i'],
        ['task', '__error__', 'e'],
        ['task', 'c', 'first'],
        ['task', 'constructor', 1],
      ]);
    });
  });

  describe('list', () => {
    beforeEach(async () => {
      for (const thread of ['one', 'two']) {
        for (const [number, scope] of ['', 'sub', '', 'sub'].entries()) {
          await put(at(thread, undefined, scope), checkpoint(`${number}`), told(number, { user: number % 2 ? 'ann' : 'bob', tags: ['a'] }));
        }
      }
    });

    test('gives the greatest id first, of all namespaces or of one', async () => {
      expect(await listed({ configurable: { thread_id: 'one' } })).toEqual(['3', '2', '1', '0']);
      expect(await listed(at('one'))).toEqual(['2', '0']);
      expect(await listed(at('one', '1', 'sub'))).toEqual(['1']);
      expect(await listed({ configurable: { thread_id: 'one', checkpoint_id: '2' } })).toEqual(['2']);
      expect((await listed({})).sort()).toEqual(['0', '0', '1', '1', '2', '2', '3', '3']);
      expect(await listed({ configurable: { thread_id: 'nobody' } })).toEqual([]);
    });

    test('counts what it gives, after the filter, over threads', async () => {
      expect(await listed({ configurable: { thread_id: 'one' } }, { before: at('one', '3'), limit: 2 })).toEqual(['2', '1']);
      expect(await listed({ configurable: { thread_id: 'one' } }, { filter: { user: 'ann' }, limit: 1 })).toEqual(['3']);
      expect(await listed({}, { filter: { user: 'ann', step: 1 } })).toEqual(['1', '1']);
      expect(await listed({}, { limit: 5 })).toHaveLength(5);
      expect(await listed({}, { limit: 0 })).toEqual([]);
      expect(await listed(at('one'), { filter: { tags: ['a'] } })).toEqual([]);
    });

    test('more than one page, and more than are read at once', async () => {
      const ids = Array.from({ length: 230 }, (_, number) => `${1_000 + number}`);
      await Promise.all(ids.map((id) => put(at('many'), checkpoint(id, { a: 1 }))));
      expect(await listed(at('many'))).toEqual(ids.toReversed());
      expect(await listed({ configurable: { thread_id: 'many' } }, { limit: 201 })).toEqual(ids.toReversed().slice(0, 201));
    });
  });

  describe('what is kept', () => {
    test('a checkpoint goes when it is too old, with the values that no other one has', async () => {
      const few = new RedisSaver(backend.manager(), { keep: { last: 2 } });
      let config = at('t');
      for (let step = 1; step <= 5; step++) {
        const one = checkpoint(`${step}`, { same: 'same', own: step }, 1);
        one.channel_versions.own = step;
        config = await few.put(config, one, told(step), step === 1 ? { same: 1, own: 1 } : { own: step });
      }
      expect(await listed(at('t'), {}, few)).toEqual(['5', '4']);
      expect(await valuesOf(at('t'), few)).toEqual({ same: 'same', own: 5 });
    });

    test('one whose writes make a channel of a later one stays with it; the newest stay, whatever else does', async () => {
      const few = new RedisSaver(backend.manager(), { keep: { last: 2 } });
      const snapshot = (id: string) => checkpoint(id, { deltas: `value at ${id}` }, Number(id));
      const delta = (id: string): Checkpoint => ({ ...checkpoint(id), channel_versions: { deltas: Number(id) } });
      const counted = (step: number) => told(step, { counters_since_delta_snapshot: { deltas: [step, step] } });
      let config = await put(at('t'), snapshot('1'), told(1), few);
      for (let step = 2; step <= 5; step++) {
        await few.putWrites(config, [['deltas', step]], 'task');
        config = await put(config, delta(`${step}`), counted(step), few);
      }
      // None of these is needed, and of these the newest two stay.
      for (let step = 1; step <= 4; step++) await put(at('t', undefined, 'sub'), checkpoint(`${step}`), told(step), few);
      expect(await listed(at('t', undefined, 'sub'), {}, few)).toEqual(['4', '3']);
      expect(await listed(at('t'), {}, few)).toEqual(['5', '4', '3', '2', '1']);
      expect(await few.getDeltaChannelHistory({ config, channels: ['deltas'] })).toEqual({
        deltas: { seed: 'value at 1', writes: [2, 3, 4, 5].map((step) => ['task', 'deltas', step]) },
      });

      config = await put(config, snapshot('6'), told(6), few);
      config = await put(config, delta('7'), counted(1), few);
      expect(await listed(at('t'), {}, few)).toEqual(['7', '6']);
      expect(await listed(at('t', undefined, 'sub'), {}, few)).toEqual(['4']);
    });

    test('those that are pinned are kept beside the newest', async () => {
      const few = new RedisSaver(backend.manager(), { keep: { last: 2 } });
      for (const id of ['1', '2']) {
        await put(at('t'), checkpoint(id), told(0), few);
        expect(await few.store.pin('t', id)).toBe(true);
      }
      for (const id of ['3', '4', '5']) await put(at('t'), checkpoint(id), told(0), few);
      expect(await listed(at('t'), {}, few)).toEqual(['5', '4', '2', '1']);
    });
  });

  describe('ownership', () => {
    test('a saver of the owner writes that thread, and no other one does until it is given back', async () => {
      const other = new RedisSaver(backend.manager());
      const run = await saver.store.acquire('t');
      if (run === null) throw new Error('nobody else owns it');
      const owned = saver.ownedBy(run);
      const refused = { redisErrorKind: 'lease-lost', delivery: 'rejected' };
      const saved = await put(at('t'), checkpoint('1', { a: 1 }), told(0), owned);
      await owned.putWrites(saved, [['a', 2]], 'task');
      for (const each of [other, saver]) {
        await expect(put(saved, checkpoint('2'), told(0), each)).rejects.toMatchObject(refused);
        await expect(each.putWrites(saved, [['a', 3]], 'task')).rejects.toMatchObject(refused);
      }
      await expect(put(at('u'), checkpoint('1'), told(0), owned)).rejects.toMatchObject({ redisErrorKind: 'config' });
      await expect(owned.deleteThread('u')).rejects.toMatchObject({ redisErrorKind: 'config' });
      expect(await listed(at('t'), {}, other)).toEqual(['1']);

      await run.pause();
      await expect(put(saved, checkpoint('2'), told(0), owned)).rejects.toMatchObject(refused);
      await put(saved, checkpoint('2'), told(0), other);

      const later = await other.store.acquire('t');
      if (later === null) throw new Error('nobody else owns it');
      await other.ownedBy(later).deleteThread('t');
      await expect(put(saved, checkpoint('3'), told(0), other.ownedBy(later))).rejects.toMatchObject(refused);
      expect(await saver.getTuple(at('t'))).toBeUndefined();
    });
  });

  describe('what is refused', () => {
    test('a thread, an id and a task that are none, by name', async () => {
      const wrong = (config: object) => ({ configurable: { thread_id: 't', checkpoint_id: '1', ...config } });
      for (const [config, name] of [
        [{ thread_id: 7 }, 'thread_id: expected a string, got number'],
        [{ thread_id: '' }, 'thread: expected a string of 1 to 1024 bytes'],
        [{ thread_id: 'a\0b' }, 'thread: expected'],
        [{ checkpoint_ns: null }, 'checkpoint_ns: expected a string, got object'],
        [{ checkpoint_ns: 'a\0b' }, 'scope: expected'],
      ] as const) {
        const error = { redisErrorKind: 'config', message: expect.stringContaining(name) };
        await expect(saver.getTuple(wrong(config)), name).rejects.toMatchObject(error);
        await expect(put(wrong(config), checkpoint('2')), name).rejects.toMatchObject(error);
        await expect(saver.putWrites(wrong(config), [], 'task'), name).rejects.toMatchObject(error);
      }
      const config = { redisErrorKind: 'config' };
      await expect(put(at('t'), checkpoint(''))).rejects.toMatchObject(config);
      await expect(saver.putWrites(at('t', '1'), [], '')).rejects.toMatchObject(config);
      await expect(saver.putWrites(at('t', '1'), [['a\0b', 1]], 'task')).rejects.toMatchObject(config);
      await expect(put(at('t'), checkpoint('1', { 'a\0b': 1 }))).rejects.toMatchObject(config);
      await expect(saver.deleteThread('')).rejects.toMatchObject(config);
      expect(await listed({})).toEqual([]);
    });

    test('what is too large, before anything is written', async () => {
      const small = new RedisSaver(backend.manager(), { maxBytes: 1_000, maxThreadBytes: 3_000 });
      const large = 'x'.repeat(1_001);
      await expect(put(at('t'), checkpoint('1', { large }), told(0), small)).rejects.toMatchObject({ redisErrorKind: 'config' });
      await expect(small.putWrites(at('t', '1'), [['large', large]], 'task')).rejects.toMatchObject({ redisErrorKind: 'config' });
      const fill = async () => {
        for (let id = 1; id < 10; id++) await put(at('t'), checkpoint(`${id}`, { a: 'x'.repeat(500) }, id), told(0), small);
      };
      await expect(fill()).rejects.toMatchObject({ redisErrorKind: 'overloaded', delivery: 'rejected' });
    });

    test('a thread whose checkpoints are not those of a saver', async () => {
      await saver.store.save('t', { done: 1 });
      await expect(saver.getTuple(at('t'))).rejects.toMatchObject({ redisErrorKind: 'serialization' });
    });

    test('options that nobody asked for, and those of a store beside one', () => {
      const options: RedisSaverOptions & { ttl?: number } = { ttl: 1 };
      expect(() => new RedisSaver(backend.manager(), options)).toThrow(/ttl: expected one of the options/);
      const store = new CheckpointStore(backend.manager());
      expect(new RedisSaver(store, { serde: saver.serde }).store).toBe(store);
      expect(() => new RedisSaver(store, { ttlSec: 1 })).toThrow('RedisSaver.ttlSec: expected only serde beside a store');
    });
  });

  test('versions grow, and no two that follow one are the same', () => {
    const first = saver.getNextVersion(undefined);
    expect(Math.floor(first)).toBe(1);
    // As of a thread that another saver began.
    expect(Math.floor(saver.getNextVersion(7))).toBe(8);
    let version = first;
    for (let step = 0; step < 1_000; step++) {
      const [next, other] = [saver.getNextVersion(version), saver.getNextVersion(version)];
      expect(next).toBeGreaterThan(version);
      expect(Math.floor(next)).toBe(Math.floor(version) + 1);
      expect(other).not.toBe(next);
      version = next;
    }
  });
});

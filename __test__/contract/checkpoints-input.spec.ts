/** What the store of checkpoints refuses, and that nothing is sent then. */
import { type CheckpointRun, CheckpointStore, type CheckpointStoreOptions, type RedisConnectionManager } from 'redis-backplane';
import { beforeEach, expect, test } from 'vitest';
import { describeBackends } from '../support/backends.ts';
import { failureOf, refusalOf } from '../support/failure.ts';

describeBackends('input of checkpoints', (backend) => {
  let manager: RedisConnectionManager;
  let store: CheckpointStore;

  beforeEach(() => {
    manager = backend.manager();
    store = new CheckpointStore(manager, { maxBytes: 100 });
  });

  /** Runs `work`, which must send nothing. */
  const unsent = async (work: () => Promise<unknown>): Promise<void> => {
    await manager.ping();
    const { redis_sent_bytes_total: before } = manager.metrics();
    await work();
    expect(manager.metrics().redis_sent_bytes_total).toBe(before);
  };
  const cyclic: Record<string, unknown> = {};
  cyclic.loop = cyclic;
  const inexpressible = [undefined, () => {}, Symbol('s'), 1n, Number.NaN, cyclic, { toJSON: () => undefined }];

  test('an option of a store that cannot be is named, with what was expected and what came', () => {
    const bad: [Record<string, unknown>, RegExp][] = [
      [{ namespace: '~x' }, /^CheckpointStore\.namespace: expected /],
      [{ ttlSec: 0 }, /^CheckpointStore\.ttlSec: expected a number of seconds above 0 .*, got 0$/],
      [{ ttlSec: Number.NaN }, /^CheckpointStore\.ttlSec: .* got NaN$/],
      [{ maxBytes: 0 }, /^CheckpointStore\.maxBytes: expected a whole number from 1 to 536870912, got 0$/],
      [{ maxBytes: '1' }, /^CheckpointStore\.maxBytes: /],
      [{ maxThreadBytes: 1.5 }, /^CheckpointStore\.maxThreadBytes: expected a whole number from 1/],
      [{ keep: 5 }, /^CheckpointStore\.keep: expected /],
      [{ keep: { last: 0 } }, /^CheckpointStore\.keep\.last: /],
      [{ keep: { ageSec: '1' } }, /^CheckpointStore\.keep\.ageSec: /],
      [{ keep: { newest: 1 } }, /^CheckpointStore\.keep\.newest: /],
      [{ registry: {} }, /^CheckpointStore: registry: expected a WorkerRegistry/],
      [{ ttl: 1 }, /^CheckpointStore\.ttl: expected one of the options/],
    ];
    for (const [options, message] of bad) {
      expect(() => new CheckpointStore(manager, options as CheckpointStoreOptions), JSON.stringify(options)).toThrow(message);
    }
    expect(() => new CheckpointStore(7 as never)).toThrow(/^CheckpointStore: manager: expected a RedisConnectionManager/);
    expect(() => new CheckpointStore(manager, [] as never)).toThrow(/^CheckpointStore: options: expected an object/);
  });

  test('a name that cannot be is refused by every method', async () => {
    const bad = ['', 'x'.repeat(1_025), 'a\u0000b', 7, null, undefined] as string[];
    await unsent(async () => {
      await refusalOf(store.save('\ud800', 1), 'config', /: expected a well-formed string, got one with a lone surrogate$/);
      for (const name of bad) {
        const all: [string, () => Promise<unknown>][] = [
          ['save: thread', () => store.save(name, 1)],
          ['latest: thread', () => store.latest(name)],
          ['get: thread', () => store.get(name, 'i')],
          ['history: thread', () => store.history(name).next()],
          ['fork: thread', () => store.fork(name, 'i', 'u')],
          ['fork: id', () => store.fork('t', name, 'u')],
          ['fork: into', () => store.fork('t', 'i', name)],
          ['addPending: thread', () => store.addPending(name, 'i', 'k', [])],
          ['addPending: id', () => store.addPending('t', name, 'k', [])],
          ['addPending: task', () => store.addPending('t', 'i', name, [])],
          ['pin: thread', () => store.pin(name, 'i')],
          ['pin: id', () => store.pin('t', name)],
          ['prune: thread', () => store.prune(name, { last: 1 })],
          ['remove: thread', () => store.remove(name)],
          ['acquire: thread', () => store.acquire(name)],
          ['watch: thread', () => store.watch(name, () => {})],
        ];
        for (const [what, call] of all)
          await refusalOf(call(), 'config', new RegExp(`^CheckpointStore\\.${what}: expected a string of 1 to 1024 bytes`));
        if (name !== null) await refusalOf(store.get('t', name), 'config', /^CheckpointStore\.get: id: /);
      }
    });
  });

  test('an option that cannot be is named, and nothing is sent', async () => {
    const named = (call: Promise<unknown>, what: string) => refusalOf(call, 'config', new RegExp(`^CheckpointStore\\.${what}: `));
    const long = 'x'.repeat(1_025);
    await unsent(async () => {
      await named(store.save('t', 1, { id: '' }), 'save\\.id');
      await named(store.save('t', 1, { id: long }), 'save\\.id');
      await named(store.save('t', 1, { scope: long }), 'save\\.scope');
      await named(store.save('t', 1, { scope: 'a\u0000' }), 'save\\.scope');
      await named(store.save('t', 1, { parent: '' }), 'save\\.parent');
      await named(store.save('t', 1, { parent: 7 as never }), 'save\\.parent');
      await named(store.save('t', 1, { branch: 1 as never }), 'save\\.branch');
      await named(store.save('t', 1, { fence: 0 }), 'save\\.fence');
      await named(store.save('t', 1, { fence: 1.5 }), 'save\\.fence');
      await named(store.save('t', 1, { meta: [] as never }), 'save: meta');
      await named(store.save('t', 1, { meta: null as never }), 'save: meta');
      await named(store.save('t', 1, 'x' as never), 'save: options');
      for (const hidden of ['parentAs', 'needsParent', 'lenient', 'metaData']) {
        await named(store.save('t', 1, { [hidden]: true }), `save\\.${hidden}`);
      }
      await named(store.latest('t', { raw: true } as never), 'latest\\.raw');
      await named(store.latest('t', { scope: 7 as never }), 'latest\\.scope');
      await named(store.get('t', 'i', { raw: true } as never), 'get\\.raw');
      await named(store.history('t', { all: true } as never).next(), 'history\\.all');
      await named(store.history('t', { limit: 0 }).next(), 'history: limit');
      await named(store.history('t', { before: 7 as never }).next(), 'history\\.before');
      await named(store.history('t', { where: [] as never }).next(), 'history\\.where');
      await named(store.fork('t', 'i', 'u', { scopes: 's' } as never), 'fork\\.scopes');
      await named(store.addPending('t', 'i', 'k', 7 as never), 'addPending: writes');
      await named(store.addPending('t', 'i', 'k', [['x']] as never), 'addPending: writes\\[0\\]');
      await named(
        store.addPending('t', 'i', 'k', [
          ['x', 1],
          [1, 1],
        ] as never),
        'addPending: writes\\[1\\]',
      );
      await named(store.addPending('t', 'i', 'k', [], { fence: -1 }), 'addPending\\.fence');
      await named(store.addPending('t', 'i', 'k', [], { task: 1 } as never), 'addPending\\.task');
      await named(store.pin('t', 'i', 1 as never), 'pin: on');
      await named(store.pin('t', 'i', true, { on: true } as never), 'pin\\.on');
      await named(store.threads({ prefix: 7 as never }).next(), 'threads: prefix');
      await named(store.threads({ match: '*' } as never).next(), 'threads\\.match');
      await named(store.acquire('t', { leaseMs: 99 }), 'acquire: leaseMs');
      await named(store.acquire('t', { waitMs: -1 }), 'acquire\\.waitMs');
      await named(store.acquire('t', { worker: 'w' as never }), 'acquire: worker');
      await named(store.acquire('t', { worker: { id: 'w' } as never }), 'acquire: worker\\.epoch');
      await named(store.acquire('t', { worker: { id: '', epoch: 1 } }), 'acquire\\.worker\\.id');
      await named(store.acquire('t', { signal: {} as never }), 'acquire: signal');
      await named(store.acquire('t', { lease: 1 } as never), 'acquire\\.lease');
      await named(store.interrupted({ limit: 0 }), 'interrupted\\.limit');
      await named(store.interrupted({ max: 1 } as never), 'interrupted\\.max');
      await named(store.watch('t', 7 as never), 'watch: handler');
      await named(
        store.watch('t', () => {}, { after: '' }),
        'watch: after',
      );
      await named(
        store.watch('t', () => {}, { before: '' } as never),
        'watch\\.before',
      );
    });
    const bad: [unknown, unknown, RegExp][] = [
      [7, {}, /^CheckpointStore\.resume: handler: expected a function/],
      [() => {}, { concurrency: 0 }, /^CheckpointStore\.resume: concurrency: expected a whole number from 1 to 10000, got 0/],
      [() => {}, { maxResumes: 0 }, /^CheckpointStore\.resume: maxResumes: /],
      [() => {}, { match: 7 }, /^CheckpointStore\.resume: match: /],
      [() => {}, { leaseMs: 1 }, /^CheckpointStore\.resume: leaseMs: /],
      [() => {}, { threads: 1 }, /^CheckpointStore\.resume\.threads: /],
    ];
    for (const [handler, options, message] of bad) expect(() => store.resume(handler as never, options as never)).toThrow(message);
  });

  test('what JSON cannot express, or is too large, is refused before anything is sent', async () => {
    const run = (await store.acquire('run')) as CheckpointRun;
    const { id } = await store.save('t', 1);
    await unsent(async () => {
      for (const value of inexpressible) {
        await refusalOf(
          store.save('t', value),
          'serialization',
          /^CheckpointStore\.save: state: expected a value that JSON can express, got /,
        );
        await refusalOf(run.save(value), 'serialization', /^CheckpointRun\.save: state: /);
        await refusalOf(
          store.addPending('t', id, 'k', [
            ['ok', 1],
            ['x', value],
          ]),
          'serialization',
          /^CheckpointStore\.addPending: writes\[1\]: /,
        );
      }
      await refusalOf(store.save('t', 1, { meta: cyclic }), 'serialization', /^CheckpointStore\.save: meta: /);
      await refusalOf(run.save(1, { meta: { n: 1n } }), 'serialization', /^CheckpointRun\.save: meta: /);
      await refusalOf(run.save(1, { metaData: {} } as never), 'config', /^CheckpointRun\.save\.metaData: /);
      await refusalOf(run.save(1, 7 as never), 'config', /^CheckpointRun\.save: options: /);
      await refusalOf(run.finish('gone' as never), 'config', /^CheckpointRun\.finish: outcome: expected 'done' or 'failed', got a string/);
      const large = /: state: expected at most maxBytes, 100 bytes, got 101 bytes$/;
      const text = 'x'.repeat(97);
      await refusalOf(store.save('t', text), 'config', large);
      await refusalOf(run.save(text), 'config', large);
      await refusalOf(store.save('t', 1, { meta: { a: text } }), 'config', /: state: expected at most maxBytes/);
      await refusalOf(
        store.addPending('t', id, 'k', [
          ['x', text],
          ['y', 1],
        ]),
        'config',
        /^CheckpointStore\.addPending: writes: expected at most maxBytes/,
      );
    });
    expect((await store.save('t', 'x'.repeat(96))).bytes).toBe(98);
    await run.pause();
  });

  test('a checkpoint that is not there cannot be copied', async () => {
    await store.save('t', 1);
    await refusalOf(
      store.fork('t', 'another', 'u'),
      'config',
      /^CheckpointStore\.fork: id: expected the id of a checkpoint of the thread, got another id$/,
    );
    await refusalOf(store.fork('none', 'another', 'u'), 'config');
    expect(await store.latest('u')).toBeNull();
  });

  test('what another program wrote there is told', async () => {
    await store.save('t', 1);
    const keys = await manager.command<string[]>('KEYS', `${backend.namespace}:*:t`);
    for (const key of keys) {
      await manager.command('DEL', key);
      await manager.command('SET', key, 'text');
      expect(await failureOf(store.latest('t'))).toMatchObject({ redisErrorKind: 'server', serverCode: 'WRONGTYPE' });
      expect(await failureOf(store.save('t', 1))).toMatchObject({ redisErrorKind: 'server', serverCode: 'WRONGTYPE' });
      await manager.command('DEL', ...keys);
      await store.save('t', 1);
    }
  });
});

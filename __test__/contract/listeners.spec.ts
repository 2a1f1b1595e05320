/** Listeners of every class that has some: one that fails harms nobody, whatever it fails with, and each runs in its own context. */
import { AsyncLocalStorage } from 'node:async_hooks';
import { MessageBus, TaskQueue, WorkerRegistry } from 'redis-backplane';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { describeBackends } from '../support/backends.ts';
import { failureOf } from '../support/failure.ts';
import { until } from '../support/until.ts';

type Listener = (...args: unknown[]) => unknown;

/** Something that has listeners, and how one of its events comes about. */
interface Speaker {
  on(event: string, listener: Listener): unknown;
  off(event: string, listener: Listener): unknown;
  once?(event: string, listener: Listener): unknown;
}

const boom = (): Error => new Error('boom');

/** `target`, as something that can be awaited. */
function thenable<T extends object>(target: T, then: (resolve: unknown, reject: (error: Error) => void) => void): T {
  Reflect.set(target, 'then', then);
  return target;
}

const FAILURES: [string, Listener][] = [
  [
    'throws',
    () => {
      throw boom();
    },
  ],
  [
    'rejects',
    async () => {
      throw boom();
    },
  ],
  ['gives a thenable that rejects', () => thenable({}, (_, reject) => reject(boom()))],
  [
    'gives a function that is a thenable and rejects',
    () =>
      thenable(
        () => {},
        (_, reject) => reject(boom()),
      ),
  ],
  [
    'gives a thenable that throws',
    () =>
      thenable({}, () => {
        throw boom();
      }),
  ],
  [
    'throws what is no error',
    () => {
      throw null;
    },
  ],
];

describeBackends('a listener', (backend) => {
  const warnings: string[] = [];
  const unhandled: unknown[] = [];
  const warn = (warning: Error): void => void warnings.push(warning.message);
  const reject = (error: unknown): void => void unhandled.push(error);

  beforeEach(() => {
    warnings.length = 0;
    unhandled.length = 0;
    process.on('warning', warn);
    process.on('unhandledRejection', reject);
  });
  afterEach(() => {
    process.off('warning', warn);
    process.off('unhandledRejection', reject);
  });

  /** Each class: its object, an event, and what makes it come about. */
  const SPEAKERS: [string, string, () => Promise<{ speaker: Speaker; happen(): Promise<unknown>; end(): Promise<unknown> }>][] = [
    [
      'RedisConnectionManager',
      'state',
      async () => {
        const manager = backend.manager();
        let connected = false;
        return {
          speaker: manager as unknown as Speaker,
          happen: () => {
            connected = !connected;
            return connected ? manager.connect() : manager.disconnect().then(() => manager.connect().catch(() => {}));
          },
          end: () => manager.disconnect(),
        };
      },
    ],
    [
      'WorkerRegistry',
      'joined',
      async () => {
        const registry = new WorkerRegistry(backend.manager(), { autoHeartbeat: false });
        return { speaker: registry as unknown as Speaker, happen: () => registry.register(), end: () => registry.cleanup() };
      },
    ],
    [
      'MessageBus',
      'malformed',
      async () => {
        const manager = backend.manager();
        const bus = new MessageBus(manager);
        await bus.subscribe('topic', () => {});
        const channel = ((await manager.command('PUBSUB', 'CHANNELS')) as string[]).find((name) =>
          name.includes(backend.namespace),
        ) as string;
        return {
          speaker: bus as unknown as Speaker,
          happen: () => manager.command('PUBLISH', channel, 'not JSON'),
          end: () => bus.close(),
        };
      },
    ],
    [
      'TaskQueue',
      'added',
      async () => {
        const queue = new TaskQueue('q', backend.manager());
        return { speaker: queue as unknown as Speaker, happen: () => queue.add('job', {}), end: () => queue.close() };
      },
    ],
    [
      'TaskWorker',
      'active',
      async () => {
        const queue = new TaskQueue('q', backend.manager());
        const worker = queue.process(async () => {});
        return {
          speaker: worker as unknown as Speaker,
          happen: () => queue.add('job', {}),
          end: () => worker.close().then(() => queue.close()),
        };
      },
    ],
  ];

  describe.each(SPEAKERS)('of a %s', (_, event, open) => {
    test('that fails in any way is a process warning, and nobody else suffers', async () => {
      const { speaker, happen, end } = await open();
      const heard: string[] = [];
      for (const [name, fail] of FAILURES) {
        speaker.on(event, (...args) => {
          heard.push(name);
          return fail(...args);
        });
      }
      speaker.on(event, () => heard.push('the last'));
      if ('ready' in speaker) await (speaker as { ready(): Promise<void> }).ready();
      await happen();
      await until(() => heard.includes('the last') && warnings.length >= FAILURES.length, {
        what: () => `the warnings: ${warnings.length}, and listeners: ${heard.join()}`,
      });
      await end();
      expect(heard.slice(0, FAILURES.length + 1)).toEqual([...FAILURES.map(([name]) => name), 'the last']);
      expect(warnings.filter((text) => text === 'boom').length).toBeGreaterThanOrEqual(FAILURES.length - 1);
      expect(unhandled).toEqual([]);
    });

    test('runs in the context it was added in, and one for the next time only runs once', async () => {
      const { speaker, happen, end } = await open();
      const contexts = new AsyncLocalStorage<string>();
      const heard: (string | undefined)[] = [];
      contexts.run('on', () => speaker.on(event, () => heard.push(contexts.getStore())));
      let times = 0;
      contexts.run('once', () =>
        speaker.once?.(event, () => {
          times += 1;
          heard.push(contexts.getStore());
        }),
      );
      if ('ready' in speaker) await (speaker as { ready(): Promise<void> }).ready();
      await contexts.run('another', happen);
      await contexts.run('another', happen);
      await until(() => heard.filter((context) => context === 'on').length >= 2, { what: 'the event, twice' });
      await end();
      expect(new Set(heard)).toEqual(new Set(speaker.once === undefined ? ['on'] : ['on', 'once']));
      expect(times).toBe(speaker.once === undefined ? 0 : 1);
    });

    test('that is no function, or of an event there is none of, is refused by name', async () => {
      const { speaker, end } = await open();
      for (const [name, listener] of [
        [event, 'x'],
        ['nothing', () => {}],
      ] as [string, Listener][]) {
        const failure = await failureOf(new Promise(() => speaker.on(name, listener)));
        expect(failure).toMatchObject({ redisErrorKind: 'config' });
      }
      await end();
    });
  });
});

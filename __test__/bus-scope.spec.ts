/** What the correlation of messages costs a process, and that it is never lost for it: each in a process of its own. */
import { describe, expect, test } from 'vitest';
import { runProcess } from './support/process.ts';

/** Handles 50 messages with a handler that only notes them, then one whose handler publishes later by way of `way`. */
const handleThenPublish = (way: string) =>
  runProcess<{ way: string }>(
    async ({ redis, emit, args, require }) => {
      const { executionAsyncId } = require('node:async_hooks') as typeof import('node:async_hooks');
      const { readFile } = require('node:fs') as typeof import('node:fs');
      const areHooksOn = async (): Promise<boolean> => {
        await null;
        const id = executionAsyncId();
        await null;
        return executionAsyncId() !== id;
      };
      const ways: Record<string, (act: () => void) => unknown> = {
        await: async (act) => {
          await null;
          act();
        },
        reaction: (act) => void Promise.resolve().then(act),
        timer: (act) => void setTimeout(act, 1),
        immediate: (act) => void setImmediate(act),
        tick: (act) => process.nextTick(act),
        microtask: (act) => queueMicrotask(act),
        callback: (act) => readFile(__filename, act),
        failing: (act) => {
          queueMicrotask(act);
          throw new Error('on purpose');
        },
      };
      const manager = new redis.RedisConnectionManager('memory://');
      const bus = new redis.MessageBus(manager);
      const until = (isDone: () => boolean): Promise<void> =>
        new Promise((resolve) => {
          const look = (): void => void (isDone() ? resolve() : setImmediate(look));
          look();
        });
      let handled = 0;
      let consumed = 0;
      bus.on('error', () => {});
      await bus.subscribe('first', () => {
        handled++;
        if (handled === 1) throw new Error('on purpose, at once');
      });
      await bus.subscribe('first', () => void consumed++, { group: 'g' });
      for (let n = 0; n < 50; n++) await bus.publish('first', n, { durable: n % 2 === 0 });
      await until(() => handled === 50 && consumed === 25);
      emit({ areHooksOn: await areHooksOn(), inScope: redis.correlation() ?? null });
      const got: string[] = [];
      await bus.subscribe('third', ({ corrId }) => void got.push(corrId));
      await bus.subscribe('second', () => ways[args.way]?.(() => void bus.publish('third', 'inherits')) as never);
      for (const corrId of ['a', 'b']) await bus.publish('second', redis.createEnvelope('kind', 1, corrId));
      await until(() => got.length === 2);
      // Two threads read for `callback`: which of them is done first is nobody's doing.
      emit({ got: got.sort(), inScope: redis.correlation() ?? null });
      await bus.close();
      await manager.disconnect();
    },
    { args: { way } },
  );

describe('a process whose handlers begin nothing asynchronous', () => {
  test.each(['await', 'reaction', 'timer', 'immediate', 'tick', 'microtask', 'callback', 'failing'])(
    'runs without async hooks, until one publishes later: by %s it inherits all the same',
    async (way) => {
      const { code, lines, stderr } = await handleThenPublish(way);
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
      expect(lines).toEqual([
        { areHooksOn: false, inScope: null },
        { got: ['a', 'b'], inScope: null },
      ]);
    },
  );
});

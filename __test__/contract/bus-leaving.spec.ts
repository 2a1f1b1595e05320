/** What becomes of durable messages whose consumer leaves before a handler has begun them: one suite on every backend. */
import { MessageBus } from 'redis-backplane';
import { afterEach, expect, it } from 'vitest';
import { describeBackends } from '../support/backends.ts';
import { until } from '../support/until.ts';

const ONCE = { group: 'g', from: 'start', retry: { maxAttempts: 1 } };
const MESSAGES = 300;

describeBackends('a consumer that leaves', (backend) => {
  const buses: MessageBus[] = [];
  afterEach(async () => {
    await Promise.all(buses.splice(0).map((bus) => bus.close()));
  });

  function bus(manager = backend.manager()): MessageBus {
    const made = new MessageBus(manager);
    buses.push(made);
    return made;
  }

  /** Which attempts at `t` a handler has seen. */
  class Attempts {
    readonly all: number[] = [];
    readonly handler = (_: unknown, { attempt }: { attempt: number }): void => void this.all.push(attempt);
  }

  async function expectEachTriedOnce(on: MessageBus, attempts: Attempts): Promise<void> {
    await on.subscribe('t', attempts.handler, { ...ONCE, concurrency: 10 });
    const letters = on.deadLetters('t', 'g');
    await until(async () => attempts.all.length + (await letters.list()).length >= MESSAGES, { what: 'all messages to be settled' });
    expect((await letters.list()).length).toBe(0);
    expect(attempts.all).toEqual(Array.from({ length: MESSAGES }, () => 1));
  }

  it('has tried nothing that no handler had begun: unsubscribed while messages are on their way', async () => {
    const one = bus();
    const attempts = new Attempts();
    for (let n = 0; n < MESSAGES; n++) {
      const unsubscribe = await one.subscribe('t', attempts.handler, { ...ONCE, concurrency: 10 });
      const published = one.publish('t', n, { durable: true, ...(n % 3 === 0 && { key: 'k' }) });
      if (n % 2 === 0) await published;
      await unsubscribe();
      await published;
    }
    await expectEachTriedOnce(one, attempts);
  });

  it('has tried nothing that no handler had begun: its bus closed behind a backlog', async () => {
    const publisher = bus();
    await Promise.all(Array.from({ length: MESSAGES }, (_, n) => publisher.publish('t', n, { durable: true })));
    const manager = backend.manager();
    const attempts = new Attempts();
    for (let n = 0; n < 20; n++) {
      const one = new MessageBus(manager);
      // Its handler begins as little as it may.
      let begun = 0;
      await one.subscribe(
        't',
        (message, context) => {
          attempts.handler(message, context);
          begun++;
          return new Promise((resolve) => setImmediate(resolve));
        },
        { ...ONCE, concurrency: 2 },
      );
      if (n % 2 === 0) await until(() => begun > 0 || attempts.all.length >= MESSAGES, { what: 'a handler to begin' });
      await one.close();
    }
    await expectEachTriedOnce(publisher, attempts);
  });

  for (const how of ['close()', 'unsubscribe()']) {
    it(`tells its handlers at once, and gives back at once what they let go: ${how}`, async () => {
      const manager = backend.manager();
      const one = new MessageBus(manager, { closeTimeoutMs: 60_000 });
      buses.push(one);
      const begun: AbortSignal[] = [];
      const unsubscribe = await one.subscribe(
        't',
        (_, { signal }) => {
          begun.push(signal);
          return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
        },
        { group: 'g', from: 'start', concurrency: 2, retry: { minDelayMs: 3_600_000, maxDelayMs: 3_600_000 } },
      );
      await one.publish('t', 1, { durable: true });
      await one.publish('t', 2, { durable: true, key: 'k' });
      await until(() => begun.length === 2, { what: 'both to be in hand' });
      const ended = how === 'close()' ? one.close() : unsubscribe();
      expect(begun.map(({ aborted, reason }) => [aborted, reason.redisErrorKind])).toEqual([
        [true, 'closed'],
        [true, 'closed'],
      ]);
      await ended;
      const got: unknown[] = [];
      await bus().subscribe('t', ({ payload }, { attempt }) => void got.push([payload, attempt]), { group: 'g', concurrency: 2 });
      await until(() => got.length === 2, { what: 'both, an hour before they would be due' });
      expect(got.sort()).toEqual([
        [1, 2],
        [2, 2],
      ]);
    });
  }

  /** How many subscriptions to a topic the server knows of. */
  async function subscribers(topic: string): Promise<number> {
    const [, count] = await backend.manager().command<[string, number]>('PUBSUB', 'NUMSUB', `${backend.namespace}:${topic}`);
    return count;
  }

  it('is known to have left once unsubscribe() has resolved: nobody is subscribed, nobody hears', async () => {
    const one = bus();
    const other = bus();
    const heard: unknown[] = [];
    const handler = ({ payload }: { payload: unknown }): void => void heard.push(payload);
    for (let round = 0; round < 20; round++) {
      const first = await one.subscribe('left', handler);
      const second = await one.subscribe('left', handler);
      const pattern = await one.psubscribe('left*', handler);
      const iterator = one.messages('left')[Symbol.asyncIterator]();
      await one.ready();
      expect(await other.publish('left', 'here')).toBeGreaterThan(0);
      await until(() => heard.length === 3, { what: 'three handlers' });
      await first();
      expect(await subscribers('left')).toBe(1);
      await Promise.all([second(), pattern(), iterator.return?.()]);
      expect(await subscribers('left')).toBe(0);
      expect(await other.publish('left', 'gone')).toBe(0);
      await second();
      expect(heard.splice(0)).toEqual(['here', 'here', 'here']);
    }
  });

  it('is known to have left once close() of its bus has resolved', async () => {
    const one = bus();
    await Promise.all(Array.from({ length: 50 }, (_, n) => one.subscribe(`left-${n}`, () => {})));
    await one.close();
    const counts = await Promise.all(Array.from({ length: 50 }, (_, n) => subscribers(`left-${n}`)));
    expect(counts).toEqual(counts.map(() => 0));
  });

  it('is subscribed if it subscribes again before its end is confirmed, and both calls resolve', async () => {
    const one = bus();
    const heard: unknown[] = [];
    for (let round = 0; round < 20; round++) {
      const unsubscribe = await one.subscribe('again', () => {});
      const [, next] = await Promise.all([unsubscribe(), one.subscribe('again', ({ payload }) => heard.push(payload))]);
      expect(await one.publish('again', round)).toBe(1);
      await until(() => heard.length === 1, { what: 'the message' });
      await next();
      expect(heard.splice(0)).toEqual([round]);
    }
  });

  it('has nothing to wait for where its manager is disconnected', async () => {
    const manager = backend.manager();
    const one = bus(manager);
    const unsubscribe = await one.subscribe('left', () => {});
    await manager.disconnect();
    await unsubscribe();
    await unsubscribe[Symbol.asyncDispose]();
  });
});

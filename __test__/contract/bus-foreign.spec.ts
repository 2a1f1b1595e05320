/** Entries that other programs append to a durable topic: one suite on every backend. */
import { MessageBus, type RedisConnectionManager } from 'redis-backplane';
import { afterEach, expect, it } from 'vitest';
import { describeBackends } from '../support/backends.ts';
import { until } from '../support/until.ts';

describeBackends('an entry of another program', (backend) => {
  const buses: MessageBus[] = [];
  afterEach(async () => {
    await Promise.all(buses.splice(0).map((bus) => bus.close()));
  });

  function bus(manager = backend.manager(), closeTimeoutMs = 50): MessageBus {
    const made = new MessageBus(manager, { closeTimeoutMs });
    buses.push(made);
    return made;
  }

  async function append(manager: RedisConnectionManager, ...fields: (string | Buffer)[]): Promise<void> {
    const place = `{${backend.namespace}:t}`;
    await manager.command('XADD', `${backend.namespace}:~stream:${place}`, '*', ...fields);
    await manager.command('PUBLISH', `${backend.namespace}:~wake:${place}`, '');
  }

  for (const fields of [
    ['data', '"foreign"', 'key', 'k'],
    ['other', 'x', 'data', '"foreign"', 'key', 'k', 'key', 'l', 'data', '1'],
  ]) {
    it(`has its key wherever that stands, and holds nobody up: ${fields.join(' ')}`, async () => {
      const manager = backend.manager();
      const seen: unknown[] = [];
      const first = bus(manager);
      first.on('error', () => {});
      await first.subscribe(
        't',
        ({ payload }, { key, attempt }) => {
          seen.push([payload, key, attempt]);
          return new Promise(() => {});
        },
        { group: 'g' },
      );
      await append(manager, ...fields);
      await until(() => seen.length === 1, { what: 'the first attempt' });
      await first.close();

      let release = (): void => {};
      const held = new Promise<void>((resolve) => {
        release = resolve;
      });
      const second = bus(manager, 60_000);
      const leave = await second.subscribe(
        't',
        ({ payload }, { key, attempt }) => {
          seen.push([payload, key, attempt]);
          return payload === 'long' ? held : undefined;
        },
        { group: 'g' },
      );
      await until(() => seen.length === 2, { what: 'the second attempt' });
      expect(seen).toEqual([1, 2].map((attempt) => ['foreign', 'k', attempt]));
      await second.publish('t', 'long', { durable: true });
      await until(() => seen.length === 3, { what: 'the consumer to be busy' });
      // It is one of the group still, and takes nothing more.
      const left = leave();

      const got: unknown[] = [];
      const third = bus();
      await third.subscribe('t', ({ payload }, { key }) => void got.push([payload, key]), { group: 'g', concurrency: 50 });
      for (let n = 0; n < 5; n++) await third.publish('t', n, { durable: true, key: 'k' });
      await until(() => got.length === 5, { what: () => `all of the key; got ${got}` });
      expect(got).toEqual([0, 1, 2, 3, 4].map((n) => [n, 'k']));
      release();
      await left;
    });
  }

  it('keeps the order of its key with ours, retries included', async () => {
    const manager = backend.manager();
    const one = bus(manager);
    one.on('error', () => {});
    const seen: unknown[] = [];
    await one.subscribe(
      't',
      ({ payload }, { attempt }) => {
        seen.push([payload, attempt]);
        if (payload === 0 && attempt < 3) throw new Error('again');
      },
      { group: 'g', concurrency: 10, retry: { minDelayMs: 10, maxDelayMs: 20 } },
    );
    await append(manager, 'data', '0', 'key', 'k');
    await one.publish('t', 1, { durable: true, key: 'k' });
    await append(manager, 'data', '2', 'key', 'k');
    await one.publish('t', 3, { durable: true, key: 'k' });
    await until(() => seen.length === 6, { what: () => `all of them; got ${seen}` });
    expect(seen).toEqual([
      [0, 1],
      [0, 2],
      [0, 3],
      [1, 1],
      [2, 1],
      [3, 1],
    ]);
  });

  it('has its key as a string, whatever its bytes', async () => {
    const manager = backend.manager();
    const keys: unknown[] = [];
    await bus(manager).subscribe('t', (_, { key }) => void keys.push(key), { group: 'g', from: 'start' });
    await append(manager, 'key', Buffer.from([0x6b, 0xff]), 'data', '1');
    await until(() => keys.length === 1, { what: 'the message' });
    expect(keys).toEqual(['k\ufffd']);
  });
});

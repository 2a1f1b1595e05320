/** The order in which messages of one topic arrive that were published without waiting: one suite on every backend. */
import { MessageBus } from 'redis-backplane';
import { expect, it } from 'vitest';
import { describeBackends } from '../support/backends.ts';
import { until } from '../support/until.ts';

describeBackends('publications of one topic', (backend) => {
  for (const known of [true, false]) {
    it(`arrive in the order of the calls, live and durable ones mixed; the server ${known ? 'knows' : 'does not know'} the script`, async () => {
      const manager = backend.manager();
      const bus = new MessageBus(manager);
      const got: unknown[] = [];
      await bus.subscribe('t', ({ payload }) => void got.push(payload));
      await new MessageBus(manager).publish('other', 0, { durable: true });
      if (!known) await manager.command('SCRIPT', 'FLUSH');
      const count = 2_000;
      // In moments of their own too, while what was published before is on its way.
      const sent: Promise<number>[] = [];
      for (let n = 0; n < count; n++) {
        sent.push(bus.publish('t', n, n % 3 === 0 ? { durable: true } : {}));
        if (n % 100 === 0) await Promise.resolve();
      }
      await Promise.all(sent);
      await until(() => got.length === count, { what: () => `all messages; got ${got.length}` });
      expect(got).toEqual(Array.from({ length: count }, (_, n) => n));
      await bus.close();
    });
  }
});

/** Subscribing and unsubscribing thousands of topics at once: what it costs each must not grow with how many there are. */
import { MessageBus, RedisConnectionManager } from 'redis-backplane';
import { expect, it } from 'vitest';
import { BACKENDS } from './support/backends.ts';
import { RedisServer } from './support/redis-server.ts';

for (const kind of BACKENDS) {
  it(`holds up neither the event loop nor the I/O thread longer, for each topic, the more end at once, on ${kind}`, async () => {
    await using server = kind === 'redis-server' ? await RedisServer.start() : undefined;
    const url = server?.url ?? 'memory://many-topics';
    const manager = new RedisConnectionManager({ url, namespace: 'app' });
    const other = new RedisConnectionManager(url);
    await other.connect();
    const bus = new MessageBus(manager);
    /** The longest hold-up in ms, for each topic, of the event loop and of a command of another connection, from the calls to the confirmation. */
    const endAtOnce = async (count: number): Promise<{ began: number; ended: number }> => {
      const start = performance.now();
      const ends = await Promise.all(Array.from({ length: count }, (_, n) => bus.subscribe(`t${n}`, () => {})));
      await bus.ready();
      const began = performance.now() - start;
      const ending = performance.now();
      await Promise.all(ends.map((end) => end()));
      // Behind what the I/O thread does for all of them.
      await bus.subscribe('last', () => {}).then((end) => end());
      await other.ping();
      return { began: began / count, ended: (performance.now() - ending) / count };
    };
    await endAtOnce(500);
    const few = await endAtOnce(500);
    const many = await endAtOnce(8_000);
    const shown = JSON.stringify({ few, many });
    // Sixteen times as many; where each looks at all, each costs sixteen times as much.
    expect(many.ended, shown).toBeLessThan(few.ended * 4);
    expect(many.began, shown).toBeLessThan(few.began * 4);
    await bus.close();
    await manager.disconnect();
    await other.disconnect();
  }, 120_000);
}

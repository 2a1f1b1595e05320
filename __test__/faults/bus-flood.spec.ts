/**
 * A subscriber that is slower than its publishers: memory stays bounded and every message is accounted for.
 *
 * `FLOOD_MESSAGES` is how many are published (default 100 000; the figure to be shown is 1 000 000).
 */
import { MessageBus } from 'redis-backplane';
import { describe, expect, it } from 'vitest';
import { startProcess } from '../support/process.ts';
import { useRig } from '../support/rig.ts';
import { until } from '../support/until.ts';

const rig = useRig();
const MESSAGES = Number(process.env.FLOOD_MESSAGES ?? 100_000);
const BYTES = 250;
/** What the process may grow by: a small part of what is published. */
const GROWTH_MB = 60;
const TIMEOUT_MS = 60_000 + MESSAGES / 5;

interface Report {
  delivered: number;
  dropped: number;
  slow: number;
  grownMb: number;
}

describe('a flood of live messages', () => {
  const subscriber = async ({
    redis,
    args,
    emit,
    require,
  }: {
    redis: typeof import('redis-backplane');
    args: { url: string; messages: number; kind: string };
    emit(value: unknown): void;
    require: NodeJS.Require;
  }) => {
    const manager = new redis.RedisConnectionManager(args.url);
    const bus = new redis.MessageBus(manager);
    let handled = 0;
    let slow = 0;
    let last = -1;
    let inOrder = true;
    bus.on('slow', ({ dropped }) => {
      slow += dropped;
    });
    const take = (n: number): void => {
      handled++;
      inOrder &&= n > last;
      last = n;
    };
    const blocked = args.kind === 'blocked loop';
    const end = await bus.subscribe<{ n: number }>(
      't',
      blocked
        ? ({ payload }) => take(payload.n)
        : async ({ payload }) => {
            take(payload.n);
            await new Promise((resolve) => setTimeout(resolve, 5));
          },
      { maxPending: 1_000, ...(!blocked && { concurrency: 1 }) },
    );
    const settle = () => new Promise((resolve) => setTimeout(resolve, 20));
    // The base line is taken after a first thousand: what is loaded and allocated once is no growth.
    emit('subscribed');
    while (handled === 0) await settle();
    (globalThis as { gc?: () => void }).gc?.();
    const before = process.memoryUsage.rss();
    let most = before;
    emit('warm');
    if (blocked) {
      // The event loop stands still while the flood comes; Rust goes on.
      const { execFileSync } = require('node:child_process') as typeof import('node:child_process');
      execFileSync('redis-cli', ['-u', args.url, 'BLPOP', 'flooded', '0']);
    }
    for (;;) {
      await settle();
      most = Math.max(most, process.memoryUsage.rss());
      const metrics = manager.metrics();
      if (metrics.redis_bus_delivered_total + metrics.redis_bus_dropped_total === args.messages && last === args.messages - 1) break;
      if (!blocked && metrics.redis_bus_dropped_total + metrics.redis_bus_delivered_total + 1_000 >= args.messages) {
        // What waits is known: it need not be waited for.
        emit('enough');
        await settle();
        break;
      }
    }
    const { redis_bus_delivered_total: delivered, redis_bus_dropped_total: dropped } = manager.metrics();
    emit({ delivered, dropped, slow, grownMb: (most - before) / 2 ** 20, inOrder, handled });
    await end();
    await manager.disconnect();
  };

  it.each(['slow handler', 'blocked loop'])(
    'with a %s: memory stays bounded, drops are counted and told',
    { timeout: TIMEOUT_MS },
    async (kind) => {
      const server = await rig.server();
      const child = startProcess(subscriber, {
        args: { url: server.url, messages: MESSAGES, kind },
        nodeOptions: ['--expose-gc'],
        timeoutMs: TIMEOUT_MS,
      });
      await child.line((line) => line === 'subscribed');
      const manager = rig.manager(server.url);
      const bus = new MessageBus(manager);
      const filler = 'x'.repeat(BYTES - 180);
      const publish = async (from: number, to: number) => {
        for (let n = from; n < to; n += 1_000) {
          const until = Math.min(n + 1_000, to);
          const counts = await Promise.all(Array.from({ length: until - n }, (_, i) => bus.publish('t', { n: n + i, filler })));
          expect(counts.every((count) => count === 1)).toBe(true);
        }
      };
      await publish(0, 1_000);
      await child.line((line) => line === 'warm');
      await publish(1_000, MESSAGES);
      // What the subscriber's I/O thread has not taken yet would be handled one by one when the loop goes on.
      await until(() => server.drained(), { timeoutMs: TIMEOUT_MS, what: 'the subscriber to have taken everything' });
      await manager.command('RPUSH', 'flooded', '1');
      const report = await child.line<Report & { inOrder: boolean; handled: number }>((line) => typeof line === 'object', TIMEOUT_MS);
      expect((await child.ended).code).toBe(0);
      expect(report.inOrder).toBe(true);
      expect(report.grownMb, JSON.stringify(report)).toBeLessThan(GROWTH_MB);
      expect(report.slow).toBe(report.dropped);
      expect(report.dropped, JSON.stringify(report)).toBeGreaterThan(MESSAGES * 0.9 - 5_000);
      const accounted = report.delivered + report.dropped;
      expect(accounted, JSON.stringify(report)).toBeLessThanOrEqual(MESSAGES);
      expect(accounted, JSON.stringify(report)).toBeGreaterThanOrEqual(MESSAGES - (kind === 'slow handler' ? 1_000 : 0));
    },
  );
});

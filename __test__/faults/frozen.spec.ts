/** A server that stands still (SIGSTOP), and more work than it can take. */
import { describe, expect, it } from 'vitest';
import { failureOf } from '../support/failure.ts';
import { reaches, recordEvents, settledAll, useRig } from '../support/rig.ts';
import { stretched } from '../support/starvation.ts';
import { until } from '../support/until.ts';

const rig = useRig();

describe('a frozen server', () => {
  it('makes commands reject at commandTimeoutMs as maybe executed, and after the thaw late replies go to nobody', async () => {
    const server = await rig.server();
    const manager = rig.manager({ url: server.url, commandTimeoutMs: 300, keepAliveMs: 60_000 });
    await manager.connect();
    await server.freeze();
    const begin = performance.now();
    const outcomes = await settledAll(Array.from({ length: 200 }, (_, i) => manager.command('ECHO', `early-${i}`)));
    const writes = await settledAll(Array.from({ length: 20 }, () => manager.command('INCR', 'n')));
    expect(performance.now() - begin).toBeLessThan(stretched(10_000));
    for (const { error } of [...outcomes, ...writes]) {
      expect([error?.redisErrorKind, error?.delivery, error?.retryable]).toEqual(['timeout', 'maybe-executed', true]);
      expect(error?.message).toContain('commandTimeoutMs, 300 ms');
    }
    expect(manager.metrics().redis_commands_timed_out_total).toBe(220);
    const late = settledAll(Array.from({ length: 200 }, (_, i) => manager.command('ECHO', `late-${i}`)));
    server.thaw();
    for (const [i, { value, error }] of (await late).entries()) {
      if (error) expect(error.redisErrorKind).toBe('timeout');
      else expect(value).toBe(`late-${i}`);
    }
    expect(await manager.command('ECHO', 'after')).toBe('after');
    // Each INCR was written once, so each ran once, though its caller had an error.
    expect(await manager.command('GET', 'n')).toBe('20');
    expect(manager.state).toBe('ready');
    expect(await server.clients()).toHaveLength(1);
  });

  it('for longer than the keep-alive is given up, and found again after the thaw', async () => {
    const server = await rig.server();
    const manager = rig.manager({
      url: server.url,
      commandTimeoutMs: 30_000,
      keepAliveMs: 200,
      connectTimeoutMs: 300,
      reconnect: { minDelayMs: 1, maxDelayMs: 20 },
    });
    const events = recordEvents(manager);
    await manager.connect();
    await server.freeze();
    const written = failureOf(manager.command('INCR', 'n'));
    const read = manager.command('GET', 'other');
    await until(() => events.errors.some((error) => error.redisErrorKind === 'timeout'), {
      timeoutMs: 15_000,
      what: 'an attempt to time out',
    });
    expect((await written).delivery).toBe('maybe-executed');
    server.thaw();
    await reaches(manager, 'ready');
    expect(await read).toBeNull();
    expect(manager.state).toBe('ready');
  });

  it('lets health() and ping() settle, and health() says what is wrong', async () => {
    const server = await rig.server();
    const manager = rig.manager({ url: server.url, commandTimeoutMs: 300 });
    await manager.connect();
    expect(await manager.health()).toMatchObject({
      ok: true,
      state: 'ready',
      server: { kind: 'redis', role: 'master' },
    });
    await server.freeze();
    const [health, ping] = await settledAll<unknown>([manager.health(), manager.ping()]);
    expect(health?.value).toMatchObject({ ok: false, state: 'ready', latencyMs: null, server: { kind: 'redis' } });
    expect(ping?.error?.redisErrorKind).toBe('timeout');
    server.thaw();
    await until(async () => (await manager.health()).ok, { what: 'health' });
  });
});

describe('more work than the server takes', () => {
  it('is refused past maxPendingCommands with kind overloaded, at once, and accepted again afterwards', async () => {
    const server = await rig.server();
    const manager = rig.manager({ url: server.url, maxPendingCommands: 100, commandTimeoutMs: 60_000 });
    await manager.connect();
    await server.freeze();
    const accepted = settledAll(Array.from({ length: 100 }, () => manager.command<number>('INCR', 'n')));
    const refused = await settledAll(
      Array.from({ length: 50 }, () => manager.command('INCR', 'n')),
      5_000,
    );
    for (const { error } of refused) {
      expect([error?.redisErrorKind, error?.delivery, error?.retryable]).toEqual(['overloaded', 'not-sent', true]);
      expect(error?.message).toContain('maxPendingCommands, 100');
    }
    expect(manager.metrics()).toMatchObject({ redis_commands_rejected_total: 50, redis_commands_pending: 100 });
    expect((await manager.health()).ok).toBe(false);
    server.thaw();
    expect((await accepted).map((outcome) => outcome.value)).toEqual(Array.from({ length: 100 }, (_, i) => i + 1));
    expect(await manager.command('INCR', 'n')).toBe(101);
    expect(manager.metrics().redis_commands_pending).toBe(0);
  });

  it('is refused past maxPendingBytes, so that memory stays bounded, and accepted again afterwards', async () => {
    const server = await rig.server();
    const manager = rig.manager({ url: server.url, maxPendingBytes: 8 * 1024 * 1024, commandTimeoutMs: 60_000 });
    await manager.connect();
    await server.freeze();
    const value = 'x'.repeat(64 * 1024);
    const before = process.memoryUsage().rss;
    const accepted: Promise<unknown>[] = [];
    let refused = 0;
    for (let i = 0; i < 2_000; i += 1) {
      const call = manager.command('SET', `k${i % 50}`, value);
      accepted.push(
        call.catch((error) => {
          if (error.redisErrorKind !== 'overloaded') throw error;
          refused += 1;
        }),
      );
      // One turn now and then, so that what is refused is refused and not collected.
      if (i % 20 === 19) await new Promise((resolve) => setImmediate(resolve));
    }
    await until(() => refused > 1_000, { what: 'most to be refused' });
    expect(manager.metrics().redis_pending_bytes).toBeLessThan(8 * 1024 * 1024 + 2 * value.length);
    expect(process.memoryUsage().rss - before).toBeLessThan(100 * 1024 * 1024);
    server.thaw();
    for (const { error } of await settledAll(accepted, 60_000)) expect(error).toBeUndefined();
    expect(refused).toBeGreaterThan(1_800);
    expect(await manager.command('STRLEN', 'k0')).toBe(value.length);
    expect(manager.metrics()).toMatchObject({ redis_commands_pending: 0, redis_pending_bytes: 0 });
  });

  it('that keeps coming while the server stays frozen leaves nothing behind once its deadlines have passed', async () => {
    const server = await rig.server();
    const manager = rig.manager({ url: server.url, commandTimeoutMs: 100, keepAliveMs: 60_000 });
    await manager.connect();
    await server.freeze();
    const value = 'x'.repeat(256 * 1024);
    const kinds = new Set<string | undefined>();
    const deliveries = new Set<string | undefined>();
    const before = process.memoryUsage().rss;
    for (let round = 0; round < 15; round += 1) {
      const outcomes = await settledAll(Array.from({ length: 40 }, (_, i) => manager.command('SET', `k${i}`, value)));
      for (const { error } of outcomes) {
        kinds.add(error?.redisErrorKind);
        deliveries.add(error?.delivery);
      }
    }
    expect([...kinds]).toEqual(['timeout']);
    // What the kernel took may arrive one day; what it did not take is dropped and said to be.
    expect([...deliveries].sort()).toEqual(['maybe-executed', 'not-sent']);
    expect(manager.metrics()).toMatchObject({ redis_commands_pending: 0, redis_pending_bytes: 0 });
    expect(process.memoryUsage().rss - before).toBeLessThan(120 * 1024 * 1024);
    server.thaw();
    await until(async () => (await manager.health()).ok, { timeoutMs: 15_000, what: 'the server to be well again' });
    expect(await manager.command('ECHO', 'mine')).toBe('mine');
  });
});

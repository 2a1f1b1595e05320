/** How lost connections come back: spread out, without end, or as often as was said. */
import { describe, expect, it } from 'vitest';
import { failureOf } from '../support/failure.ts';
import { reaches, recordEvents, settledAll, useRig } from '../support/rig.ts';
import { until } from '../support/until.ts';

const rig = useRig();

describe('a reconnect storm', () => {
  it('is spread by exponential backoff with full jitter', async () => {
    const server = await rig.server();
    const min = 20;
    const max = 1_000;
    const managers = Array.from({ length: 100 }, () => rig.manager({ url: server.url, reconnect: { minDelayMs: min, maxDelayMs: max } }));
    const events = managers.map(recordEvents);
    await Promise.all(managers.map((manager) => manager.connect()));
    await server.kill9();
    await until(() => events.every(({ reconnecting }) => reconnecting.length >= 7), {
      timeoutMs: 40_000,
      what: 'seven attempts of each',
    });
    for (const { reconnecting } of events) {
      reconnecting.forEach(({ attempt, delayMs }, i) => {
        expect(attempt).toBe(i + 1);
        expect(delayMs).toBeGreaterThanOrEqual(min);
        expect(delayMs).toBeLessThanOrEqual(Math.min(max, min * 2 ** attempt));
      });
    }
    // Of full jitter, each tenth of the span is used; a backoff without it would use one.
    const spans = events.map(({ reconnecting }) => ((reconnecting[6]?.delayMs ?? 0) - min) / (max - min));
    for (let tenth = 0; tenth < 5; tenth += 1) {
      expect(spans.filter((part) => part >= tenth / 5 && part < (tenth + 1) / 5).length).toBeGreaterThan(3);
    }
    await server.restart();
    await Promise.all(managers.map((manager) => reaches(manager, 'ready', 30_000)));
    expect(await server.clients()).toHaveLength(100);
    const attempts = managers.reduce((sum, manager) => sum + manager.metrics().redis_reconnection_attempts_total, 0);
    expect(attempts).toBeGreaterThanOrEqual(700);
  });
});

describe('reconnecting', () => {
  it('has no end by itself', async () => {
    const server = await rig.server();
    const manager = rig.manager({ url: server.url, reconnect: { minDelayMs: 1, maxDelayMs: 2 } });
    const events = recordEvents(manager);
    await manager.connect();
    await server.kill9();
    await until(() => events.reconnecting.length >= 300, { timeoutMs: 15_000, what: '300 attempts' });
    expect(manager.state).toBe('reconnecting');
    expect(events.counts.end).toBe(0);
    await server.restart();
    await reaches(manager, 'ready');
  });

  it('ends in failed after maxAttempts, rejecting what waits as not sent, and a later use begins anew', async () => {
    const server = await rig.server();
    const manager = rig.manager({ url: server.url, reconnect: { minDelayMs: 20, maxDelayMs: 40, maxAttempts: 3 } });
    const events = recordEvents(manager);
    await manager.connect();
    await server.kill9();
    await reaches(manager, 'reconnecting');
    const waiting = settledAll([manager.command('INCR', 'n'), manager.command('GET', 'n')]);
    await reaches(manager, 'failed');
    for (const { error } of await waiting) expect([error?.redisErrorKind, error?.delivery]).toEqual(['connection', 'not-sent']);
    await until(() => events.counts.end === 1, { what: "the event 'end'" });
    expect(events.reconnecting.map((info) => info.attempt)).toEqual([1, 2, 3]);
    await server.restart();
    expect(await manager.command('INCR', 'n')).toBe(1);
    expect(manager.state).toBe('ready');
  });

  it('counts maxAttempts anew after each success', async () => {
    const server = await rig.server();
    const proxy = await rig.proxy(server);
    const manager = rig.manager({
      url: proxy.url,
      reconnect: { minDelayMs: 100, maxDelayMs: 200, maxAttempts: 3 },
    });
    const events = recordEvents(manager);
    await manager.connect();
    for (let round = 1; round <= 6; round += 1) {
      proxy.cut();
      await until(() => events.counts.ready === round + 1, {
        timeoutMs: 15_000,
        what: `the connection to be back, round ${round}`,
      });
    }
    // One loss and one failed attempt more; two further attempts are left.
    manager.on('error', () => {
      if (events.errors.length === 8) void proxy.accept();
    });
    await proxy.refuse();
    proxy.cut();
    await until(() => events.counts.ready === 8, { timeoutMs: 15_000, what: () => `the connection to be back; it is ${manager.state}` });
    expect(events.errors).toHaveLength(8);
  });

  it('stops at once where trying again cannot help: the password was changed', async () => {
    const server = await rig.server({ password: 'before' });
    const manager = rig.manager({ url: server.url, reconnect: { minDelayMs: 1, maxDelayMs: 20 } });
    const events = recordEvents(manager);
    await manager.connect();
    await server.cli('CONFIG', 'SET', 'requirepass', 'after');
    await server.cli('CLIENT', 'KILL', 'TYPE', 'normal');
    await reaches(manager, 'failed');
    await until(() => events.errors.some((error) => error.redisErrorKind === 'auth'), { what: 'the error' });
    expect((await failureOf(manager.command('GET', 'k'))).redisErrorKind).toBe('auth');
    await server.cli('CONFIG', 'SET', 'requirepass', 'before');
    expect(await manager.command('GET', 'k')).toBeNull();
  });
});

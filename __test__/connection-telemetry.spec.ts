/** What a manager tells: diagnostics channels, metrics, health. */
import { channel, tracingChannel } from 'node:diagnostics_channel';
import { inspect } from 'node:util';
import { afterEach, describe, expect, it } from 'vitest';
import { failureOf } from './support/failure.ts';
import { reaches, recordEvents, settledAll, useRig } from './support/rig.ts';
import { until } from './support/until.ts';

const rig = useRig();
const FAST = { minDelayMs: 1, maxDelayMs: 20 };
const SECRET = 'hunter2-s3cr3t';

interface Message {
  name: string;
  message: Record<string, unknown>;
}

const stops: (() => void)[] = [];
afterEach(() => {
  for (const stop of stops.splice(0)) stop();
});

/** Records every message of the package's channels until the test ends. */
function listen(): Message[] {
  const messages: Message[] = [];
  for (const name of ['connection:ready', 'connection:closed', 'error']) {
    const note = (message: unknown) => messages.push({ name, message: message as Record<string, unknown> });
    const source = channel(`redis-backplane:${name}`);
    source.subscribe(note);
    stops.push(() => source.unsubscribe(note));
  }
  for (const name of ['command', 'connect']) {
    const note = (step: string) => (message: unknown) => {
      messages.push({ name: `${name}:${step}`, message: { ...(message as object) } });
    };
    const handlers = {
      start: note('start'),
      end: note('end'),
      asyncStart: note('asyncStart'),
      asyncEnd: note('asyncEnd'),
      error: note('error'),
    };
    const source = tracingChannel(`redis-backplane:${name}`);
    source.subscribe(handlers);
    stops.push(() => source.unsubscribe(handlers));
  }
  return messages;
}

describe('diagnostics channels', () => {
  it('tell of connects, commands, losses and the end, and never a key, a value or a secret', async () => {
    const server = await rig.server({ password: SECRET });
    const messages = listen();
    const named = (name: string) => messages.filter((message) => message.name === name).map(({ message }) => message);
    const manager = rig.manager({ url: server.url, reconnect: FAST, clientName: 'watched' });
    await manager.connect();
    await manager.command('SET', 'the-key', 'the-value');
    await failureOf(manager.command('INCR', 'the-key'));
    await server.cli('CLIENT', 'KILL', 'TYPE', 'normal');
    await until(() => named('connection:ready').length === 2, { what: 'the connection to be back' });
    await manager.disconnect();
    await until(() => named('connection:closed').length === 1, { what: 'the end' });

    const endpoint = {
      serverAddress: server.host,
      serverPort: server.port,
      clientId: expect.stringMatching(/^watched#/),
    };
    expect(named('connect:start')).toMatchObject([{ ...endpoint, database: 0 }]);
    expect(named('connect:asyncEnd')).toHaveLength(1);
    expect(named('connection:ready')[0]).toMatchObject({ ...endpoint, createTimeMs: expect.any(Number) });
    expect(named('command:start').filter(({ command }) => command === 'SET' || command === 'INCR')).toMatchObject([
      { ...endpoint, command: 'SET', args: ['?', '?'] },
      { ...endpoint, command: 'INCR', args: ['?'] },
    ]);
    expect(named('command:error')).toMatchObject([{ command: 'INCR', error: { redisErrorKind: 'server' } }]);
    expect(named('error')[0]).toMatchObject({
      origin: 'client',
      error: { redisErrorKind: 'connection' },
      retryCount: 0,
    });
    expect(named('connection:closed')).toMatchObject([{ reason: 'disconnect', wasConnected: true }]);
    const all = inspect(messages, { depth: 9 });
    for (const hidden of ['the-key', 'the-value', SECRET]) expect(all).not.toContain(hidden);
  });

  it('change no outcome: a traced command resolves and rejects as an untraced one', async () => {
    const server = await rig.server();
    const manager = rig.manager(server.url);
    const run = () => settledAll<unknown>([manager.command('ECHO', 'x'), manager.command('NOSUCH'), manager.transaction([['PING']])]);
    const shape = (outcomes: Awaited<ReturnType<typeof run>>) => outcomes.map(({ value, error }) => error?.message ?? value);
    const plain = shape(await run());
    listen();
    expect(shape(await run())).toEqual(plain);
  });
});

describe('metrics()', () => {
  it('move as they should through success, error, timeout, refusal, loss and return', async () => {
    const server = await rig.server();
    const manager = rig.manager({
      url: server.url,
      reconnect: FAST,
      commandTimeoutMs: 300,
      maxPendingCommands: 5,
      keepAliveMs: 60_000,
    });
    const zero = manager.metrics();
    expect(zero).toMatchObject({ redis_connection_pool_size: 0, redis_commands_pending: 0, redis_sent_bytes_total: 0 });
    await manager.connect();
    await manager.command('SET', 'k', 'v');
    await failureOf(manager.command('INCR', 'k'));
    let now = manager.metrics();
    expect(now).toMatchObject({
      redis_connection_pool_size: 1,
      redis_commands_pending: 0,
      redis_commands_failed_total: 1,
      redis_connection_errors_total: 0,
      redis_reconnection_attempts_total: 0,
      redis_concurrent_initialization_attempts: 1,
    });
    expect(now.redis_initialization_duration_ms.count).toBe(1);
    expect(now.redis_operation_duration_ms.SET?.count).toBe(1);
    expect(now.redis_sent_bytes_total).toBeGreaterThan(0);
    expect(now.redis_received_bytes_total).toBeGreaterThan(0);

    await server.freeze();
    await settledAll(Array.from({ length: 8 }, () => manager.command('GET', 'k')));
    now = manager.metrics();
    expect(now).toMatchObject({
      redis_commands_timed_out_total: 5,
      redis_commands_rejected_total: 3,
      redis_commands_pending: 0,
      redis_pending_bytes: 0,
    });
    server.thaw();
    await until(async () => (await manager.health()).ok, { what: 'the server to answer again' });

    await server.kill9();
    await until(() => manager.metrics().redis_reconnection_attempts_total >= 3, { what: 'attempts to be counted' });
    expect(manager.metrics().redis_connection_pool_size).toBe(0);
    expect(manager.metrics().redis_connection_errors_total).toBeGreaterThanOrEqual(3);
    await server.restart();
    await reaches(manager, 'ready');
    expect(manager.metrics().redis_connection_pool_size).toBe(1);
    const settledAttempts = manager.metrics().redis_reconnection_attempts_total;
    await manager.ping();
    expect(manager.metrics().redis_reconnection_attempts_total).toBe(settledAttempts);
  });

  it('are the same numbers in prometheus(), each with its type', async () => {
    const server = await rig.server();
    const manager = rig.manager(server.url);
    await manager.command('SET', 'secret-key', 'secret-value');
    const page = manager.prometheus();
    const metrics = manager.metrics();
    for (const [name, value] of Object.entries(metrics)) {
      expect(page).toMatch(new RegExp(`^# TYPE ${name} (counter|gauge|histogram)$`, 'm'));
      if (typeof value === 'number') expect(page).toContain(`\n${name} ${value}\n`);
    }
    expect(page).toContain('redis_operation_duration_ms_count{operation="SET"} 1\n');
    expect(page).not.toContain('secret');
  });
});

describe('health()', () => {
  it('never rejects, in any state', async () => {
    const server = await rig.server();
    const manager = rig.manager({ url: server.url, commandTimeoutMs: 300, reconnect: FAST });
    const seen: Record<string, boolean> = {};
    const look = async (state: string) => {
      expect(manager.state).toBe(state);
      seen[state] = (await manager.health()).ok;
    };
    await look('idle');
    await look('ready');
    expect(await manager.health()).toEqual({
      ok: true,
      writable: true,
      state: 'ready',
      latencyMs: expect.any(Number),
      server: { kind: 'redis', version: expect.stringMatching(/^\d+\.\d+/), role: 'master' },
    });
    await server.kill9();
    await reaches(manager, 'reconnecting');
    await look('reconnecting');
    await server.restart();
    await reaches(manager, 'ready');
    await server.freeze();
    const asking = manager.command('GET', 'k').catch(() => {});
    const closing = manager.disconnect();
    await reaches(manager, 'closing');
    await look('closing');
    await Promise.all([asking, closing]);
    await look('closed');
    server.thaw();
    await server.stop();
    await failureOf(manager.connect());
    await look('failed');
    expect(seen).toEqual({
      idle: true,
      ready: true,
      reconnecting: false,
      closing: false,
      closed: false,
      failed: false,
    });
  });
});

describe('what is shown of a manager', () => {
  it('has no secret in it, nor has any event or error, through a whole life', async () => {
    const server = await rig.server({ password: SECRET });
    const manager = rig.manager({ url: server.url, reconnect: FAST });
    const events = recordEvents(manager);
    await manager.connect();
    await server.cli('CONFIG', 'SET', 'requirepass', 'another');
    await server.cli('CLIENT', 'KILL', 'TYPE', 'normal');
    await reaches(manager, 'failed');
    await until(() => events.errors.length === 2, { what: 'the errors' });
    const shown = [
      inspect(manager, { depth: 9, showHidden: true }),
      String(manager),
      JSON.stringify(manager),
      inspect(events, { depth: 9, showHidden: true }),
      JSON.stringify(manager.metrics()),
      manager.prometheus(),
      inspect(await manager.health()),
    ];
    for (const text of shown) expect(text).not.toContain(SECRET);
  });
});

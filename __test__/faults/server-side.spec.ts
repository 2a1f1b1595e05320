/** What a server, or who administers it, does to its clients. */
import { describe, expect, it } from 'vitest';
import { failureOf } from '../support/failure.ts';
import { reaches, recordEvents, settledAll, useRig } from '../support/rig.ts';
import { until } from '../support/until.ts';

const rig = useRig();
const FAST = { minDelayMs: 1, maxDelayMs: 20 };

describe('CLIENT KILL', () => {
  it('in mid-traffic costs no read and runs no write twice', async () => {
    const server = await rig.server();
    const manager = rig.manager({ url: server.url, reconnect: FAST, commandTimeoutMs: 10_000 });
    const events = recordEvents(manager);
    await manager.connect();
    let unknown = 0;
    let resolved = 0;
    for (let round = 1; round <= 10; round += 1) {
      const calls = Array.from({ length: 200 }, (_, i) =>
        i % 2 ? manager.command('INCR', 'n') : manager.command('ECHO', `${round}:${i}`),
      );
      const outcomes = settledAll<unknown>(calls);
      await server.cli('CLIENT', 'KILL', 'TYPE', 'normal');
      (await outcomes).forEach(({ value, error }, i) => {
        if (i % 2 === 0) expect(error ?? value).toBe(`${round}:${i}`);
        else if (!error) resolved += 1;
        else {
          expect(error.delivery).toBe('maybe-executed');
          unknown += 1;
        }
      });
      await until(() => events.counts.ready >= round + 1, { what: 'the connection to be back' });
    }
    const count = Number(await server.cli('GET', 'n'));
    expect(resolved + unknown).toBe(1_000);
    expect(count).toBeGreaterThanOrEqual(resolved);
    expect(count).toBeLessThanOrEqual(resolved + unknown);
    expect(await server.clients()).toHaveLength(1);
  });
});

describe('CLIENT PAUSE', () => {
  it('holds up commands, which resolve afterwards or reject at their deadline', async () => {
    const server = await rig.server();
    const manager = rig.manager({ url: server.url, commandTimeoutMs: 10_000 });
    const hasty = rig.manager({ url: server.url, commandTimeoutMs: 100 });
    await Promise.all([manager.connect(), hasty.connect()]);
    await server.cli('CLIENT', 'PAUSE', 60_000, 'WRITE');
    const waiting = manager.command('INCR', 'n');
    const error = await failureOf(hasty.command('INCR', 'm'));
    expect([error.redisErrorKind, error.delivery]).toEqual(['timeout', 'maybe-executed']);
    await server.cli('CLIENT', 'UNPAUSE');
    expect(await waiting).toBe(1);
    // It was written before its deadline passed, and so it runs, once, when the server goes on.
    expect(await hasty.command('INCR', 'm')).toBe(2);
  });
});

describe('SCRIPT FLUSH', () => {
  it('in mid-traffic is not noticed by callers of script()', async () => {
    const server = await rig.server();
    const manager = rig.manager({ url: server.url, commandTimeoutMs: 10_000 });
    const lua = "return {redis.call('INCR', KEYS[1]), ARGV[1]}";
    let calls = 0;
    for (let round = 0; round < 10; round += 1) {
      const running = settledAll(Array.from({ length: 100 }, (_, i) => manager.script<[number, string]>(lua, ['n'], [`${round}:${i}`])));
      await server.cli('SCRIPT', 'FLUSH');
      for (const [i, { value, error }] of (await running).entries()) {
        calls += 1;
        expect(error).toBeUndefined();
        expect(value?.[1]).toBe(`${round}:${i}`);
      }
    }
    expect(await manager.command('GET', 'n')).toBe(String(calls));
    expect(manager.metrics().redis_commands_resent_total).toBeGreaterThan(0);
  });

  it('keeps the calls of a script in order while it is loaded again', async () => {
    const server = await rig.server();
    const proxy = await rig.proxy(server, { up: { delayMs: 10 }, down: { delayMs: 10 } });
    const manager = rig.manager({ url: proxy.url });
    await manager.connect();
    const calls: Promise<unknown>[] = [];
    // Before, while and after the first answer says that the script is not known.
    for (let n = 0; n < 100; n += 1) {
      calls.push(manager.script("return redis.call('RPUSH', KEYS[1], ARGV[1])", ['order'], [n]));
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    expect(await Promise.all(calls)).toEqual(Array.from(calls, (_, n) => n + 1));
    expect(await manager.command('LRANGE', 'order', 0, -1)).toEqual(Array.from(calls, (_, n) => `${n}`));
  });

  it('and a new server without scripts are survived', async () => {
    const server = await rig.server();
    const manager = rig.manager({ url: server.url, reconnect: FAST, commandTimeoutMs: 10_000 });
    expect(await manager.script('return ARGV[1]', [], ['before'])).toBe('before');
    await server.kill9();
    await server.restart();
    expect(await manager.script('return ARGV[1]', [], ['after'])).toBe('after');
  });
});

describe('a server that becomes a replica', () => {
  it('has its connection renewed, and a write rejects with READONLY when the new one says so too', async () => {
    const server = await rig.server();
    const manager = rig.manager({ url: server.url, reconnect: FAST });
    const events = recordEvents(manager);
    await manager.command('SET', 'k', 'v');
    await server.cli('REPLICAOF', '127.0.0.1', 1);
    const error = await failureOf(manager.command('SET', 'k', 'w'));
    expect([error.redisErrorKind, error.serverCode, error.delivery, error.retryable]).toEqual(['server', 'READONLY', 'rejected', true]);
    await until(() => events.counts.ready === 2, { what: 'the connection to be renewed' });
    expect(await manager.command('GET', 'k')).toBe('v');
    await server.cli('REPLICAOF', 'NO', 'ONE');
    expect(await manager.command('SET', 'k', 'w')).toBe('OK');
  });

  it('and a master again before the connection is renewed costs the caller nothing', async () => {
    const server = await rig.server();
    const manager = rig.manager({
      url: server.url,
      reconnect: { minDelayMs: 100, maxDelayMs: 200 },
      commandTimeoutMs: 10_000,
    });
    await manager.command('SET', 'k', 'v');
    await server.cli('REPLICAOF', '127.0.0.1', 1);
    const writing = manager.command('SET', 'k', 'w');
    await reaches(manager, 'reconnecting');
    await server.cli('REPLICAOF', 'NO', 'ONE');
    expect(await writing).toBe('OK');
  });

  it('has its connection renewed for a transaction and a script too', async () => {
    const server = await rig.server();
    const manager = rig.manager({ url: server.url, reconnect: FAST });
    const events = recordEvents(manager);
    await manager.command('SET', 'k', 'v');
    await server.cli('REPLICAOF', '127.0.0.1', 1);
    const transaction = await failureOf(
      manager.transaction([
        ['SET', 'k', 'w'],
        ['SET', 'l', 'w'],
      ]),
    );
    expect([transaction.redisErrorKind, transaction.serverCode, transaction.delivery]).toEqual(['server', 'READONLY', 'rejected']);
    await until(() => events.counts.ready === 2, { what: 'the connection to be renewed' });
    const script = await failureOf(manager.script("return redis.call('SET', KEYS[1], 'w')", ['k']));
    expect([script.redisErrorKind, script.serverCode]).toEqual(['server', 'READONLY']);
    expect(await manager.command('GET', 'k')).toBe('v');
  });
});

describe('a server that is loading its data', () => {
  it('is waited for by a connected manager and by one that connects: commands resolve when it has loaded', async () => {
    // Looks at its clients after every kilobyte that it loads.
    const server = await rig.server({ config: { 'loading-process-events-interval-bytes': 1024 } });
    await server.cli('EVAL', "for i = 1, 2000 do redis.call('SET', 'k' .. i, 'v') end return 1", 0);
    const manager = rig.manager({ url: server.url, commandTimeoutMs: 30_000 });
    const late = rig.manager({ url: server.url, commandTimeoutMs: 30_000 });
    const events = recordEvents(manager);
    await manager.command('INCR', 'n');
    await using administrator = await server.connect();
    // Half a millisecond for each key: long enough to be seen.
    await administrator.call('CONFIG', 'SET', 'key-load-delay', 500);
    const reloading = administrator.call('DEBUG', 'RELOAD');
    const isLoading = (error: Error) => error.message.startsWith('LOADING');
    await until(() => server.cli('PING').then(() => false, isLoading), { what: 'the server to be loading' });
    const outcomes = await settledAll<unknown>(
      [manager.command('INCR', 'n'), manager.command('GET', 'k2000'), late.command('GET', 'k2000')],
      40_000,
    );
    expect(outcomes.map((outcome) => outcome.error ?? outcome.value)).toEqual([2, 'v', 'v']);
    await reloading;
    // The server said LOADING, and nobody heard of it.
    expect(manager.metrics()).toMatchObject({ redis_commands_failed_total: 0, redis_connection_errors_total: 0 });
    expect(manager.metrics().redis_commands_resent_total).toBeGreaterThan(0);
    expect(events.errors).toEqual([]);
  });

  it('after a restart is waited for too', async () => {
    const server = await rig.server({
      durable: true,
      config: { 'loading-process-events-interval-bytes': 1024, 'key-load-delay': 200, 'aof-use-rdb-preamble': 'yes' },
    });
    await server.cli('EVAL', "for i = 1, 3000 do redis.call('SET', 'k' .. i, 'v') end return 1", 0);
    const manager = rig.manager({ url: server.url, reconnect: FAST, commandTimeoutMs: 30_000 });
    await manager.command('INCR', 'n');
    await server.kill9();
    await reaches(manager, 'reconnecting');
    const back = server.restart();
    const outcomes = await settledAll([manager.command('INCR', 'n'), manager.command('GET', 'k3000')], 40_000);
    expect(outcomes.map((outcome) => outcome.error ?? outcome.value)).toEqual([2, 'v']);
    await back;
  });
});

describe('error replies', () => {
  it('OOM: kind server, retryable, reads go on, and writes too once there is memory', async () => {
    const server = await rig.server({ maxmemory: '3mb' });
    const manager = rig.manager(server.url);
    const value = 'x'.repeat(64 * 1024);
    let error: Awaited<ReturnType<typeof failureOf>> | undefined;
    for (let i = 0; i < 200 && !error; i += 1) {
      await manager.command('SET', `k${i}`, value).catch((reason) => {
        error = reason;
      });
    }
    expect([error?.redisErrorKind, error?.serverCode, error?.delivery, error?.retryable]).toEqual(['server', 'OOM', 'rejected', true]);
    expect(await manager.command('STRLEN', 'k0')).toBe(value.length);
    await server.cli('FLUSHALL');
    expect(await manager.command('SET', 'k0', value)).toBe('OK');
    expect(manager.state).toBe('ready');
    expect(manager.metrics().redis_commands_failed_total).toBeGreaterThan(0);
  });

  it('WRONGTYPE, an unknown command and a syntax error: kind server with the code, not retryable, no neighbour harmed', async () => {
    const server = await rig.server();
    const manager = rig.manager(server.url);
    await manager.command('RPUSH', 'list', 'a');
    const [before, wrong, between, unknown, syntax, after] = await settledAll([
      manager.command('ECHO', 'before'),
      manager.command('INCR', 'list'),
      manager.command('ECHO', 'between'),
      manager.command('NOSUCHCOMMAND', 'x'),
      manager.command('SET', 'k', 'v', 'NONSENSE'),
      manager.command('ECHO', 'after'),
    ]);
    expect([before?.value, between?.value, after?.value]).toEqual(['before', 'between', 'after']);
    expect([wrong?.error?.redisErrorKind, wrong?.error?.serverCode, wrong?.error?.retryable]).toEqual(['server', 'WRONGTYPE', false]);
    expect([unknown?.error?.redisErrorKind, unknown?.error?.serverCode]).toEqual(['server', 'ERR']);
    expect([syntax?.error?.redisErrorKind, syntax?.error?.serverCode]).toEqual(['server', 'ERR']);
  });
});

describe('transaction()', () => {
  it('is atomic: nothing of anyone else comes in between', async () => {
    const server = await rig.server();
    const managers = Array.from({ length: 4 }, () => rig.manager(server.url));
    await server.cli('SET', 'n', 0);
    const outcomes = await settledAll(
      managers.flatMap((manager) =>
        Array.from({ length: 100 }, () =>
          manager.transaction<number[]>([
            ['INCR', 'n'],
            ['INCR', 'n'],
            ['INCR', 'n'],
          ]),
        ),
      ),
    );
    for (const { value, error } of outcomes) {
      expect(error).toBeUndefined();
      const [a = 0, b, c] = value ?? [];
      expect([b, c]).toEqual([a + 1, a + 2]);
    }
    expect(await server.cli('GET', 'n')).toBe('1200');
  });

  it('that Redis refuses rejects, and nothing of it was executed', async () => {
    const server = await rig.server();
    const manager = rig.manager(server.url);
    const error = await failureOf(manager.transaction([['SET', 'a', '1'], ['NOSUCHCOMMAND'], ['SET', 'b', '2']]));
    expect([error.redisErrorKind, error.delivery]).toEqual(['server', 'rejected']);
    expect(error.message).toContain('was not executed');
    expect(await server.keys()).toEqual([]);
    expect(
      await manager.transaction([
        ['SET', 'a', '1'],
        ['GET', 'a'],
      ]),
    ).toEqual(['OK', '1']);
  });

  it('of which Redis refuses MULTI says that its commands may have been executed', async () => {
    const server = await rig.server({ acl: ['bob on >p ~* +@all -@transaction', 'eve on >p ~* +@connection'] });
    const bob = rig.manager({ url: server.url, username: 'bob', password: 'p' });
    const error = await failureOf(
      bob.transaction([
        ['INCR', 'n'],
        ['INCR', 'n'],
      ]),
    );
    expect([error.redisErrorKind, error.serverCode, error.delivery]).toEqual(['auth', 'NOPERM', 'maybe-executed']);
    expect(error.message).toContain('MULTI was refused');
    expect(await server.cli('GET', 'n')).toBe('2');
    // Who may do nothing of it has had nothing executed.
    const eve = rig.manager({ url: server.url, username: 'eve', password: 'p' });
    const refused = await failureOf(eve.transaction([['INCR', 'n']]));
    expect([refused.redisErrorKind, refused.delivery]).toEqual(['auth', 'rejected']);
    expect(await server.cli('GET', 'n')).toBe('2');
  });

  it('in which one command fails rejects as maybe executed, naming it, and the others were executed', async () => {
    const server = await rig.server();
    const manager = rig.manager(server.url);
    const error = await failureOf(
      manager.transaction([
        ['SET', 'a', 'text'],
        ['INCR', 'a'],
        ['SET', 'b', '2'],
      ]),
    );
    expect([error.redisErrorKind, error.delivery]).toEqual(['server', 'maybe-executed']);
    expect(error.message).toContain('command 2');
    expect(await server.cli('MGET', 'a', 'b')).toEqual(['text', '2']);
  });

  it('without commands resolves without asking, and one with a forbidden command is refused before anything is sent', async () => {
    const server = await rig.server();
    const manager = rig.manager(server.url);
    expect(await manager.transaction([])).toEqual([]);
    const error = await failureOf(
      manager.transaction([
        ['SET', 'a', '1'],
        ['SUBSCRIBE', 'c'],
      ]),
    );
    expect([error.redisErrorKind, error.delivery]).toEqual(['config', 'not-sent']);
    expect(await server.keys()).toEqual([]);
  });

  it('with a blocking command in it does not block', async () => {
    const server = await rig.server();
    const manager = rig.manager(server.url);
    expect(await manager.transaction([['BLPOP', 'empty', 0], ['PING']])).toEqual([null, 'PONG']);
  });
});

describe('script()', () => {
  it('that is no Lua rejects at once with kind server', async () => {
    const server = await rig.server();
    const manager = rig.manager({ url: server.url, commandTimeoutMs: 60_000 });
    const error = await failureOf(manager.script('this is not Lua', []), 10_000);
    expect([error.redisErrorKind, error.serverCode, error.delivery]).toEqual(['server', 'ERR', 'rejected']);
    expect(error.message).toContain('compil');
    expect(await server.calls('evalsha')).toBeLessThan(5);
    expect(await manager.script('return 1', [])).toBe(1);
  });

  it('that raises an error rejects with kind server, and with the code that it or Redis gave', async () => {
    const server = await rig.server();
    const manager = rig.manager(server.url);
    await manager.command('RPUSH', 'list', 'a');
    const raised = await failureOf(manager.script("error('went wrong')", []));
    expect(raised.redisErrorKind).toBe('server');
    expect(raised.message).toContain('went wrong');
    const own = await failureOf(manager.script("return redis.error_reply('MYCODE because')", []));
    expect([own.redisErrorKind, own.serverCode]).toEqual(['server', 'MYCODE']);
    const inner = await failureOf(manager.script("return redis.call('INCR', KEYS[1])", ['list']));
    expect([inner.redisErrorKind, inner.serverCode]).toEqual(['server', 'WRONGTYPE']);
  });

  it('that answers with a code of Redis in words of its own is executed once', async () => {
    const server = await rig.server();
    const manager = rig.manager(server.url);
    const answering = (code: string) => `redis.call('INCR', KEYS[1]) return redis.error_reply('${code} come later')`;
    const raising = (code: string) => `redis.call('INCR', KEYS[1]) error({ err = '${code} come later' })`;
    for (const code of ['TRYAGAIN', 'LOADING', 'CLUSTERDOWN', 'MASTERDOWN', 'READONLY', 'NOSCRIPT']) {
      const calls = [answering(code), raising(code)].flatMap((lua) => [manager.script(lua, [code]), manager.command('EVAL', lua, 1, code)]);
      for (const { error } of await settledAll(calls)) expect(error?.serverCode).toBe(code);
      expect(await manager.command('GET', code), code).toBe(`${calls.length}`);
    }
    expect(manager.metrics().redis_reconnection_attempts_total).toBe(0);
  });

  it('takes arguments of any bytes and numbers, and gives them back', async () => {
    const server = await rig.server();
    const manager = rig.manager(server.url);
    const bytes = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
    const [echoed, text, number] = await manager.script<[Buffer, string, string]>('return ARGV', [], [bytes, 'é\r\n\0"', 1.5]);
    expect(echoed).toEqual(bytes);
    expect([text, number]).toEqual(['é\r\n\0"', '1.5']);
  });
});

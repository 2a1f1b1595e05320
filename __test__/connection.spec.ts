/** Connecting and disconnecting: the seeds of trouble of other clients, each with a test named after it. */
import { inspect } from 'node:util';
import { describe, expect, it } from 'vitest';
import { failureOf } from './support/failure.ts';
import { reaches, recordEvents, settledAll, textOf, useRig } from './support/rig.ts';
import { until, within } from './support/until.ts';

const rig = useRig();

describe('connect()', () => {
  it('called twice at once makes one connection, and both callers resolve', async () => {
    const server = await rig.server();
    const proxy = await rig.proxy(server);
    const manager = rig.manager(proxy.url);
    await Promise.all([manager.connect(), manager.connect()]);
    expect(manager.state).toBe('ready');
    expect(proxy.counters.accepted).toBe(1);
    expect(await server.clients()).toHaveLength(1);
    expect(manager.metrics().redis_concurrent_initialization_attempts).toBe(2);
  });

  it('called ten times in a row makes one connection', async () => {
    const server = await rig.server();
    const proxy = await rig.proxy(server);
    const manager = rig.manager(proxy.url);
    for (let i = 0; i < 10; i += 1) await manager.connect();
    expect(proxy.counters.accepted).toBe(1);
  });

  it('called by a hundred callers, with commands and pings in between, makes one connection', async () => {
    const server = await rig.server();
    const proxy = await rig.proxy(server);
    const manager = rig.manager(proxy.url);
    const calls = Array.from({ length: 100 }, (_, i) =>
      i % 3 === 0 ? manager.connect() : i % 3 === 1 ? manager.ping() : manager.command('INCR', 'n'),
    );
    const outcomes = await settledAll(calls);
    expect(outcomes.filter((outcome) => outcome.error)).toEqual([]);
    expect(proxy.counters.accepted).toBe(1);
    expect(await server.cli('GET', 'n')).toBe('33');
  });

  it('works after disconnect()', async () => {
    const server = await rig.server();
    const manager = rig.manager(server.url);
    for (let round = 0; round < 5; round += 1) {
      await manager.connect();
      expect(await manager.command('PING')).toBe('PONG');
      await manager.disconnect();
      expect(manager.state).toBe('closed');
      expect((await failureOf(manager.command('PING'))).redisErrorKind).toBe('closed');
    }
    await manager.connect();
    expect(await server.clients()).toHaveLength(1);
  });

  it('works after a failure', async () => {
    const server = await rig.server();
    await server.stop();
    const manager = rig.manager(server.url);
    const events = recordEvents(manager);
    expect((await failureOf(manager.connect())).redisErrorKind).toBe('connection');
    expect(manager.state).toBe('failed');
    await server.restart();
    await manager.connect();
    expect(manager.isConnected()).toBe(true);
    expect(await server.clients()).toHaveLength(1);
    expect(events.states).toEqual(['connecting', 'failed', 'connecting', 'ready']);
  });

  it('fails for every caller that shares the attempt, and never with "already connecting" or "already connected"', async () => {
    const server = await rig.server();
    const proxy = await rig.proxy(server, { silent: true });
    const manager = rig.manager({ url: proxy.url, connectTimeoutMs: 300 });
    const outcomes = await settledAll(Array.from({ length: 10 }, () => manager.connect()));
    for (const { error } of outcomes) {
      expect(error?.redisErrorKind).toBe('timeout');
      expect(error?.message).not.toMatch(/already/i);
    }
    expect(proxy.counters.accepted).toBe(1);
    expect(manager.metrics().redis_connection_errors_total).toBe(1);
    proxy.heal();
    await manager.connect();
    const again = await settledAll(Array.from({ length: 10 }, () => manager.connect()));
    expect(again.every((outcome) => outcome.error === undefined)).toBe(true);
    expect(proxy.counters.accepted).toBe(2);
    expect(await server.clients()).toHaveLength(1);
  });

  it('is not needed: the first command connects', async () => {
    const server = await rig.server();
    const manager = rig.manager(server.url);
    expect(manager.state).toBe('idle');
    expect(await manager.command('SET', 'k', 'v')).toBe('OK');
    expect(manager.state).toBe('ready');
  });

  it('does no I/O from the constructor, unless lazyConnect is false', async () => {
    const server = await rig.server();
    const proxy = await rig.proxy(server);
    const lazy = rig.manager(proxy.url);
    const eager = rig.manager({ url: proxy.url, lazyConnect: false, clientName: 'eager' });
    await reaches(eager, 'ready');
    expect(lazy.state).toBe('idle');
    expect(proxy.counters.accepted).toBe(1);
    expect((await server.clients()).map((client) => client.name)).toEqual(['eager']);
  });

  it('resolves for a caller that comes while a lost connection is being restored, once it is', async () => {
    const server = await rig.server();
    const manager = rig.manager({ url: server.url, reconnect: { minDelayMs: 10, maxDelayMs: 50 } });
    await manager.connect();
    await server.kill9();
    await reaches(manager, 'reconnecting');
    const connected = manager.connect();
    await server.restart();
    await within(10_000, connected, 'connect() during a reconnect');
    expect(manager.state).toBe('ready');
    expect(await server.clients()).toHaveLength(1);
  });
});

describe('disconnect()', () => {
  it('is safe before anything was connected, and twice', async () => {
    const server = await rig.server();
    const proxy = await rig.proxy(server);
    const manager = rig.manager(proxy.url);
    await manager.disconnect();
    await manager.disconnect();
    expect(manager.state).toBe('closed');
    expect(proxy.counters.accepted).toBe(0);
  });

  it('is safe while connecting: connect() rejects with kind closed, and no connection is left', async () => {
    const server = await rig.server();
    const proxy = await rig.proxy(server, { silent: true });
    const manager = rig.manager(proxy.url);
    const connected = failureOf(manager.connect());
    await until(() => proxy.counters.accepted === 1, { what: 'the attempt to begin' });
    expect(manager.state).toBe('connecting');
    await within(5_000, manager.disconnect(), 'disconnect() while connecting');
    expect((await connected).redisErrorKind).toBe('closed');
    expect(manager.state).toBe('closed');
    await until(() => proxy.counters.open === 0, { what: 'the connection to be closed' });
  });

  it('is safe while reconnecting, and waiting commands reject as not sent', async () => {
    const server = await rig.server();
    const manager = rig.manager(server.url);
    await manager.connect();
    await server.kill9();
    await reaches(manager, 'reconnecting');
    const waiting = failureOf(manager.command('INCR', 'n'));
    await within(5_000, manager.disconnect(), 'disconnect() while reconnecting');
    const error = await waiting;
    expect([error.redisErrorKind, error.delivery]).toEqual(['closed', 'not-sent']);
    expect(manager.state).toBe('closed');
    await server.restart();
    expect(await server.clients()).toEqual([]);
  });

  it('is safe after a failure', async () => {
    const server = await rig.server();
    await server.stop();
    const manager = rig.manager(server.url);
    await failureOf(manager.connect());
    await manager.disconnect();
    expect(manager.state).toBe('closed');
  });

  it('called twice at once, and ten times, resolves every caller', async () => {
    const server = await rig.server();
    const manager = rig.manager(server.url);
    const events = recordEvents(manager);
    await manager.connect();
    await within(5_000, Promise.all(Array.from({ length: 10 }, () => manager.disconnect())), 'every disconnect()');
    expect(manager.state).toBe('closed');
    await until(() => events.counts.end === 1, { what: "the event 'end'" });
    expect(events.states).toEqual(['connecting', 'ready', 'closing', 'closed']);
  });

  it('answers the commands that were accepted before it', async () => {
    const server = await rig.server();
    const proxy = await rig.proxy(server, { down: { delayMs: 50 } });
    const manager = rig.manager({ url: proxy.url, closeTimeoutMs: 10_000 });
    await manager.connect();
    const answers = settledAll(Array.from({ length: 500 }, () => manager.command<number>('INCR', 'n')));
    const ended = manager.disconnect();
    const late = failureOf(manager.command('INCR', 'n'));
    const values = (await answers).map((outcome) => outcome.value);
    expect(values).toEqual(Array.from({ length: 500 }, (_, i) => i + 1));
    expect((await late).redisErrorKind).toBe('closed');
    await ended;
    expect(await server.cli('GET', 'n')).toBe('500');
  });

  it('does not wait longer than closeTimeoutMs for a server that does not answer', async () => {
    const server = await rig.server();
    const manager = rig.manager({ url: server.url, closeTimeoutMs: 200, commandTimeoutMs: 60_000 });
    await manager.connect();
    await server.freeze();
    const waiting = failureOf(manager.command('INCR', 'n'));
    await within(5_000, manager.disconnect(), 'disconnect() from a frozen server');
    const error = await waiting;
    expect([error.redisErrorKind, error.delivery]).toEqual(['closed', 'maybe-executed']);
  });

  it('mixed with connect() in every order ends in the state of the last call, with no connection too many', async () => {
    const server = await rig.server();
    const manager = rig.manager(server.url);
    for (const order of ['cd', 'dc', 'cdc', 'dcd', 'ccdd', 'cdcdcd', 'ddcc', 'cddc']) {
      const calls = [...order].map((call) => (call === 'c' ? manager.connect() : manager.disconnect()));
      const outcomes = await settledAll(calls);
      outcomes.forEach(({ error }, i) => {
        if (order[i] === 'd') expect(error, order).toBeUndefined();
        else if (error) expect(error.redisErrorKind, order).toBe('closed');
      });
      if (order.endsWith('d')) {
        expect(manager.state, order).toBe('closed');
        await until(async () => (await server.clients()).length === 0, { what: 'no connection to be left' });
      } else {
        await within(10_000, manager.connect(), `connect() after ${order}`);
        await until(async () => (await server.clients()).length === 1, { what: 'one connection to be left' });
      }
    }
  });

  it('after connect() of many managers at once leaves nothing on the server', async () => {
    const server = await rig.server();
    const managers = Array.from({ length: 30 }, () => rig.manager(server.url));
    await Promise.all(managers.map((manager) => manager.connect()));
    expect(await server.clients()).toHaveLength(30);
    await Promise.all(managers.map((manager) => manager.disconnect()));
    await until(async () => (await server.clients()).length === 0, { what: 'no connection to be left' });
  });

  it('runs at the end of an `await using` block', async () => {
    const server = await rig.server();
    {
      await using manager = rig.manager(server.url);
      await manager.ping();
    }
    await until(async () => (await server.clients()).length === 0, { what: 'no connection to be left' });
  });
});

describe('connect() right behind disconnect()', () => {
  it('opens the manager again once what was accepted before is answered', async () => {
    const server = await rig.server();
    const manager = rig.manager(server.url);
    await manager.connect();
    const accepted = manager.command('DEBUG', 'SLEEP', 0.3);
    const [closed, opened] = [manager.disconnect(), manager.connect()];
    await Promise.all([accepted, closed, opened]);
    expect(manager.state).toBe('ready');
    expect(await manager.command('ECHO', 'again')).toBe('again');
  });

  it('rejects with kind closed where another disconnect() follows', async () => {
    const server = await rig.server();
    const manager = rig.manager(server.url);
    await manager.connect();
    const accepted = manager.command('DEBUG', 'SLEEP', 0.3);
    const outcomes = await settledAll<unknown>([accepted, manager.disconnect(), manager.connect(), manager.disconnect()]);
    expect(outcomes.map(({ error }) => error?.redisErrorKind)).toEqual([undefined, undefined, 'closed', undefined]);
    expect(manager.state).toBe('closed');
  });
});

describe('a password function', () => {
  it('is asked again at each reconnect, so a rotated password works', async () => {
    const server = await rig.server({ password: 'first' });
    let password = 'first';
    let asked = 0;
    const manager = rig.manager({
      host: server.host,
      port: server.port,
      reconnect: { minDelayMs: 10, maxDelayMs: 50 },
      password: async () => {
        asked += 1;
        return password;
      },
    });
    const events = recordEvents(manager);
    await manager.connect();
    expect(asked).toBe(1);
    password = 'second';
    await server.cli('CONFIG', 'SET', 'requirepass', 'second');
    await server.cli('CLIENT', 'KILL', 'TYPE', 'normal');
    await until(() => events.counts.ready === 2, { what: 'the connection to be restored' });
    expect(await manager.command('SET', 'k', 'v')).toBe('OK');
    expect(asked).toBe(2);
  });

  it('that throws while the connection is being restored is asked again', async () => {
    const server = await rig.server({ password: 'right' });
    let failing = 0;
    const manager = rig.manager({
      host: server.host,
      port: server.port,
      reconnect: { minDelayMs: 1, maxDelayMs: 10 },
      password: () => {
        if (failing > 0 && failing-- > 0) throw new Error('hunter2');
        return 'right';
      },
    });
    const events = recordEvents(manager);
    await manager.connect();
    failing = 3;
    await server.cli('CLIENT', 'KILL', 'TYPE', 'normal');
    await until(() => events.counts.ready === 2, { what: 'the connection to be restored' });
    expect(failing).toBe(0);
    expect(events.errors.filter((error) => error.redisErrorKind === 'auth')).toHaveLength(3);
    expect(events.states).not.toContain('failed');
  });

  it('that throws, rejects or gives no string rejects connect() with kind auth, without its text', async () => {
    const server = await rig.server({ password: 'right' });
    const functions: [string, () => unknown][] = [
      [
        'threw',
        () => {
          throw new Error('hunter2');
        },
      ],
      ['threw', () => Promise.reject(new Error('hunter2'))],
      ['something else', () => undefined],
      ['something else', () => 42],
      ['something else', () => ({ password: 'hunter2' })],
      ['something else', () => null],
    ];
    for (const [says, password] of functions) {
      const manager = rig.manager({ host: server.host, port: server.port, password: password as () => string });
      const error = await failureOf(manager.connect());
      expect(error.redisErrorKind).toBe('auth');
      expect(error.message).toContain('RedisConfig.password');
      expect(error.message).toContain(says);
      expect(textOf(error, inspect)).not.toContain('hunter2');
      expect(manager.state).toBe('failed');
    }
  });

  it('that never answers rejects connect() with kind timeout at connectTimeoutMs, and a late answer harms nobody', async () => {
    const server = await rig.server({ password: 'right' });
    const answers: ((password: string) => void)[] = [];
    const manager = rig.manager({
      host: server.host,
      port: server.port,
      connectTimeoutMs: 300,
      password: () => new Promise<string>((resolve) => answers.push(resolve)),
    });
    const error = await failureOf(manager.connect());
    expect(error.redisErrorKind).toBe('timeout');
    expect(manager.state).toBe('failed');
    const second = manager.connect();
    await until(() => answers.length === 2, { what: 'the second question' });
    answers[0]?.('wrong');
    answers[1]?.('right');
    await second;
    expect(manager.state).toBe('ready');
  });

  it('that gives the wrong password rejects with kind auth, and may give the right one next time', async () => {
    const server = await rig.server({ password: 'right' });
    const passwords = ['wrong', 'right'];
    const manager = rig.manager({ host: server.host, port: server.port, password: () => passwords.shift() ?? '' });
    const error = await failureOf(manager.connect());
    expect([error.redisErrorKind, error.serverCode]).toEqual(['auth', 'WRONGPASS']);
    await manager.connect();
    expect(await manager.command('PING')).toBe('PONG');
  });
});

describe('the connection', () => {
  it('shows the client name in CLIENT LIST', async () => {
    const server = await rig.server();
    await rig.manager({ url: server.url, clientName: 'billing-7' }).connect();
    await rig.manager(server.url).connect();
    const names = (await server.clients()).map((client) => client.name).sort();
    expect(names).toEqual(['billing-7', 'redis-backplane']);
  });

  it('keeps its name, database and user after a reconnect', async () => {
    const server = await rig.server({ acl: ['alice on >wonder ~* &* +@all'] });
    const manager = rig.manager({
      url: `${server.url}/3`,
      username: 'alice',
      password: 'wonder',
      clientName: 'named',
      reconnect: { minDelayMs: 10, maxDelayMs: 50 },
    });
    const events = recordEvents(manager);
    await manager.connect();
    await server.cli('CLIENT', 'KILL', 'TYPE', 'normal');
    await until(() => events.counts.ready === 2, { what: 'the connection to be restored' });
    await manager.command('SET', 'k', 'v');
    expect(await server.clients()).toMatchObject([{ name: 'named', db: '3', user: 'alice' }]);
    expect(await server.keys()).toEqual([{ db: 3, key: 'k' }]);
  });

  it('of an idle ready manager does not keep the process alive', async () => {
    const server = await rig.server();
    const { runProcess } = await import('./support/process.ts');
    const ended = await runProcess(
      async ({ redis, args, emit }) => {
        const manager = new redis.RedisConnectionManager(args.url);
        await manager.connect();
        emit(await manager.command('PING'));
      },
      { args: { url: server.url } },
    );
    expect([ended.code, ended.lines, ended.stderr]).toEqual([0, ['PONG'], '']);
  });
});

describe('an error event', () => {
  it('without a listener is not thrown, and a listener that throws affects nobody', async () => {
    const server = await rig.server();
    const manager = rig.manager({ url: server.url, reconnect: { minDelayMs: 10, maxDelayMs: 50 } });
    const warnings: Error[] = [];
    const note = (warning: Error) => warnings.push(warning);
    process.on('warning', note);
    try {
      manager.on('ready', () => {
        throw new Error('a listener that throws');
      });
      manager.on('ready', () => {
        throw Object.create(null);
      });
      let later = 0;
      manager.on('ready', () => {
        later += 1;
      });
      await manager.connect();
      await server.kill9();
      await reaches(manager, 'reconnecting');
      await server.restart();
      await until(() => later === 2, { timeoutMs: 15_000, what: 'the listener behind the one that throws' });
      await until(() => warnings.length === 4, { what: 'the warnings' });
      expect(await manager.command('PING')).toBe('PONG');
    } finally {
      process.off('warning', note);
    }
  });
});

/** What a failing call says: its kind, its stable code, whether the server may have acted, whether to try again. */
import { RedisConnectionManager, RedisError, type RedisErrorKind } from 'redis-backplane';
import { describe, expect, it } from 'vitest';
import { describeBackends } from '../support/backends.ts';
import { certificates } from '../support/certificates.ts';
import { failureOf } from '../support/failure.ts';
import { checkLeaks } from '../support/leaks.ts';
import { freePort } from '../support/port.ts';
import { RedisServer } from '../support/redis-server.ts';
import { TcpProxy } from '../support/tcp-proxy.ts';
import { until } from '../support/until.ts';

const codes: Record<RedisErrorKind, string> = {
  config: 'ERR_REDIS_CONFIG',
  disabled: 'ERR_REDIS_DISABLED',
  connection: 'ERR_REDIS_CONNECTION',
  auth: 'ERR_REDIS_AUTH',
  tls: 'ERR_REDIS_TLS',
  timeout: 'ERR_REDIS_TIMEOUT',
  closed: 'ERR_REDIS_CLOSED',
  overloaded: 'ERR_REDIS_OVERLOADED',
  server: 'ERR_REDIS_SERVER',
  serialization: 'ERR_REDIS_SERIALIZATION',
  'lease-lost': 'ERR_REDIS_LEASE_LOST',
  conflict: 'ERR_REDIS_CONFLICT',
  cancelled: 'ERR_REDIS_CANCELLED',
};

/** The error that `promise` must reject with, checked for what holds of every error. */
async function failure(promise: Promise<unknown>): Promise<RedisError> {
  const error = await failureOf(promise, 10_000);
  expect(error).toBeInstanceOf(Error);
  expect(error.name).toBe('RedisError');
  expect(error.code).toBe(codes[error.redisErrorKind]);
  expect(error.stack).toContain(error.message);
  return error;
}

describe('RedisError', () => {
  it('has one stable code per kind', () => {
    for (const [kind, code] of Object.entries(codes)) {
      expect(new RedisError(kind as RedisErrorKind, 'why').code).toBe(code);
    }
  });

  it('keeps its cause', () => {
    const cause = new Error('beneath');
    expect(new RedisError('connection', 'lost', { cause }).cause).toBe(cause);
    expect('cause' in new RedisError('connection', 'lost')).toBe(false);
  });

  it('claims nothing that is no RedisError', () => {
    for (const other of [null, undefined, 0, 'RedisError', {}, new Error('x'), { redisErrorKind: 'server' }]) {
      expect(other instanceof RedisError).toBe(false);
    }
  });
});

describeBackends('an error reply', (backend) => {
  it('has kind server, the code of the reply, and delivery rejected', async () => {
    const manager = backend.manager();
    const key = `${backend.namespace}:text`;
    await manager.command('SET', key, 'text');
    const wrongType = await failure(manager.command('LPUSH', key, 'x'));
    expect(wrongType).toMatchObject({ redisErrorKind: 'server', serverCode: 'WRONGTYPE', delivery: 'rejected', retryable: false });
    const notANumber = await failure(manager.command('INCR', key));
    expect(notANumber).toMatchObject({ redisErrorKind: 'server', serverCode: 'ERR', delivery: 'rejected' });
    expect(notANumber.message).toContain('not an integer');
  });

  it('reaches the caller it belongs to among many', async () => {
    const manager = backend.manager();
    const settled = await Promise.allSettled(
      Array.from({ length: 300 }, (_, i) =>
        i % 3 === 0 ? manager.command('NO-SUCH-COMMAND', String(i)) : manager.command('ECHO', String(i)),
      ),
    );
    settled.forEach((outcome, i) => {
      if (i % 3 === 0) expect(outcome.status).toBe('rejected');
      else expect(outcome).toEqual({ status: 'fulfilled', value: String(i) });
    });
  });

  it('of a script comes with its own code', async () => {
    const manager = backend.manager();
    expect(await failure(manager.script("return redis.error_reply('MINE went wrong')", []))).toMatchObject({
      redisErrorKind: 'server',
      serverCode: 'MINE',
    });
  });

  it('repeats no argument, which may be a payload or a password', async () => {
    const manager = backend.manager();
    const calls = [['SETT', 'k', 'my-secret'] as const, ['ACL', 'SETUSER', 'bob', 'on', '<my-secret'] as const];
    for (const [name, ...args] of calls) {
      for (const call of [manager.command(name, ...args), manager.transaction([[name, ...args]])]) {
        const error = await failure(call);
        expect(error).toMatchObject({ redisErrorKind: 'server', serverCode: 'ERR' });
        expect(error.message).not.toContain('secret');
      }
    }
  });

  it('may be as long as any other reply, and so may a status', async () => {
    const manager = backend.manager();
    const [status, error, after] = await Promise.allSettled([
      manager.command('EVAL', "return redis.status_reply(string.rep('x', 200000))", 0),
      manager.command('EVAL', "return redis.error_reply('MINE ' .. string.rep('x', 200000))", 0),
      manager.command('ECHO', 'after'),
    ]);
    expect(status).toEqual({ status: 'fulfilled', value: 'x'.repeat(200_000) });
    expect(error).toMatchObject({ status: 'rejected', reason: { serverCode: 'MINE', delivery: 'rejected' } });
    expect(after).toEqual({ status: 'fulfilled', value: 'after' });
    expect(manager.metrics().redis_connection_errors_total).toBe(0);
  });

  it('while a transaction is queued rejects it whole, and nothing of it is executed', async () => {
    const manager = backend.manager();
    const key = `${backend.namespace}:n`;
    const error = await failure(manager.transaction([['INCR', key], ['INCR']]));
    expect(error).toMatchObject({ redisErrorKind: 'server', delivery: 'rejected' });
    expect(await manager.command('EXISTS', key)).toBe(0);
  });

  it('is all that stands in the way of a very large transaction or script', async () => {
    const manager = backend.manager();
    const key = `${backend.namespace}:n`;
    const large = Array.from({ length: 60_000 }, (): [string, string] => ['INCR', key]);
    expect((await manager.transaction<number[]>(large)).at(-1)).toBe(60_000);
    const pushed = Array.from({ length: 150_000 }, String);
    expect(await manager.transaction([['RPUSH', `${key}:list`, ...pushed]])).toEqual([150_000]);
    expect(await manager.script('return #ARGV', [], pushed)).toBe(150_000);
  });

  it('inside a transaction says that the rest may have been executed', async () => {
    const manager = backend.manager();
    const [n, text] = [`${backend.namespace}:n`, `${backend.namespace}:text`];
    await manager.command('SET', text, 'text');
    const error = await failure(
      manager.transaction([
        ['INCR', n],
        ['LPUSH', text, 'x'],
      ]),
    );
    expect(error).toMatchObject({ redisErrorKind: 'server', serverCode: 'WRONGTYPE', delivery: 'maybe-executed' });
    expect(await manager.command('GET', n)).toBe('1');
  });

  it('is refused before it is sent when the command would change the shared connection', async () => {
    const manager = backend.manager();
    const client = (...words: string[]) => ['CLIENT', ...words];
    const refused = [
      ...['SUBSCRIBE', 'MULTI', 'EXEC', 'DISCARD', 'WATCH', 'MONITOR', 'SELECT', 'AUTH', 'HELLO', 'RESET', 'QUIT'].map((name) => [
        name,
        '0',
      ]),
      ...[['READONLY'], ['readwrite'], ['ASKING'], ['REPLCONF', 'ACK', '1'], ['SCRIPT', 'DEBUG', 'YES']],
      ...[client('REPLY', 'OFF'), client('TRACKING', 'ON'), client('CACHING', 'YES'), client('NO-EVICT', 'ON'), client('no-touch', 'ON')],
      ...[client('SETNAME', 'another'), client('SETINFO', 'LIB-NAME', 'another')],
    ] as [string, ...string[]][];
    const key = `${backend.namespace}:k`;
    for (const words of refused) {
      const sayingWhy = { redisErrorKind: 'config', delivery: 'not-sent', message: expect.stringMatching(/shared|use |set /) };
      expect(await failure(manager.command(...words)), words.join(' ')).toMatchObject(sayingWhy);
      // What stands before it in a transaction is not executed either.
      expect(await failure(manager.transaction([['SET', key, '1'], words])), words.join(' ')).toMatchObject(sayingWhy);
    }
    expect(await manager.command('EXISTS', key)).toBe(0);
  });

  it('is kind closed after disconnect', async () => {
    const manager = backend.manager();
    await manager.connect();
    await manager.disconnect();
    expect(await failure(manager.command('PING'))).toMatchObject({ redisErrorKind: 'closed', delivery: 'not-sent' });
    expect(await failure(manager.ping())).toMatchObject({ redisErrorKind: 'closed' });
  });
});

describe('a failure of the connection', () => {
  checkLeaks();

  it('is kind connection when nobody listens, and a later connect works', async () => {
    const port = await freePort();
    const manager = new RedisConnectionManager({ port, connectTimeoutMs: 2_000 });
    const error = await failure(manager.connect());
    expect(error).toMatchObject({ redisErrorKind: 'connection', delivery: 'not-sent', retryable: true });
    expect(error.message + String((error.cause as Error | undefined)?.message)).toMatch(/refused/i);
    expect(manager.state).toBe('failed');
    expect((await manager.health()).ok).toBe(false);
    await manager.disconnect();
  });

  it('is kind connection when the name does not resolve', async () => {
    const manager = new RedisConnectionManager({ host: 'no-such-host.invalid', connectTimeoutMs: 5_000 });
    expect(await failure(manager.connect())).toMatchObject({ redisErrorKind: 'connection', delivery: 'not-sent' });
    await manager.disconnect();
  });

  it('is kind timeout when the server accepts and stays silent', async () => {
    await using proxy = await TcpProxy.start({ port: 1 }, { silent: true });
    const manager = new RedisConnectionManager({ url: proxy.url, connectTimeoutMs: 300 });
    const error = await failure(manager.connect());
    expect(error).toMatchObject({ redisErrorKind: 'timeout', delivery: 'not-sent' });
    await manager.disconnect();
  });

  it('says maybe-executed when the reply is lost, and the command was executed once', async () => {
    await using server = await RedisServer.start();
    await using proxy = await TcpProxy.start(server);
    const manager = new RedisConnectionManager({ url: proxy.url });
    await manager.connect();
    proxy.set({ down: { dropAfterBytes: 0 } });
    const lost = manager.command('INCR', 'n');
    const error = await failure(lost);
    proxy.heal();
    expect(error).toMatchObject({ redisErrorKind: 'connection', delivery: 'maybe-executed' });
    await until(() => manager.isConnected(), { what: 'the connection to be restored' });
    expect(await manager.command('GET', 'n')).toBe('1');
    expect(await server.calls('incr')).toBe(1);
    await manager.disconnect();
  });

  it('says maybe-executed at the deadline when the server stands still', async () => {
    await using server = await RedisServer.start();
    const manager = new RedisConnectionManager({ url: server.url, commandTimeoutMs: 300 });
    await manager.connect();
    await server.freeze();
    expect(await failure(manager.command('INCR', 'n'))).toMatchObject({ redisErrorKind: 'timeout', delivery: 'maybe-executed' });
    server.thaw();
    await until(async () => (await server.cli('GET', 'n')) === '1', { what: 'the server to have executed it after all' });
    await manager.disconnect();
  });

  it('says not-sent when the deadline passes while it waits for a reconnect', async () => {
    await using server = await RedisServer.start();
    const manager = new RedisConnectionManager({ url: server.url, commandTimeoutMs: 300 });
    await manager.connect();
    await server.kill9();
    await until(() => manager.state === 'reconnecting', { what: 'the loss to be noticed' });
    expect(await failure(manager.command('INCR', 'n'))).toMatchObject({ delivery: 'not-sent', retryable: true });
    await manager.disconnect();
  });

  it('is kind overloaded when more commands wait than may', async () => {
    await using server = await RedisServer.start();
    const manager = new RedisConnectionManager({ url: server.url, maxPendingCommands: 10, commandTimeoutMs: 2_000 });
    await manager.connect();
    await server.freeze();
    const waiting = Array.from({ length: 10 }, () => manager.command('PING'));
    expect(await failure(manager.command('PING'))).toMatchObject({ redisErrorKind: 'overloaded', delivery: 'not-sent', retryable: true });
    server.thaw();
    expect(await Promise.all(waiting)).toEqual(Array(10).fill('PONG'));
    expect(manager.metrics().redis_commands_rejected_total).toBe(1);
    await manager.disconnect();
  });

  it('is kind auth at once for a wrong password, a missing one, and an unknown user', async () => {
    await using server = await RedisServer.start({ password: 'right' });
    for (const credentials of [{ password: 'wrong' }, {}, { username: 'nobody', password: 'right' }]) {
      const manager = new RedisConnectionManager({ port: server.port, ...credentials });
      const error = await failure(manager.connect());
      expect(error).toMatchObject({ redisErrorKind: 'auth', delivery: 'rejected', retryable: false });
      expect(['WRONGPASS', 'NOAUTH']).toContain(error.serverCode);
      expect(manager.state).toBe('failed');
      await manager.disconnect();
    }
  });

  it('is kind auth with NOPERM for a command that the ACL forbids, and the connection stays', async () => {
    await using server = await RedisServer.start({ acl: ['alice on >pw ~app:* &* +@all -flushall'] });
    const manager = new RedisConnectionManager({ port: server.port, username: 'alice', password: 'pw' });
    expect(await failure(manager.command('FLUSHALL'))).toMatchObject({
      redisErrorKind: 'auth',
      serverCode: 'NOPERM',
      delivery: 'rejected',
    });
    expect(await manager.command('PING')).toBe('PONG');
    await manager.disconnect();
  });

  it('is kind tls for TLS to a plain port', async () => {
    await using server = await RedisServer.start();
    const manager = new RedisConnectionManager({ port: server.port, tls: true, connectTimeoutMs: 3_000 });
    expect(await failure(manager.connect())).toMatchObject({ redisErrorKind: 'tls', delivery: 'not-sent', retryable: false });
    await manager.disconnect();
  });

  it('is kind tls for a certificate that nobody vouches for, and for another name', async () => {
    await using server = await RedisServer.start({ tls: true });
    const { ca, strangerCa } = await certificates();
    for (const tls of [true, { ca: strangerCa.cert }, { ca: ca.cert, servername: 'elsewhere.example' }]) {
      const manager = new RedisConnectionManager({ host: 'localhost', port: server.port, tls });
      expect(await failure(manager.connect())).toMatchObject({ redisErrorKind: 'tls', retryable: false });
      await manager.disconnect();
    }
    const trusting = new RedisConnectionManager({ host: 'localhost', port: server.port, tls: { ca: ca.cert } });
    await trusting.connect();
    await trusting.disconnect();
  });

  it('is kind tls without the client certificate that the server demands, and none with it', async () => {
    await using server = await RedisServer.start({ tls: 'mutual' });
    const { ca, client } = await certificates();
    const stranger = new RedisConnectionManager({ host: 'localhost', port: server.port, tls: { ca: ca.cert } });
    expect(['tls', 'connection']).toContain((await failure(stranger.connect())).redisErrorKind);
    await stranger.disconnect();
    const known = new RedisConnectionManager({
      host: 'localhost',
      port: server.port,
      tls: { ca: ca.cert, cert: client.cert, key: Buffer.from(client.key) },
    });
    await known.connect();
    await known.disconnect();
  });

  it('is kind server with OOM when the server is out of memory, and reading goes on', async () => {
    await using server = await RedisServer.start({ maxmemory: '1kb' });
    const manager = new RedisConnectionManager(server.url);
    expect(await failure(manager.command('SET', 'k', 'v'))).toMatchObject({
      redisErrorKind: 'server',
      serverCode: 'OOM',
      delivery: 'rejected',
    });
    expect(await manager.command('GET', 'k')).toBeNull();
    await manager.disconnect();
  });
});

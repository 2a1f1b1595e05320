/** Configuration: every option refuses what it cannot mean, the environment is read as documented, every URL form works. */
import fc from 'fast-check';
import {
  createTestRedisConfig,
  makeRedisSuite,
  REDIS_TEST_CONFIG,
  RedisConnectionManager,
  RedisError,
  redisConfigFromEnv,
} from 'redis-backplane';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { certificates } from './support/certificates.ts';
import { checkLeaks } from './support/leaks.ts';
import { RedisServer } from './support/redis-server.ts';
import { until } from './support/until.ts';

/** The error that a configuration is refused with. */
function refusal(make: () => unknown): RedisError {
  try {
    make();
  } catch (error) {
    expect(error).toBeInstanceOf(RedisError);
    expect(error).toMatchObject({ redisErrorKind: 'config', code: 'ERR_REDIS_CONFIG', delivery: 'not-sent', retryable: false });
    return error as RedisError;
  }
  throw new Error('nothing was refused');
}

const notNumbers = [-1, 1.5, Number.NaN, Infinity, 1e20, '5', null, true, {}, [], () => 1];
const notTexts = [5, null, true, {}, []];
const notObjects = [5, 'text', null, true, []];

/** What a template gives whose variables are not set. */
const templates = [
  'redis://',
  'redis://:6379',
  'redis://h:',
  'redis://@h',
  'redis://:@h',
  'redis://user:@h',
  'redis://h//1',
  'redis+sentinel://a:1,,b:2/main',
  'redis+sentinel://a:1/',
  'redis+cluster://a:1,',
];

/** What each option must refuse: [path of the option, values]. */
const refused: [option: string, values: unknown[]][] = [
  [
    'url',
    [
      ...notTexts,
      '',
      'nonsense',
      'http://127.0.0.1',
      'redis://127.0.0.1:port',
      'redis://127.0.0.1:70000',
      'redis://127.0.0.1/x',
      ...templates,
    ],
  ],
  ['host', [...notTexts, '', 'h:6379', '[::1]:6379', '[::1', 'a,b', `${'h'.repeat(254)}`]],
  ['port', [...notNumbers, 0, 65_536]],
  ['path', [...notTexts, '', `/${'p'.repeat(107)}`]],
  ['db', notNumbers],
  ['username', notTexts],
  ['password', [5, null, true, {}, [], Buffer.from([0xff])]],
  ['tls', [5, 'yes', null, []]],
  ['tls.ca', [5, true, {}, 'no PEM']],
  ['tls.servername', [5, true, {}]],
  ['tls.rejectUnauthorized', [5, 'no', {}]],
  ['lazyConnect', [5, 'yes', null, {}]],
  ['connectTimeoutMs', [...notNumbers, 0]],
  ['connectRetries', notNumbers],
  ['commandTimeoutMs', [...notNumbers, 0]],
  ['reconnect', notObjects],
  ['reconnect.minDelayMs', [...notNumbers, 0]],
  ['reconnect.maxDelayMs', [...notNumbers, 0]],
  ['reconnect.maxAttempts', notNumbers.filter((value) => value !== Infinity)],
  ['keepAliveMs', [...notNumbers, 0, 32_767_001]],
  ['addressMap', [...notObjects, { 'h:1': 'h:2' }, new Map([['h:1', 'h:2']])]],
  ['maxPendingCommands', [...notNumbers, 0]],
  ['closeTimeoutMs', notNumbers],
  ['clientName', [...notTexts, 'two words', 'line\nbreak', 'ä']],
  ['namespace', notTexts],
];

/** `{ a: { b: value } }` for the path `a.b`. */
function at(path: string, value: unknown): object {
  return path.split('.').reduceRight<unknown>((inner, name) => ({ [name]: inner }), value) as object;
}

describe('a configuration', () => {
  checkLeaks();

  const cases = refused.flatMap(([option, values]) => values.map((value) => [option, value] as const));
  it.each(cases)('refuses %s: %o and names the option', (option, value) => {
    const { message } = refusal(() => new RedisConnectionManager(at(option, value) as never));
    expect(message).toContain(option.split('.').at(-1));
    expect(message).toMatch(/expected .+/);
  });

  it('says what was expected and what came', () => {
    expect(refusal(() => new RedisConnectionManager({ port: -5 })).message).toMatch(/port: expected .*1 to 65535.*-5/);
    expect(refusal(() => new RedisConnectionManager({ commandTimeoutMs: 1.5 })).message).toMatch(/commandTimeoutMs: expected .*1\.5/);
    expect(refusal(() => new RedisConnectionManager({ keepAliveMs: Number.NaN })).message).toMatch(/keepAliveMs: expected .*NaN/);
  });

  it('refuses options that do not exist, at every level, and names them', () => {
    expect(refusal(() => new RedisConnectionManager({ hots: 'x' } as never)).message).toContain('hots');
    expect(refusal(() => new RedisConnectionManager({ reconnect: { delay: 1 } } as never)).message).toContain('delay');
    expect(refusal(() => new RedisConnectionManager({ tls: { cacert: 'x' } } as never)).message).toContain('cacert');
    expect(refusal(() => createTestRedisConfig(5 as never)).message).toContain('overrides');
  });

  it('says how long a string is as JavaScript counts', () => {
    expect(refusal(() => new RedisConnectionManager({ port: '😀é' as never })).message).toMatch(/got a string of 3 characters/);
    expect(refusal(() => new RedisConnectionManager({ namespace: Buffer.from('shop') as never })).message).toMatch(/got a Uint8Array/);
  });

  it('names the option that a port in host belongs to', () => {
    expect(refusal(() => new RedisConnectionManager({ host: 'h:6379' })).message).toMatch(/host: expected .*RedisConfig\.port/);
  });

  it('refuses addresses that cannot be mapped, by name', () => {
    const url = 'redis+cluster://127.0.0.1:1';
    for (const map of [{ a: 'h:1' }, { 'a:1': 'h' }, { 'a:1': 5 }, { 'a:1': '' }, { ':1': 'h:1' }]) {
      expect(refusal(() => new RedisConnectionManager({ url, addressMap: map as never })).message).toMatch(/addressMap.*expected/);
    }
    expect(new RedisConnectionManager({ url, addressMap: { '10.0.0.1:7000': 'h:1', '[fd00::1]:7000': '[::1]:2' } }).state).toBe('idle');
  });

  it('refuses a URL where a host is expected, and does not repeat it', () => {
    const { message } = refusal(() => new RedisConnectionManager({ host: 'redis://:hunter2@localhost:6379' }));
    expect(message).toMatch(/RedisConfig\.host: expected .*RedisConfig\.url/);
    expect(message).not.toContain('hunter2');
  });

  it('refuses options that contradict each other', () => {
    refusal(() => new RedisConnectionManager({ url: 'redis://127.0.0.1', host: 'elsewhere' }));
    refusal(() => new RedisConnectionManager({ url: 'redis://127.0.0.1', port: 1 }));
    for (const url of ['memory://', 'memory://name']) {
      expect(refusal(() => new RedisConnectionManager({ url, host: 'elsewhere' })).message).toContain('host');
    }
    refusal(() => new RedisConnectionManager({ path: '/tmp/s', host: 'elsewhere' }));
    refusal(() => new RedisConnectionManager({ username: 'alice' }));
    refusal(() => new RedisConnectionManager({ reconnect: { minDelayMs: 100, maxDelayMs: 50 } }));
    refusal(() => new RedisConnectionManager({ tls: { cert: 'only the certificate' } }));
  });

  it.each([[5], [null], [true], [[]], [() => {}]])('that is no object and no URL is refused: %o', (value) => {
    refusal(() => new RedisConnectionManager(value as never));
  });

  it('rejects in makeRedisSuite as the constructor throws', async () => {
    await expect(makeRedisSuite('nonsense')).rejects.toMatchObject({ redisErrorKind: 'config' });
    await expect(makeRedisSuite({ port: -1 })).rejects.toMatchObject({ redisErrorKind: 'config' });
  });

  it('takes undefined for an option as not given', () => {
    const config = Object.fromEntries(
      ['url', 'host', 'port', 'db', 'password', 'tls', 'reconnect', 'namespace'].map((name) => [name, undefined]),
    );
    expect(new RedisConnectionManager(config).state).toBe('idle');
  });

  it('is not changed, and a later change of it changes nothing', async () => {
    const config = Object.freeze({ port: 6379, reconnect: Object.freeze({ minDelayMs: 1 }) });
    expect(new RedisConnectionManager(config).state).toBe('idle');
    expect(config).toEqual({ port: 6379, reconnect: { minDelayMs: 1 } });
  });
});

describe('redisConfigFromEnv', () => {
  it('is off where nothing says where Redis is, so that no service talks to a local server by accident', () => {
    for (const env of [{}, { REDIS_URL: '', REDIS_HOST: '' }, { REDIS_PORT: '7000', REDIS_PASSWORD: 'p' }]) {
      expect(redisConfigFromEnv(env)).toBeNull();
    }
    const { message } = refusal(() => redisConfigFromEnv({ REDIS_ENABLED: 'true', REDIS_PORT: '7000' }));
    expect(message).toMatch(/REDIS_ENABLED: expected REDIS_URL or REDIS_HOST/);
  });

  it.each([
    [{ REDIS_HOST: 'redis' }],
    [{ REDIS_HOST: 'redis.prod.svc' }],
    [{ REDIS_HOST: '10.0.0.1' }],
    [{ REDIS_HOST: '10.9.9.9', REDIS_SERVICE_HOST: '10.9.9.9' }],
  ])('understands the REDIS_PORT that a platform sets for a service: %o', (env) => {
    expect(redisConfigFromEnv({ ...env, REDIS_PORT: 'tcp://10.0.0.1:6380' })).toEqual({ host: env.REDIS_HOST, port: 6380 });
  });

  it('names what a platform has set where it is not for REDIS_HOST', () => {
    const { message } = refusal(() => redisConfigFromEnv({ REDIS_HOST: 'cache.example', REDIS_PORT: 'tcp://10.0.0.1:6380' }));
    expect(message).toMatch(/REDIS_PORT: expected .*Kubernetes/);
    expect(redisConfigFromEnv({ REDIS_URL: 'redis://h', REDIS_PORT: 'tcp://10.0.0.1:6380' })).toEqual({ url: 'redis://h' });
  });

  it('refuses an environment that is none', () => {
    for (const env of [new Map([['REDIS_URL', 'redis://h']]), new URL('redis://h'), [], 'REDIS_URL=redis://h', null]) {
      refusal(() => redisConfigFromEnv(env as never));
    }
    expect(refusal(() => redisConfigFromEnv({ REDIS_URL: 5 } as never)).message).toContain('REDIS_URL: expected a string');
  });

  it('reads every variable', () => {
    const env = { REDIS_HOST: 'h', REDIS_PORT: '7000', REDIS_DB: '3', REDIS_USERNAME: 'u', REDIS_PASSWORD: 'p', REDIS_TLS: 'true' };
    expect(redisConfigFromEnv(env)).toEqual({ host: 'h', port: 7000, db: 3, username: 'u', password: 'p', tls: true });
  });

  it('prefers the URL to host and port', () => {
    expect(redisConfigFromEnv({ REDIS_URL: 'redis://h:1', REDIS_HOST: 'other', REDIS_PORT: '2' })).toEqual({ url: 'redis://h:1' });
  });

  it.each(['false', 'FALSE', '0', 'no', 'off'])('gives null for REDIS_ENABLED=%s, whatever the URL', (value) => {
    expect(redisConfigFromEnv({ REDIS_ENABLED: value, REDIS_URL: 'redis://h' })).toBeNull();
  });

  it.each(['true', '1', 'yes', 'on', ''])('is enabled for REDIS_ENABLED=%s', (value) => {
    expect(redisConfigFromEnv({ REDIS_ENABLED: value, REDIS_URL: 'redis://h' })).toEqual({ url: 'redis://h' });
  });

  it.each([
    ['REDIS_ENABLED', 'perhaps'],
    ['REDIS_PORT', 'abc'],
    ['REDIS_PORT', '-1'],
    ['REDIS_PORT', '70000'],
    ['REDIS_PORT', '63.79'],
    ['REDIS_PORT', '0x18eb'],
    ['REDIS_DB', 'first'],
    ['REDIS_DB', '-1'],
    ['REDIS_TLS', 'maybe'],
  ])('refuses %s=%s and names the variable', (name, value) => {
    expect(refusal(() => redisConfigFromEnv({ REDIS_HOST: 'h', [name]: value })).message).toContain(name);
  });

  it('makes of any environment a configuration or an error that names a variable and repeats no value', () => {
    const names = ['ENABLED', 'URL', 'HOST', 'PORT', 'DB', 'USERNAME', 'PASSWORD', 'TLS'].map((name) => `REDIS_${name}`);
    const text = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.nat(70_000).map(String),
      fc.constantFrom('true', 'off', '0', 'hunter2', 'redis://u:hunter2@h/1', 'redis+sentinel://h:hunter2', '1hunter2'),
    );
    const read = (env: Record<string, string>) => {
      const config = redisConfigFromEnv(env);
      // Opens nothing: managers connect at their first use.
      if (config !== null) new RedisConnectionManager(config);
    };
    fc.assert(
      fc.property(fc.dictionary(fc.constantFrom(...names), text, { noNullPrototype: true }), (env) => {
        try {
          read(env);
        } catch {
          const { message } = refusal(() => read(env));
          expect(message).toMatch(/^(RedisConfig\.\w+|REDIS_\w+): expected /);
          expect(message).not.toContain('hunter2');
        }
      }),
    );
  });

  it('reads process.env by default', () => {
    const before = process.env.REDIS_ENABLED;
    process.env.REDIS_ENABLED = 'false';
    try {
      expect(redisConfigFromEnv()).toBeNull();
    } finally {
      if (before === undefined) delete process.env.REDIS_ENABLED;
      else process.env.REDIS_ENABLED = before;
    }
  });
});

describe('configurations for tests', () => {
  it('have a namespace of their own at each call', () => {
    const namespaces = new Set(Array.from({ length: 100 }, () => createTestRedisConfig().namespace));
    expect(namespaces.size).toBe(100);
    expect(namespaces).not.toContain(REDIS_TEST_CONFIG.namespace);
  });

  it('let overrides win, and name no other server beside one', () => {
    expect(createTestRedisConfig({ namespace: 'mine', db: 2 })).toMatchObject({ namespace: 'mine', db: 2 });
    expect(createTestRedisConfig({ host: 'h' }).url).toBeUndefined();
  });

  it('take what is undefined for not given', () => {
    const undecided: object = { url: undefined, namespace: undefined, connectTimeoutMs: undefined };
    const config = createTestRedisConfig(undecided);
    expect(config).toMatchObject({ url: createTestRedisConfig().url, namespace: expect.stringMatching(/^test-/), connectTimeoutMs: 5_000 });
  });
});

describe('every way to name a server', () => {
  let plain: RedisServer;
  let secure: RedisServer;
  beforeAll(async () => {
    plain = await RedisServer.start({ unixSocket: true, acl: ['alice on >p%ss ~* &* +@all'] });
    secure = await RedisServer.start({ tls: 'mutual' });
  });
  afterAll(() => Promise.all([plain[Symbol.asyncDispose](), secure[Symbol.asyncDispose]()]));
  checkLeaks({ server: () => plain });

  /** Connects with `config` and gives what the server knows of the connection. */
  async function connected(config: ConstructorParameters<typeof RedisConnectionManager>[0]): Promise<Record<string, string>> {
    const manager = new RedisConnectionManager(config);
    const info = await manager.command<string>('CLIENT', 'INFO');
    await manager.disconnect();
    return Object.fromEntries(
      info
        .trim()
        .split(' ')
        .map((field) => field.split('=') as [string, string]),
    );
  }

  it('reaches it: host and port, with the default name', async () => {
    expect(await connected({ host: 'localhost', port: plain.port })).toMatchObject({ db: '0', user: 'default', name: 'redis-backplane' });
  });

  it('reaches it: a URL with user, password and database', async () => {
    expect(await connected(`redis://alice:p%25ss@127.0.0.1:${plain.port}/5`)).toMatchObject({ db: '5', user: 'alice' });
  });

  it('reaches it: options beside a URL win over those in it', async () => {
    const url = `redis://default:wrong@127.0.0.1:${plain.port}/5`;
    expect(await connected({ url, username: 'alice', password: 'p%ss', db: 2, clientName: 'app' })).toMatchObject({
      db: '2',
      user: 'alice',
      name: 'app',
    });
  });

  it('reaches it: a Unix socket, as path and as URL', async () => {
    expect(await connected({ path: plain.socketPath, db: 1 })).toMatchObject({ db: '1', flags: expect.stringContaining('U') });
    expect(await connected(`redis+unix://${plain.socketPath}`)).toMatchObject({ flags: expect.stringContaining('U') });
  });

  it('reaches it: a password function, asked again at every connection', async () => {
    let asked = 0;
    const manager = new RedisConnectionManager({
      port: plain.port,
      username: 'alice',
      password: () => {
        asked += 1;
        return Promise.resolve('p%ss');
      },
    });
    await manager.connect();
    await manager.disconnect();
    await manager.connect();
    expect(await manager.command('ACL', 'WHOAMI')).toBe('alice');
    await manager.disconnect();
    expect(asked).toBe(2);
  });

  it('reaches it: a URL object, alone and as option, and of memory', async () => {
    const url = new URL(`redis://alice:p%25ss@127.0.0.1:${plain.port}/5`);
    expect(await connected(url)).toMatchObject({ db: '5', user: 'alice' });
    expect(await connected({ url, db: 2 })).toMatchObject({ db: '2', user: 'alice' });
    const memory = new RedisConnectionManager(new URL('memory://by-url'));
    expect(await memory.command('PING')).toBe('PONG');
    await memory.disconnect();
  });

  it('reaches it: a configuration with getters, inherited, and with a password that is not enumerable', async () => {
    class Config {
      get port() {
        return plain.port;
      }
      get username() {
        return 'alice';
      }
      get password() {
        return 'p%ss';
      }
      describe() {
        return 'no option';
      }
    }
    expect(await connected(new Config())).toMatchObject({ user: 'alice' });
    expect(await connected(Object.create({ port: plain.port, clientName: 'heir' }))).toMatchObject({ name: 'heir' });
    const hidden = Object.defineProperty({ port: plain.port, username: 'alice' }, 'password', { value: 'p%ss' });
    expect(await connected(hidden)).toMatchObject({ user: 'alice' });
  });

  it('reaches it: a password given as bytes, fixed and by a function', async () => {
    const password = Buffer.from('p%ss');
    expect(await connected({ port: plain.port, username: 'alice', password })).toMatchObject({ user: 'alice' });
    expect(await connected({ port: plain.port, username: 'alice', password: () => password })).toMatchObject({ user: 'alice' });
    const refusedBytes = connected({ port: plain.port, username: 'alice', password: () => Buffer.from([0xff]) });
    await expect(refusedBytes).rejects.toMatchObject({ redisErrorKind: 'auth', message: expect.stringContaining('UTF-8') });
  });

  it('reaches it: an IPv6 address in brackets', async () => {
    const manager = new RedisConnectionManager({ host: '[::1]', port: 1, connectTimeoutMs: 1_000 });
    await expect(manager.connect()).rejects.toMatchObject({ message: expect.stringMatching(/^cannot connect to \[::1\]:1/) });
    await manager.disconnect();
  });

  it('reaches it: TLS with a certificate of its own, as text and as buffers, by option and by URL', async () => {
    const { ca, client } = await certificates();
    const texts = { ca: ca.cert, cert: client.cert, key: client.key };
    const buffers = { ca: Buffer.from(ca.cert), cert: Buffer.from(client.cert), key: Buffer.from(client.key) };
    await connected({ host: 'localhost', port: secure.port, tls: texts });
    await connected({ host: '127.0.0.1', port: secure.port, tls: buffers });
    await connected({ url: `rediss://localhost:${secure.port}`, tls: texts });
  });

  it('reaches it: a certificate that nobody vouches for, when the user says so', async () => {
    const { client } = await certificates();
    await connected({ host: 'localhost', port: secure.port, tls: { cert: client.cert, key: client.key, rejectUnauthorized: false } });
  });

  it('connects in the constructor when it is not lazy, and not before the first use when it is', async () => {
    const lazy = new RedisConnectionManager({ port: plain.port });
    expect(lazy.state).toBe('idle');
    const eager = new RedisConnectionManager({ port: plain.port, lazyConnect: false });
    await until(() => eager.isConnected(), { what: 'the connection that nobody asked for' });
    expect(await plain.clients()).toHaveLength(1);
    await Promise.all([lazy.disconnect(), eager.disconnect()]);
  });
});

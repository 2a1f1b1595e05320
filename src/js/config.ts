/** The configuration of a connection to Redis. Rust checks the values, and its errors name the option. */

import { objectOf } from './arguments.js';
import { configError, RedisError } from './errors.js';

/** Returns the password for one connection. */
export type PasswordFunction = () => string | Uint8Array | Promise<string | Uint8Array>;

/** TLS options. Certificates and keys are PEM. */
export interface RedisTlsConfig {
  /**
   * Certificate authorities to trust instead of the public ones; a text may hold several. A server's own certificate may be one.
   * Default: Mozilla's authorities, and the authorities in the file that `NODE_EXTRA_CA_CERTS` names.
   */
  ca?: string | Buffer | (string | Buffer)[] | undefined;
  /** The client's certificate, for mutual TLS; with `key`. */
  cert?: string | Buffer | undefined;
  /** The private key of `cert`: PKCS #8, encrypted or not, PKCS #1 or SEC 1. */
  key?: string | Buffer | undefined;
  /** The passphrase of `key`, if `key` is encrypted. */
  passphrase?: string | Uint8Array | undefined;
  /** The name that the server's certificate must have. Default: the host. */
  servername?: string | undefined;
  /** `false` accepts any certificate, so anybody between this process and the server can read and change everything. Default true. */
  rejectUnauthorized?: boolean | undefined;
}

/** How a lost connection is restored: exponential backoff with full jitter. */
export interface RedisReconnectConfig {
  /** The bound of the first delay, in milliseconds, at least 1. Default 50. */
  minDelayMs?: number | undefined;
  /** The bound of every delay, in milliseconds, at least `minDelayMs`. Default 2 000. */
  maxDelayMs?: number | undefined;
  /** Attempts before the state becomes `failed`. Default: endless. */
  maxAttempts?: number | undefined;
}

/** The configuration of a {@link RedisConnectionManager}. Unknown names are refused. */
export interface RedisConfig {
  /**
   * `redis://`, `rediss://`, `redis+unix://`, `redis+sentinel://`, `redis+cluster://` or `memory://name`. Excludes `host`, `port` and `path`; other
   * options win over the URL. An empty part, as a template with an unset variable leaves it, is refused.
   */
  url?: string | URL | undefined;
  /** A name or an address, without the port; an IPv6 address may be in brackets. Default `127.0.0.1`. */
  host?: string | undefined;
  /** Default 6379. */
  port?: number | undefined;
  /** The path of a Unix socket, at most 107 bytes (103 on macOS); excludes `host` and `port`. */
  path?: string | undefined;
  /** The database, from 0. Default 0. */
  db?: number | undefined;
  /** The ACL user; needs `password`. */
  username?: string | undefined;
  /** Bytes are UTF-8. A function is called at every new connection, so a rotated password needs no restart. */
  password?: string | Uint8Array | PasswordFunction | undefined;
  /** The ACL user at the sentinels, with `sentinelPassword`; `username` and `password` are for the Redis servers themselves. */
  sentinelUsername?: string | undefined;
  /** The password at the sentinels. Default: they are asked without credentials. */
  sentinelPassword?: string | Uint8Array | undefined;
  /**
   * Replacements for addresses that a cluster or sentinels announce but this process cannot reach, behind NAT, Docker or a tunnel: `{ '10.0.0.1:7000':
   * 'redis.example:17000' }`. Each name and each value is a host and a port; an IPv6 address is in brackets. The map applies to nodes, masters and
   * sentinels, and to the addresses of the URL too. An address that is not in the map is used as announced. TLS expects the replacement host in the
   * certificate, unless `tls.servername` is given.
   */
  addressMap?: Record<string, string> | undefined;
  /** Default false, or true for `rediss://`. */
  tls?: boolean | RedisTlsConfig | undefined;
  /** `true`: the constructor does no I/O and the first use connects. Default true. */
  lazyConnect?: boolean | undefined;
  /** Milliseconds for one attempt to connect: name lookup, TCP, TLS, password and handshake together. Default 10 000. */
  connectTimeoutMs?: number | undefined;
  /** Further attempts of the first connect. Default 0: the first failure rejects. A connection that was up is restored endlessly; see `reconnect`. */
  connectRetries?: number | undefined;
  /** Milliseconds for a command, from the call to the answer, waiting for a reconnect included. Default 5 000. */
  commandTimeoutMs?: number | undefined;
  /** How a lost connection is restored. */
  reconnect?: RedisReconnectConfig | undefined;
  /** Milliseconds from 10 to 32 767 000, the most that the kernel takes. A dead peer is noticed within twice this time. Default 10 000. */
  keepAliveMs?: number | undefined;
  /** The most commands that may wait. A further command is refused with kind `overloaded`. Default 100 000. */
  maxPendingCommands?: number | undefined;
  /** The most bytes of waiting commands, from 1 024. Default 256 MiB. */
  maxPendingBytes?: number | undefined;
  /**
   * The bound of one reply, in bytes from 65 536 to 1 TiB: its bytes on the wire, and 40 for each element of an array. A longer reply is skipped: its
   * caller's promise rejects with kind `serialization` and delivery `maybe-executed`; other calls get their answers. A reply that takes longer than
   * `commandTimeoutMs` costs the connection. A longer message of a subscription is dropped and counted, and the bus emits `slow`. Default 1 GiB;
   * Redis holds no string longer than 512 MiB in its defaults.
   */
  maxReplyBytes?: number | undefined;
  /** Milliseconds that `disconnect()` waits for answers. Default 5 000. */
  closeTimeoutMs?: number | undefined;
  /** The connection's name in `CLIENT LIST`: printable ASCII without spaces. Default `redis-backplane`. */
  clientName?: string | undefined;
  /** The prefix of every key and topic of everything that is built on this manager; a colon follows it. Default: none. */
  namespace?: string | undefined;
}

/** A configuration whose URL is a string. */
export type ReadConfig = Omit<RedisConfig, 'url'> & { url?: string };

/** Reads a configuration or a URL. Rust checks the options. */
export function readConfig(name: string, given: RedisConfig | string | URL): ReadConfig {
  if (typeof given === 'string') return { url: given };
  if (isUrl(given)) return { url: given.href };
  if (typeof given !== 'object' || given === null || Array.isArray(given)) throw configError(name, 'a RedisConfig or a URL', given);
  const config = objectOf(name, given);
  const { url } = config;
  if (!isUrl(url)) return config as ReadConfig;
  // A copy of all properties, including those that are not enumerable.
  const all: RedisConfig = Object.defineProperties({}, Object.getOwnPropertyDescriptors(config));
  return Object.defineProperty(all, 'url', { value: url.href, enumerable: true }) as ReadConfig;
}

/** Is `value` a URL of any VM context? Jest's VM contexts have their own class `URL`. */
export function isUrl(value: unknown): value is URL {
  return Object.prototype.toString.call(value) === '[object URL]' && typeof (value as URL).href === 'string';
}

/** Environment variables, such as `process.env`. */
type Environment = Record<string, string | undefined>;

/**
 * The configuration from the environment: `REDIS_ENABLED`, `REDIS_URL`, `REDIS_HOST`, `REDIS_PORT`, `REDIS_DB`, `REDIS_USERNAME`,
 * `REDIS_PASSWORD`, `REDIS_TLS`. `REDIS_URL` wins over host and port; user, password and database win over those in the URL.
 * An empty variable counts as not set.
 *
 * Returns `null` (Redis is off) if `REDIS_ENABLED` is false; also if `REDIS_ENABLED`, `REDIS_URL` and `REDIS_HOST` are all not set.
 *
 * A `REDIS_PORT` such as `tcp://10.0.0.1:6379`, which Kubernetes and Docker set for a service named `redis`, is accepted if
 * `REDIS_HOST` is that service: `redis`, `redis.…`, its address, or the value of `REDIS_SERVICE_HOST`.
 *
 * @param env Default `process.env`.
 * @throws RedisError of kind `config` for an invalid value, naming the variable, and for `REDIS_ENABLED=true` without an address.
 */
export function redisConfigFromEnv(env: Environment = process.env): RedisConfig | null {
  const variables = env === process.env ? env : objectOf('redisConfigFromEnv: env', env);
  const get = (name: string): string | undefined => textOf(name, variables[name]);
  const enabled = flag('REDIS_ENABLED', get('REDIS_ENABLED'));
  if (enabled === false) return null;
  const config: RedisConfig = {};
  const [url, host] = [get('REDIS_URL'), get('REDIS_HOST')];
  if (url !== undefined) {
    config.url = url;
  } else if (host !== undefined) {
    config.host = host;
    const port = portOf(get('REDIS_PORT'), host, get('REDIS_SERVICE_HOST'));
    if (port !== undefined) config.port = port;
  } else if (enabled) {
    throw new RedisError('config', 'REDIS_ENABLED: expected REDIS_URL or REDIS_HOST as well, because it is true, got neither');
  } else {
    return null;
  }
  const db = whole('REDIS_DB', get('REDIS_DB'), 0, 1_000_000);
  if (db !== undefined) config.db = db;
  const username = get('REDIS_USERNAME');
  if (username !== undefined) config.username = username;
  const password = get('REDIS_PASSWORD');
  if (password !== undefined) config.password = password;
  const tls = flag('REDIS_TLS', get('REDIS_TLS'));
  // With a URL the scheme decides, and only `REDIS_TLS=true` adds something.
  if (tls !== undefined && (tls || url === undefined)) config.tls = tls;
  return config;
}

function textOf(name: string, value: unknown): string | undefined {
  if (value === undefined || value === '') return undefined;
  if (typeof value !== 'string') throw configError(name, 'a string', value);
  return value;
}

/** The port. If the platform has put the address of a service into the variable, and `host` is that service: the port of the address. */
function portOf(text: string | undefined, host: string, serviceHost: string | undefined): number | undefined {
  const link = /^tcp:\/\/(.+):(\d+)$/.exec(text ?? '');
  if (link === null) return whole('REDIS_PORT', text, 1, 65_535);
  const [, address, port] = link;
  const isService = host === address || host === serviceHost || /^redis(\.|$)/i.test(host);
  if (isService) return whole('REDIS_PORT', port, 1, 65_535);
  throw new RedisError(
    'config',
    'REDIS_PORT: expected a whole number from 1 to 65535, got the address of another server than REDIS_HOST, as Kubernetes and Docker ' +
      'set it for a service named redis: set REDIS_PORT, or REDIS_URL, or enableServiceLinks: false',
  );
}

function flag(name: string, text: string | undefined): boolean | undefined {
  if (text === undefined) return undefined;
  if (/^(true|1|yes|on)$/i.test(text)) return true;
  if (/^(false|0|no|off)$/i.test(text)) return false;
  throw configError(name, 'true or false', text);
}

function whole(name: string, text: string | undefined, least: number, most: number): number | undefined {
  if (text === undefined) return undefined;
  const number = Number(text);
  if (/^\d+$/.test(text) && number >= least && number <= most) return number;
  throw configError(name, `a whole number from ${least} to ${most}`, text);
}

let made = 0;
const process_ = `${process.pid.toString(36)}-${Date.now().toString(36)}`;

/** A configuration for tests: {@link createTestRedisConfig} without overrides, made once for this process. */
export const REDIS_TEST_CONFIG: RedisConfig = createTestRedisConfig();

/**
 * A configuration for a test. Each call gives another namespace, so that tests can run side by side. The server is that of `REDIS_TEST_URL`; if this
 * variable is not set, the engine inside this process, `memory://redis-backplane-tests`.
 *
 * @param overrides Options that win over this function's own.
 */
export function createTestRedisConfig(overrides: RedisConfig = {}): RedisConfig {
  const own = objectOf('createTestRedisConfig: overrides', overrides);
  made += 1;
  const namespace = `test-${process_}-${made}`;
  const elsewhere = own.url !== undefined || own.host !== undefined || own.port !== undefined || own.path !== undefined;
  const server: RedisConfig = elsewhere ? {} : { url: process.env.REDIS_TEST_URL || 'memory://redis-backplane-tests' };
  // An override that is `undefined` counts as not given.
  const given: RedisConfig = Object.fromEntries(Object.entries(own).filter(([, value]) => value !== undefined));
  return { ...server, namespace, connectTimeoutMs: 5_000, ...given };
}

/** The error of a call that needs Redis while Redis is switched off. */
export function disabledError(): RedisError {
  return new RedisError('disabled', 'Redis is switched off: REDIS_ENABLED is false, or neither REDIS_URL nor REDIS_HOST is set');
}

/** Where Redis is and how to talk to it. Values are checked in Rust, once, by name. */

import { configError, RedisError } from './errors.js';

/** TLS options. Certificates and keys are PEM. */
export interface RedisTlsConfig {
  /**
   * Certificate authorities to trust instead of the public ones; a text may hold several. A server's own certificate is one too.
   * Default: Mozilla's, and those in the file that `NODE_EXTRA_CA_CERTS` names.
   */
  ca?: string | Buffer | (string | Buffer)[] | undefined;
  /** The client's certificate, for mutual TLS; with `key`. */
  cert?: string | Buffer | undefined;
  /** The private key of `cert`: PKCS #8, encrypted or not, PKCS #1 or SEC 1. */
  key?: string | Buffer | undefined;
  /** The passphrase of `key`, where `key` is encrypted. */
  passphrase?: string | undefined;
  /** The name to expect in the server's certificate. Default: the host. */
  servername?: string | undefined;
  /** `false` accepts any certificate, so anybody between here and the server can read along. Default true. */
  rejectUnauthorized?: boolean | undefined;
}

/** How a lost connection is restored: exponential backoff with full jitter. */
export interface RedisReconnectConfig {
  /** Milliseconds, at least 1. Default 50. */
  minDelayMs?: number | undefined;
  /** Milliseconds, at least `minDelayMs`. Default 2 000. */
  maxDelayMs?: number | undefined;
  /** Attempts before the state becomes `failed`. Default: endless. */
  maxAttempts?: number | undefined;
}

/** The configuration of a {@link RedisConnectionManager}. Unknown names are refused. */
export interface RedisConfig {
  /**
   * `redis://`, `rediss://`, `redis+unix://`, `redis+sentinel://`, `redis+cluster://` or `memory://name`. Excludes `host`, `port`
   * and `path`; what else is given here wins over what the URL says.
   */
  url?: string | undefined;
  /** Default `127.0.0.1`. */
  host?: string | undefined;
  /** Default 6379. */
  port?: number | undefined;
  /** The path of a Unix socket; excludes `host` and `port`. */
  path?: string | undefined;
  /** The database, from 0. Default 0. */
  db?: number | undefined;
  /** The ACL user; needs `password`. */
  username?: string | undefined;
  /** A function is asked again at every new connection, so a rotated password needs no restart. */
  password?: string | (() => string | Promise<string>) | undefined;
  /** The ACL user at the sentinels, with `sentinelPassword`; `username` and `password` are for the servers they watch over. */
  sentinelUsername?: string | undefined;
  /** The password at the sentinels. Default: they are asked without credentials. */
  sentinelPassword?: string | undefined;
  /** Default false, or true for `rediss://`. */
  tls?: boolean | RedisTlsConfig | undefined;
  /** `true`: the constructor does no I/O and the first use connects. Default true. */
  lazyConnect?: boolean | undefined;
  /** Milliseconds for one attempt: name, TCP, TLS, handshake, password. Default 10 000. */
  connectTimeoutMs?: number | undefined;
  /** Further attempts of the first connect. Default 0: it fails fast. A connection that was up is restored endlessly. */
  connectRetries?: number | undefined;
  /** Milliseconds for a command, from the call to the answer, waiting for a reconnect included. Default 5 000. */
  commandTimeoutMs?: number | undefined;
  /** How a lost connection is restored. */
  reconnect?: RedisReconnectConfig | undefined;
  /** Milliseconds, at least 10. A dead peer is noticed within twice this. Default 10 000. */
  keepAliveMs?: number | undefined;
  /** Commands that may wait; one more is refused with kind `overloaded`. Default 100 000. */
  maxPendingCommands?: number | undefined;
  /** Bytes of commands that may wait, from 1 024. Default 256 MiB. */
  maxPendingBytes?: number | undefined;
  /**
   * What one reply may take, in bytes from 65 536 to 1 TiB: its bytes on the wire, and 40 for each element of an array. A longer one is
   * read past and kept nowhere: its caller's promise rejects with kind `serialization` and delivery `maybe-executed`, its neighbours'
   * get their answers. One that goes on for longer than `commandTimeoutMs` costs the connection. A longer message of a subscription is
   * dropped, counted, and told by the bus' event `slow`. Default 1 GiB; Redis holds no string longer than 512 MiB unless it is told to.
   */
  maxReplyBytes?: number | undefined;
  /** Milliseconds that `disconnect()` waits for answers. Default 5 000. */
  closeTimeoutMs?: number | undefined;
  /** The connection's name in `CLIENT LIST`: printable ASCII without spaces. Default `redis-backplane`. */
  clientName?: string | undefined;
  /** Prefix of every key and topic of everything built on this manager; a colon follows it. */
  namespace?: string | undefined;
}

type Environment = Record<string, string | undefined>;

/**
 * The configuration that the environment gives: `REDIS_ENABLED`, `REDIS_URL`, `REDIS_HOST`, `REDIS_PORT`, `REDIS_DB`,
 * `REDIS_USERNAME`, `REDIS_PASSWORD`, `REDIS_TLS`. `null` when `REDIS_ENABLED` is false, whatever else is set. `REDIS_URL` wins over
 * host and port; user, password and database beside a URL win over those in it. An empty variable counts as not set.
 *
 * @param env Default `process.env`.
 * @throws RedisError of kind `config` for a value that is none, naming the variable.
 */
export function redisConfigFromEnv(env: Environment = process.env): RedisConfig | null {
  const get = (name: string): string | undefined => env[name] || undefined;
  if (flag('REDIS_ENABLED', get('REDIS_ENABLED')) === false) return null;
  const config: RedisConfig = {};
  const url = get('REDIS_URL');
  if (url !== undefined) {
    config.url = url;
  } else {
    const host = get('REDIS_HOST');
    if (host !== undefined) config.host = host;
    const port = whole('REDIS_PORT', get('REDIS_PORT'), 1, 65_535);
    if (port !== undefined) config.port = port;
  }
  const db = whole('REDIS_DB', get('REDIS_DB'), 0, 1_000_000);
  if (db !== undefined) config.db = db;
  const username = get('REDIS_USERNAME');
  if (username !== undefined) config.username = username;
  const password = get('REDIS_PASSWORD');
  if (password !== undefined) config.password = password;
  const tls = flag('REDIS_TLS', get('REDIS_TLS'));
  // Beside a URL only a yes says something: the scheme says the rest.
  if (tls !== undefined && (tls || url === undefined)) config.tls = tls;
  return config;
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
 * A configuration for a test, with a namespace of its own at each call, so that tests can run side by side. The server is that of
 * `REDIS_TEST_URL`, else the engine inside this process, `memory://redis-backplane-tests`.
 *
 * @param overrides Win over what this function chooses.
 */
export function createTestRedisConfig(overrides: RedisConfig = {}): RedisConfig {
  if (typeof overrides !== 'object' || overrides === null) {
    throw configError('createTestRedisConfig: overrides', 'a RedisConfig', overrides);
  }
  made += 1;
  const namespace = `test-${process_}-${made}`;
  const elsewhere =
    overrides.url !== undefined || overrides.host !== undefined || overrides.port !== undefined || overrides.path !== undefined;
  const server: RedisConfig = elsewhere ? {} : { url: process.env.REDIS_TEST_URL || 'memory://redis-backplane-tests' };
  // What is undefined is not given.
  const given: RedisConfig = Object.fromEntries(Object.entries(overrides).filter(([, value]) => value !== undefined));
  return { ...server, namespace, connectTimeoutMs: 5_000, ...given };
}

/** The error of someone who needs Redis while it is switched off. */
export function disabledError(): RedisError {
  return new RedisError('disabled', 'Redis is switched off: REDIS_ENABLED is false');
}

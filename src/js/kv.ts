/** The KV store. */

import { checkFunction, checkNumber, checkTtl, json, MAX_MS, objectOf, optionsOf, refuseUnknown } from './arguments.js';
import { Cache } from './cache.js';
import { checkMade, keep } from './copies.js';
import type { Endpoint } from './diagnostics.js';
import { configError, RedisError } from './errors.js';
import type { NumberingTarget } from './internals.js';
import { internals } from './internals.js';
import { type Lock, type LockOptions, takeLock } from './lock.js';
import { verbs } from './native.js';
import type { Port } from './port.js';
import type { IRedisConnection } from './ports.js';
import { type UpdateOptions, Updates } from './update.js';

/** Options of a {@link KVStore}. Unknown names are refused. */
export interface KVStoreOptions {
  /**
   * A prefix of every key of this store, inside the manager's namespace; a colon follows each of the two. At most 512 bytes without
   * control characters, not beginning with `~`. Default: none.
   */
  namespace?: string | undefined;
}

/** Options of {@link KVStore.scan}. */
export interface ScanOptions {
  /** A glob pattern of Redis (`*`, `?`, `[a-z]`, `\` before a literal character) for keys without the namespace. Default: every key. */
  match?: string | undefined;
}

/** Options of {@link KVStore.getOrSet}. */
export interface GetOrSetOptions {
  /** Seconds for which a loaded value is fresh; fractions allowed, above 0. */
  ttlSec: number;
  /** Further seconds, from 0, for which the old value is still returned while a new one is loaded in the background. Default 0. */
  staleSec?: number | undefined;
  /**
   * How long to wait, in milliseconds from 0, for a value that another caller loads, in this process or another, or for a server that does not answer
   * (but at least 250 ms, at most `commandTimeoutMs` for each answer). After that kind `timeout`. Default 30 000. 0: do not wait for another caller's
   * load.
   */
  waitMs?: number | undefined;
  /**
   * How long `load` may take, in milliseconds from 1. After that its callers get kind `timeout`, its result is dropped, and other callers may load.
   * Default: `waitMs`, but at least 3 000.
   */
  loadTimeoutMs?: number | undefined;
}

const V = verbs(
  'kv',
  'get',
  'set',
  'setIfAbsent',
  'getBuffer',
  'setBuffer',
  'del',
  'has',
  'mget',
  'mset',
  'incr',
  'decr',
  'cas',
  'getDel',
  'getSet',
  'ttl',
  'expire',
  'persist',
  'scan',
  'clear',
  'lpushRecent',
  'getRecent',
  'cacheGet',
  'cacheSet',
  'read',
  'casRaw',
);
/** The names of the verbs, which are those of the public methods, by number. */
const METHODS = new Map(Object.entries(V).map(([name, verb]) => [verb, name]));

const DEFAULT_WAIT_MS = 30_000;
/** The smallest default of `loadTimeoutMs`: the lease of the right to load. */
const LEAST_LOAD_MS = 3_000;

/** The private state of a store; reached by {@link internals}. */
class StoreInternals implements NumberingTarget {
  readonly port: Port;
  readonly handle: number;
  readonly endpoint: Endpoint;
  readonly manager: IRedisConnection;
  readonly updates: Updates<{ text: string | null }, true>;
  readonly cache: Cache;
  readonly #namespace: string;
  #lastId = 0;

  constructor(manager: IRedisConnection, options: KVStoreOptions) {
    const { port, handle, endpoint } = manager[internals];
    this.port = port;
    this.handle = port.open('kv', handle, options, this);
    this.endpoint = endpoint;
    this.manager = manager;
    this.updates = new Updates({
      method: 'KVStore.update',
      createsMissing: true,
      read: async (key, attempt) => ({ text: (await port.call(this.handle, V.read, key, attempt)) as string | null }),
      write: (key, { text }, next, expiry) => port.call(this.handle, V.casRaw, key, text, next, expiry) as Promise<true | false>,
    });
    this.#namespace = options.namespace ?? '';
    this.cache = new Cache(this, manager);
  }

  nextId(): number {
    this.#lastId++;
    return this.#lastId;
  }

  /**
   * A name for `key` that is unique among all stores of the manager. The line feed separates the two parts, because a namespace has no control
   * characters. Rust refuses a key that is not a string.
   */
  nameOf(key: unknown): string {
    return typeof key === 'string' ? `${this.#namespace}\n${key}` : '';
  }
}

/**
 * Values by key, stored as `JSON.stringify` writes them, so other programs can read them. The key in Redis is the manager's namespace, the store's
 * and `key`, one after another (without a namespace, `foo` is key `foo`).
 *
 * Of every method:
 *
 * - A key is a string of 1 byte to 1 MiB. `~` at its start or after a colon is refused: such keys are this package's own.
 * - `undefined`, a function, a symbol, a BigInt, `NaN`, an infinity and an object that contains itself are refused with kind
 *   `serialization` before anything is sent. Inside an object or an array JSON's own rules hold: `undefined` and functions are left
 *   out (`null` in an array), `NaN` and infinities become `null`.
 * - Stored text that is not JSON is returned as a string. Stored bytes that are not UTF-8 are refused with kind `serialization`:
 *   see {@link getBuffer}.
 * - `ttlSec` is in seconds, fractions allowed (exact to 1 ms, at least 1 ms), above 0 and up to 9 007 199 254 740.
 * - A bad argument rejects with kind `config`, naming it; a key that holds another type with kind `server`, `serverCode` `WRONGTYPE`;
 *   and any call with `connection`, `timeout`, `closed` or `overloaded`, whose `delivery` says whether the server may have acted.
 *
 * @example
 * const kv = new KVStore(manager);
 * await kv.set('user:7', { name: 'Ann' }, 3_600);
 * const user = await kv.get<{ name: string }>('user:7');
 */
export class KVStore {
  /** @internal */
  declare readonly [internals]: StoreInternals;

  /**
   * Opens nothing: one manager serves any number of stores, and they need no closing.
   *
   * @throws RedisError of kind `config`, naming the option.
   */
  constructor(manager: IRedisConnection, options?: KVStoreOptions) {
    checkMade('KVStore: manager', 'RedisConnectionManager', manager);
    keep(this, 'KVStore', new StoreInternals(manager, optionsOf('KVStore: options', options)));
  }

  /** The value of `key`, or `null` if there is none. */
  get<T = unknown>(key: string): Promise<T | null> {
    return call<T | null>(this, V.get, key);
  }

  /** Sets a value and its expiry. Without `ttlSec` the value has no expiry, and an earlier one is removed. */
  set<T>(key: string, value: T, ttlSec?: number): Promise<void> {
    return write<void>(this, V.set, key, value, ttlSec);
  }

  /** Sets a value if there is none. Atomic. `false`: there was a value, and nothing was changed. */
  setIfAbsent<T>(key: string, value: T, ttlSec?: number): Promise<boolean> {
    return write<boolean>(this, V.setIfAbsent, key, value, ttlSec);
  }

  /** The bytes of `key` as they are stored, or `null` if there is none. */
  getBuffer(key: string): Promise<Buffer | null> {
    return call<Buffer | null>(this, V.getBuffer, key);
  }

  /** Stores bytes as they are, and their expiry. Read them with {@link getBuffer}. */
  setBuffer(key: string, value: Uint8Array, ttlSec?: number): Promise<void> {
    return call<void>(this, V.setBuffer, key, value, ttlSec);
  }

  /** Deletes keys and returns how many existed. Without keys it does nothing and returns 0. */
  del(...keys: string[]): Promise<number> {
    return callWithKeys<number>(this, V.del, keys);
  }

  /** Is there a value, of any type? */
  has(key: string): Promise<boolean> {
    return call<boolean>(this, V.has, key);
  }

  /** The values of `keys` in their order, all read at one moment; `null` for an absent value and for a value of another type. */
  mget<T = unknown>(keys: string[]): Promise<(T | null)[]> {
    if (!Array.isArray(keys)) return Promise.reject(configError('KVStore.mget: keys', 'an array of strings', keys));
    return callWithKeys<(T | null)[]>(this, V.mget, keys);
  }

  /**
   * Sets any number of values, all or none. If a key comes twice, its last value counts.
   *
   * @param entries A record, a `Map`, or any iterable of pairs of key and value.
   * @param ttlSec The expiry of all values; without it they have none.
   */
  async mset(entries: Record<string, unknown> | Iterable<[string, unknown]>, ttlSec?: number): Promise<void> {
    if (typeof entries !== 'object' || entries === null) {
      throw configError('KVStore.mset: entries', 'a record or an iterable of pairs', entries);
    }
    const args: unknown[] = [ttlSec];
    for (const entry of Symbol.iterator in entries ? entries : Object.entries(objectOf('KVStore.mset: entries', entries))) {
      if (!Array.isArray(entry) || entry.length !== 2) throw configError('KVStore.mset: entry', 'a pair of key and value', entry);
      const refused = badKey('mset', entry[0]);
      if (refused) throw refused;
      const text = json('KVStore.mset: value', entry[1]);
      if (typeof text !== 'string') throw text;
      args.push(entry[0], text);
    }
    const { port, handle } = this[internals];
    await port.callWith(handle, V.mset, args);
  }

  /**
   * Adds to a counter, which starts at 0. Atomic.
   *
   * @param by A whole number, of either sign. Default 1.
   * @param ttlSec The expiry of a counter that this call creates; an existing counter keeps its own.
   * @returns The new value.
   * @throws RedisError of kind `serialization` when the new value is beyond 2⁵³ − 1 (it is stored even so); `server` for a value that is not a whole
   * number or would leave 64 bits (nothing is changed).
   */
  incr(key: string, by?: number, ttlSec?: number): Promise<number> {
    return call<number>(this, V.incr, key, by, ttlSec);
  }

  /** Subtracts from a counter, as {@link incr} adds. */
  decr(key: string, by?: number): Promise<number> {
    return call<number>(this, V.decr, key, by);
  }

  /**
   * Sets `next` if the value is `expected`. Atomic.
   *
   * Values are compared as JSON: the order of an object's names and the formatting by other programs do not matter (to a depth of 127; deeper values
   * are compared as text).
   *
   * @param expected `null`: only if there is no value. (A stored `null` is a value; change it with {@link update}.)
   * @param ttlSec The new expiry; without it the present one is kept.
   * @returns `false` if the value is not `expected`: nothing was changed.
   */
  cas<T>(key: string, expected: T | null, next: T, ttlSec?: number): Promise<boolean> {
    const seen = expected === null ? null : json('KVStore.cas: expected', expected);
    if (typeof seen === 'object' && seen !== null) return Promise.reject(seen);
    const text = json('KVStore.cas: next', next);
    if (typeof text !== 'string') return Promise.reject(text);
    return call<boolean>(this, V.cas, key, seen, text, ttlSec);
  }

  /**
   * Changes a value by a function. No concurrent update is lost: the written value is `change` of exactly the value that it replaces.
   *
   * Concurrent updates of one key by one process are made together, in the order of the calls. If another process changes the value meanwhile, the
   * update is tried again after a random delay, which grows with each attempt (up to 100 ms).
   *
   * @param change Gets the present value, or `null`; returns the next value, or `null` to delete the key. It may be called several times, so it must
   * have no side effects. It is synchronous: a promise is refused.
   * @returns The new value.
   * @throws The error of `change`; then nothing is changed. RedisError of kind `timeout`, delivery `rejected`, when
   * `maxAttempts` are used up; `serialization` for a next value that JSON cannot express.
   */
  async update<T>(key: string, change: (current: T | null) => T | null, options?: UpdateOptions): Promise<T | null> {
    const refused = badKey('update', key);
    if (refused) throw refused;
    const { value } = await this[internals].updates.update(key, change as (current: unknown) => unknown, options);
    return value as T | null;
  }

  /** Deletes `key` and returns its value. Atomic. Needs Redis 6.2. */
  getDel<T = unknown>(key: string): Promise<T | null> {
    return call<T | null>(this, V.getDel, key);
  }

  /** Sets a value and its expiry, as {@link set}, and returns the previous value. Atomic. Needs Redis 6.2. */
  getSet<T>(key: string, value: T, ttlSec?: number): Promise<T | null> {
    return write<T | null>(this, V.getSet, key, value, ttlSec);
  }

  /** Seconds until `key` expires, with fractions; `Infinity` without an expiry; `null` if there is no such key. */
  ttl(key: string): Promise<number | null> {
    return call<number | null>(this, V.ttl, key);
  }

  /** Sets the expiry of `key`. `false`: there is no such key. */
  expire(key: string, ttlSec: number): Promise<boolean> {
    return call<boolean>(this, V.expire, key, ttlSec);
  }

  /** Removes the expiry of `key`. `false`: there is no such key, or it had no expiry. */
  persist(key: string): Promise<boolean> {
    return call<boolean>(this, V.persist, key);
  }

  /**
   * The keys of this store's namespace, without it, a batch at a time; `break` stops the scan.
   *
   * As with Redis' own `SCAN`, a key that exists all the time is returned, a key that is created or deleted meanwhile may be returned, and a key may
   * be returned twice. That holds over failovers, restarts and moving slots too: the affected part of the scan starts again. This package's own keys
   * (`~`) and keys that are not UTF-8 are left out.
   *
   * @throws RedisError of kind `server` with `CLUSTERDOWN` when no node serves a part of a cluster for `commandTimeoutMs`.
   */
  async *scan(options?: ScanOptions): AsyncGenerator<string, void, undefined> {
    const { match, ...rest } = optionsOf('KVStore.scan: options', options);
    refuseUnknown('KVStore.scan', rest, ['match']);
    const { port, handle } = this[internals];
    let cursor: string | null | undefined;
    do {
      const [next, keys]: [string | null, string[]] = (await port.call(handle, V.scan, cursor, match)) as [string | null, string[]];
      yield* keys;
      cursor = next;
    } while (cursor !== null);
  }

  /**
   * Deletes every key of this store's namespace, of any type, and its locks, which their holders lose. The keys of other features in the manager's
   * namespace (`~`) stay. The call is not atomic: a key that is set meanwhile may stay. All other keys are deleted, even if a failover comes in
   * between.
   *
   * @returns The number of deleted keys, without locks; an approximate number if a connection was lost meanwhile.
   * @throws RedisError of kind `config` when neither the manager nor the store has a namespace.
   */
  clear(): Promise<number> {
    const { port, handle } = this[internals];
    return port.call(handle, V.clear) as Promise<number>;
  }

  /**
   * Puts a value in front of a list and trims the list to its `limit` newest values. Atomic.
   *
   * @param limit A whole number from 1.
   * @param ttlSec The list's new expiry; without it the present expiry is kept.
   * @returns The length of the list now.
   */
  lpushRecent<T>(key: string, value: T, limit: number, ttlSec?: number): Promise<number> {
    const text = json('KVStore.lpushRecent: value', value);
    if (typeof text !== 'string') return Promise.reject(text);
    return call<number>(this, V.lpushRecent, key, text, limit, ttlSec);
  }

  /** The newest values of a list, newest first; an empty array if there is no such key. `limit` is a whole number from 1. */
  getRecent<T = unknown>(key: string, limit: number): Promise<T[]> {
    return call<T[]>(this, V.getRecent, key, limit);
  }

  /** As {@link get}, counted as a hit or a miss in the manager's metrics. */
  cacheGet<T = unknown>(key: string): Promise<T | null> {
    return call<T | null>(this, V.cacheGet, key);
  }

  /** As {@link set}, under a name of its own in the manager's metrics. */
  cacheSet<T>(key: string, value: T, ttlSec?: number): Promise<void> {
    return write<void>(this, V.cacheSet, key, value, ttlSec);
  }

  /**
   * The value of `key`, or the result of `load`, which is stored for `ttlSec` plus `staleSec`. Counted as a hit or a miss.
   *
   * One `load` runs at a time: callers of this process share it, other processes wait for its value, each for `waitMs`. The right to load is a lease
   * of 3 s. Rust renews it while `load` runs, up to `loadTimeoutMs`: a slow `load` is not doubled, and when a process dies, another one loads within
   * 3 s. For `staleSec` after `ttlSec` the old value is returned at once, and one caller loads a new value in the background. If that fails, or a
   * loaded value cannot be stored, the manager emits `'error'` (a `RedisError` with the error of `load` as `cause`), and the next caller tries again.
   *
   * A write to the key ends the load in progress: its value goes to the callers that wait for it already, and is not stored. Callers after the write
   * get the written value, or another load. Every method of this class that changes the key is such a write. A `SET` by another program is one too,
   * unless it expires within 3 s. A deletion by another program is not noticed if the key is absent.
   *
   * Each caller gets its own copy of the value, as JSON expresses it (a `Date` is a string). `null` is a value like any other.
   *
   * @throws The error of `load`, to the waiting callers of this process; callers elsewhere load themselves. RedisError of kind `timeout` when another
   * caller loads for longer than `waitMs`, or `load` takes longer than `loadTimeoutMs`; `config` if `load` itself calls `getOrSet` of the same key
   * and so would wait for itself; `serialization` for a value that JSON cannot express.
   */
  async getOrSet<T>(key: string, load: () => T | Promise<T>, options: GetOrSetOptions): Promise<T> {
    const { ttlSec, staleSec, waitMs = DEFAULT_WAIT_MS, loadTimeoutMs, ...rest } = optionsOf('KVStore.getOrSet: options', options);
    refuseUnknown('KVStore.getOrSet', rest, ['ttlSec', 'staleSec', 'waitMs', 'loadTimeoutMs']);
    checkFunction('KVStore.getOrSet: load', load);
    checkTtl('KVStore.getOrSet: ttlSec', ttlSec);
    checkNumber('KVStore.getOrSet: waitMs', ' of milliseconds', waitMs, 0, MAX_MS);
    if (loadTimeoutMs !== undefined) checkNumber('KVStore.getOrSet: loadTimeoutMs', ' of milliseconds', loadTimeoutMs, 1, MAX_MS);
    const refused = badKey('getOrSet', key);
    if (refused) throw refused;
    const longest = loadTimeoutMs ?? Math.max(waitMs, LEAST_LOAD_MS);
    return (await this[internals].cache.getOrSet(key, load, { ttlSec, staleSec, waitMs, loadTimeoutMs: longest })) as T;
  }

  /**
   * Takes an exclusive lock: a lease with a fencing token, renewed from a Rust thread, so that a blocked event loop does not lose it. The lock is
   * lost when the server cannot be reached for the length of the lease, when this process is stopped for that long, or when the manager is
   * disconnected: then `lock.signal` is aborted. The server uses its own clock. This process uses its monotonic clock and counts from before each
   * renewal was sent, so it never believes in its lease longer than the server does.
   *
   * A lock is not reentrant. Between processes there is no order: the first to ask after a release gets it. A waiting process is woken by a message;
   * without the right to channels it tries again after random delays of up to 200 ms. A held lock does not keep the process alive. Release it with
   * `await using` or `release()` before `disconnect()`; otherwise it runs out.
   *
   * @param key The name of the lock; a value under the same key is independent of it.
   * @throws RedisError of kind `timeout`, delivery `rejected`, if the lock is held for longer than `waitMs`; `cancelled` when `options.signal` was
   * aborted.
   */
  async lock(key: string, options?: LockOptions): Promise<Lock> {
    const refused = badKey('lock', key);
    if (refused) throw refused;
    return takeLock(this[internals], key, options);
  }
}

function call<R>(store: KVStore, verb: number, key: string, ...args: unknown[]): Promise<R> {
  const refused = badKey(verb, key);
  if (refused) return Promise.reject(refused);
  const { port, handle } = store[internals];
  return port.call(handle, verb, key, ...args) as Promise<R>;
}

function write<R>(store: KVStore, verb: number, key: string, value: unknown, ttlSec: number | undefined): Promise<R> {
  const refused = badKey(verb, key);
  if (refused) return Promise.reject(refused);
  const text = json(`KVStore.${METHODS.get(verb)}: value`, value);
  if (typeof text !== 'string') return Promise.reject(text);
  const { port, handle } = store[internals];
  return port.call(handle, verb, key, text, ttlSec) as Promise<R>;
}

function callWithKeys<R>(store: KVStore, verb: number, keys: string[]): Promise<R> {
  for (const key of keys) {
    const refused = badKey(verb, key);
    if (refused) return Promise.reject(refused);
  }
  const { port, handle } = store[internals];
  return port.callWith(handle, verb, keys) as Promise<R>;
}

/** Refuses a key with a lone surrogate, which UTF-8 cannot express. Rust makes all other checks of a key. */
function badKey(method: string | number, key: unknown): RedisError | undefined {
  if (typeof key !== 'string' || key.isWellFormed()) return undefined;
  const name = typeof method === 'number' ? METHODS.get(method) : method;
  return new RedisError('config', `KVStore.${name}: key: expected a well-formed string, got one with a lone surrogate`);
}

/** Makes a {@link KVStore} on `base`. */
export function makeRedisKV(base: IRedisConnection, namespace?: string): KVStore {
  return new KVStore(base, { namespace });
}

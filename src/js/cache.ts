/** `KVStore.getOrSet`: the loads of this process, which concurrent callers of a key share. */

import { AsyncLocalStorage } from 'node:async_hooks';
import { json, parse } from './arguments.js';
import { RedisError } from './errors.js';
import type { NumberingTarget } from './internals.js';
import { internals } from './internals.js';
import type { GetOrSetOptions } from './kv.js';
import { verbs } from './native.js';
import type { IRedisConnection } from './ports.js';
import { within } from './within.js';

const V = verbs('kv', 'peek', 'load', 'loaded', 'loadFailed');

/** The real clock, taken before fake timers may replace it. */
const clock = performance.now.bind(performance);

type Options = Required<Omit<GetOrSetOptions, 'staleSec'>> & Pick<GetOrSetOptions, 'staleSec'>;

/** A load that callers wait for, or the wait for another process' load. */
interface Load {
  /** The value as JSON. */
  text: Promise<string>;
  /** The token of the right to load, once the user's function has been called. */
  token?: string | undefined;
}

/** The loads of one manager that run in this process, by namespace and key. */
class Loads {
  readonly awaited = new Map<string, Load>();
  readonly refreshing = new Set<string>();
}

const loadsOf = new WeakMap<object, Loads>();

/** The load that runs the present code, and the load that called it, if any. */
interface RunningLoad {
  readonly loads: Loads;
  readonly name: string;
  readonly outer: RunningLoad | undefined;
}

/** The load in which the present code runs. The storage is disabled while no load runs, because before Node 24 it makes every promise slower. */
const loading = new AsyncLocalStorage<RunningLoad>();
let running = 0;

/** The part of a store that a {@link Cache} uses. */
interface CachedStore extends NumberingTarget {
  nameOf(key: string): string;
}

/** The cache of one store. */
export class Cache {
  readonly #store: CachedStore;
  readonly #manager: IRedisConnection;
  readonly #loads: Loads;

  constructor(store: CachedStore, manager: IRedisConnection) {
    this.#store = store;
    this.#manager = manager;
    // Keyed by the internals: a `Proxy` of a manager has the same internals, and so shares the loads.
    const shared = manager[internals];
    this.#loads = loadsOf.get(shared) ?? new Loads();
    loadsOf.set(shared, this.#loads);
  }

  async getOrSet(key: string, load: () => unknown, options: Options): Promise<unknown> {
    const { awaited } = this.#loads;
    const name = this.#store.nameOf(key);
    const begun = clock();
    const before = awaited.get(name);
    const found = (await this.#store.port.call(this.#store.handle, V.peek, key, options.staleSec, before?.token, options.waitMs)) as
      | [isFresh: boolean, value: unknown]
      | true
      | null;
    if (Array.isArray(found)) {
      if (!found[0]) void this.#refresh(key, name, load, options);
      return found[1];
    }
    this.#refuseReentry(name);
    const present = awaited.get(name);
    // A load is shared only while it holds the right to load. If a write has ended that right, the load may have read older data.
    const isCurrent = present !== undefined && (present.token === undefined || (found === true && present === before));
    const left = Math.max(0, options.waitMs - (clock() - begun));
    if (isCurrent) return parse(await within(this.#store, left, present.text, () => waitedTooLong(options.waitMs)));
    const mine: Load = { text: Promise.resolve('') };
    mine.text = this.#load(key, name, load, options, mine, left).finally(() => {
      if (awaited.get(name) === mine) awaited.delete(name);
    });
    awaited.set(name, mine);
    return parse(await mine.text);
  }

  /** Loads a value and stores it. If another process loads, waits for the value that the other process stores. Returns JSON. */
  async #load(key: string, name: string, load: () => unknown, options: Options, mine: Load, left: number): Promise<string> {
    const id = this.#store.nextId();
    const { staleSec, loadTimeoutMs, waitMs } = options;
    const asked = this.#store.port.call(this.#store.handle, V.load, id, key, staleSec, loadTimeoutMs, true, waitMs, left);
    const [isMine, text] = (await asked) as [boolean, string];
    if (!isMine) return text;
    mine.token = text;
    return this.#loadAs(id, key, name, load, options);
  }

  /** Loads a new value in the background, unless another process does. Never rejects. */
  async #refresh(key: string, name: string, load: () => unknown, options: Options): Promise<void> {
    const { refreshing } = this.#loads;
    if (refreshing.has(name)) return;
    refreshing.add(name);
    try {
      const id = this.#store.nextId();
      const asked = this.#store.port.call(this.#store.handle, V.load, id, key, options.staleSec, options.loadTimeoutMs, false);
      const [isMine] = (await asked) as [boolean];
      if (isMine) await this.#loadAs(id, key, name, load, options);
    } catch (error) {
      this.#emitError(error);
    } finally {
      refreshing.delete(name);
    }
  }

  /** Loads a value and stores it, if the right to load, which has the number `id`, still holds then. Returns JSON. */
  async #loadAs(id: number, key: string, name: string, load: () => unknown, options: Options): Promise<string> {
    const { port, handle } = this.#store;
    let text: string;
    try {
      const work = this.#run(name, load);
      const value = work instanceof Promise ? await within(this.#store, options.loadTimeoutMs, work, () => tookTooLong(options)) : work;
      const written = json('KVStore.getOrSet: value', value);
      if (typeof written !== 'string') throw written;
      text = written;
    } catch (error) {
      // If this call fails, the right to load expires. The caller gets the error of `load`, not that of this call.
      await port.call(handle, V.loadFailed, id).catch(() => {});
      throw error;
    }
    try {
      await port.call(handle, V.loaded, id, key, text, options.ttlSec, options.staleSec);
    } catch (error) {
      // The callers get the value even if it could not be stored. The manager emits the error.
      this.#emitError(error);
    }
    return text;
  }

  /** Calls `load` in a context in which `getOrSet` recognizes a call from within. Returns a promise in place of a thenable. */
  #run(name: string, load: () => unknown): unknown {
    running++;
    const ended = (): void => {
      running--;
      if (running === 0) loading.disable();
    };
    let value: unknown;
    try {
      value = loading.run({ loads: this.#loads, name, outer: loading.getStore() }, load);
    } catch (error) {
      ended();
      throw error;
    }
    if (typeof value !== 'object' || value === null || !('then' in value)) {
      ended();
      return value;
    }
    return Promise.resolve(value).finally(ended);
  }

  #refuseReentry(name: string): void {
    for (let outer = loading.getStore(); outer !== undefined; outer = outer.outer) {
      if (outer.loads !== this.#loads || outer.name !== name) continue;
      throw new RedisError(
        'config',
        'KVStore.getOrSet: load: expected one that does not ask for its own key, got one that waits for itself',
      );
    }
  }

  #emitError(error: unknown): void {
    const told =
      error instanceof RedisError
        ? error
        : new RedisError('config', 'KVStore.getOrSet: load: expected a value, got an error', { cause: error });
    this.#manager[internals].emit('error', told);
  }
}

function waitedTooLong(ms: number): RedisError {
  const message = `KVStore.getOrSet: another caller loads for longer than waitMs, ${ms} ms`;
  return new RedisError('timeout', message, { retryable: true, delivery: 'rejected' });
}

function tookTooLong({ loadTimeoutMs }: Options): RedisError {
  const message = `KVStore.getOrSet: load took longer than loadTimeoutMs, ${loadTimeoutMs} ms`;
  return new RedisError('timeout', message, { retryable: true, delivery: 'rejected' });
}

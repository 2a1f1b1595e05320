/**
 * The servers, proxies and managers of a fault test. After the test they are all ended, and nothing may be left open: no connection, no pending
 * command, no live handle.
 */
import { type RedisConfig, RedisConnectionManager, type RedisError } from 'redis-backplane';
import { afterEach, beforeEach } from 'vitest';
import { expectNoClients, expectNoHandlesBeyond, liveHandles } from './leaks.ts';
import { RedisServer, type RedisServerOptions } from './redis-server.ts';
import { type Faults, TcpProxy } from './tcp-proxy.ts';
import { until, within } from './until.ts';

export interface Rig {
  server(options?: RedisServerOptions): Promise<RedisServer>;
  proxy(target: RedisServer, options?: { seed?: number } & Faults): Promise<TcpProxy>;
  manager(config: RedisConfig | string): RedisConnectionManager;
}

/** How long a promise may take to settle, on a busy machine. */
export const PATIENCE_MS = 15_000;

/** Registers the set-up and the checks for every test of the enclosing file or `describe`. */
export function useRig(): Rig {
  const servers: RedisServer[] = [];
  const proxies: TcpProxy[] = [];
  const managers: RedisConnectionManager[] = [];
  let before: string[] = [];

  beforeEach(() => {
    before = liveHandles();
  });

  afterEach(async () => {
    const ended = managers.splice(0);
    await within(PATIENCE_MS, Promise.all(ended.map((manager) => manager.disconnect())), 'disconnect()');
    for (const manager of ended) {
      await until(() => openOf(manager).every((n) => n === 0), {
        what: () => `nothing to be open or pending; [connections, commands, bytes]: ${openOf(manager).join(', ')}`,
      });
    }
    for (const proxy of proxies.splice(0)) {
      await proxy[Symbol.asyncDispose]();
      await until(() => proxy.counters.open === 0, { what: 'the connections of the proxy to be closed' });
    }
    for (const server of servers.splice(0)) {
      server.thaw();
      if (server.running) await expectNoClients(server, undefined, PATIENCE_MS);
      await server[Symbol.asyncDispose]();
    }
    await expectNoHandlesBeyond(before);
  });

  return {
    async server(options) {
      const server = await RedisServer.start(options);
      servers.push(server);
      return server;
    },
    async proxy(target, options) {
      const proxy = await TcpProxy.start({ host: target.host, port: target.port }, options);
      proxies.push(proxy);
      return proxy;
    },
    manager(config) {
      const given = typeof config === 'string' ? { url: config } : config;
      const manager = new RedisConnectionManager({ closeTimeoutMs: 1_000, ...given });
      managers.push(manager);
      return manager;
    },
  };
}

function openOf(manager: RedisConnectionManager): number[] {
  const metrics = manager.metrics();
  return [metrics.redis_connection_pool_size, metrics.redis_commands_pending, metrics.redis_pending_bytes];
}

export type Settled<T = unknown> = { value: T; error?: undefined } | { value?: undefined; error: RedisError };

/** The outcome of each promise. Rejects if a promise has not settled within {@link PATIENCE_MS}. */
export async function settledAll<T>(promises: PromiseLike<T>[], ms = PATIENCE_MS): Promise<Settled<T>[]> {
  let open = promises.length;
  const all = promises.map((promise) =>
    Promise.resolve(promise).then(
      (value): Settled<T> => {
        open -= 1;
        return { value };
      },
      (error: RedisError): Settled<T> => {
        open -= 1;
        return { error };
      },
    ),
  );
  return within(ms, Promise.all(all), `${promises.length} promises to settle`).catch((error: Error) => {
    throw new Error(`${error.message}; still open: ${open}`, { cause: error });
  });
}

/** The milliseconds `promise` takes to settle either way. */
export async function durationOf(promise: PromiseLike<unknown>, ms = PATIENCE_MS): Promise<number> {
  const begin = performance.now();
  await settledAll([promise], ms);
  return performance.now() - begin;
}

/** Records the events of a manager, in order. */
export function recordEvents(manager: RedisConnectionManager) {
  const states: string[] = [];
  const errors: RedisError[] = [];
  const reconnecting: { attempt: number; delayMs: number }[] = [];
  const counts = { ready: 0, end: 0 };
  manager.on('state', (to) => states.push(to));
  manager.on('error', (error) => errors.push(error));
  manager.on('reconnecting', (info) => reconnecting.push(info));
  manager.on('ready', () => {
    counts.ready += 1;
  });
  manager.on('end', () => {
    counts.end += 1;
  });
  return { states, errors, reconnecting, counts };
}

/** Resolves when the manager is in `state`. */
export function reaches(manager: RedisConnectionManager, state: string, timeoutMs = PATIENCE_MS): Promise<true> {
  return until(() => manager.state === state, {
    timeoutMs,
    what: () => `state ${state}; it is ${manager.state}`,
  }) as Promise<true>;
}

/** Every text that an error shows: message, stack, fields and causes. */
export function textOf(value: unknown, inspect: (value: unknown) => string): string {
  const parts: string[] = [];
  for (let at = value; at !== undefined && at !== null; at = (at as { cause?: unknown }).cause) {
    parts.push(String(at), inspect(at), JSON.stringify(at) ?? '', String((at as Error).stack ?? ''));
  }
  return parts.join('\n');
}

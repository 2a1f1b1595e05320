/** A connected manager under the names of three purposes. */

import type { RedisConfig } from './config.js';
import { RedisConnectionManager } from './manager.js';

/** The result of {@link makeRedisSuite}. All three names are the same manager, which opens the connections that each purpose needs. */
export interface RedisSuite {
  /** For commands. */
  base: RedisConnectionManager;
  /** For publishing. */
  pub: RedisConnectionManager;
  /** For subscribing. */
  sub: RedisConnectionManager;
  /** Disconnects the manager. Idempotent. */
  disconnect(): Promise<void>;
  /** The same as {@link disconnect}. */
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * Makes a manager, connects it and pings the server. The one manager serves all purposes, with the separate connections that Redis demands.
 *
 * @throws RedisError The errors of `connect()` and `ping()`; then nothing stays open.
 */
export async function makeRedisSuite(url: string | URL | RedisConfig): Promise<RedisSuite> {
  const base = new RedisConnectionManager(url);
  const disconnect = (): Promise<void> => base.disconnect();
  try {
    await base.connect();
    await base.ping();
  } catch (error) {
    await disconnect();
    throw error;
  }
  return { base, pub: base, sub: base, disconnect, [Symbol.asyncDispose]: disconnect };
}

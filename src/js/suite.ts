/** Ready-made sets of connections. */

import type { RedisConfig } from './config.js';
import { RedisConnectionManager } from './manager.js';

/** The result of {@link makeRedisSuite}. All three names are the same manager, which has the connections each purpose needs. */
export interface RedisSuite {
  /** For commands. */
  base: RedisConnectionManager;
  /** For publishing. */
  pub: RedisConnectionManager;
  /** For subscribing. */
  sub: RedisConnectionManager;
  /** Ends all of them. Idempotent. */
  disconnect(): Promise<void>;
  /** Disconnects all of them. */
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * Managers for all purposes, connected and pinged. One manager serves them all, with the separate connections that Redis demands, so there is one
 * configuration and one thing to end.
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

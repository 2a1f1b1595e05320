/** Ready-made sets of connections. */

import type { RedisConfig } from './config.js';
import { RedisConnectionManager } from './manager.js';

/** What {@link makeRedisSuite} gives. All three names are the same manager's: it has the connections each purpose needs. */
export interface RedisSuite {
  /** For commands. */
  base: RedisConnectionManager;
  /** For publishing. */
  pub: RedisConnectionManager;
  /** For subscribing. */
  sub: RedisConnectionManager;
  /** Ends all of them. Idempotent. */
  disconnect(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * Managers for all purposes, connected and pinged. One manager serves them all: it keeps apart what Redis itself
 * forces apart, so there is one configuration and one thing to end.
 *
 * @throws RedisError what `connect()` and `ping()` reject with; nothing stays open then.
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

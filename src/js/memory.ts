/** The control that tests have over an embedded engine. */

import { configError, type Failure, toError } from './errors.js';
import { native } from './native.js';

/**
 * Control of the engine behind `memory://name`. Every call is synchronous: when it returns, its effect is visible. Every call throws a `RedisError` of
 * kind `closed` when nothing is connected to an engine of that name.
 */
export interface MemoryControl {
  /** Lets `ms` milliseconds pass, on the engine's clock: keys expire and waits time out before this returns. */
  advance(ms: number): void;
  /**
   * Sets the engine's clock forward or, below 0, back by `ms` milliseconds, up to 2 147 483 647, as an administrator or a time service sets a
   * server's clock. No real time passes, but everything that reads the clock sees the step.
   */
  setClock(ms: number): void;
  /** Stops the engine from reading and executing anything, as a frozen server would. */
  pause(): void;
  /** Lets a paused engine go on with the commands sent meanwhile. */
  resume(): void;
  /** Executes the next `n` commands, loses their replies and cuts their connections. */
  dropReplies(n: number): void;
  /** Cuts every connection. The data are kept for a minute, until a client reconnects. */
  killClients(): void;
  /** Delays every reply by `ms` milliseconds of real time; 0 ends it. */
  latency(ms: number): void;
  /** Refuses writes with `READONLY`, as a replica after a failover does. */
  readonly(on: boolean): void;
  /** Deletes every key of every database. */
  flush(): void;
  /** Bounds the estimated memory in bytes; beyond it writes get Redis' `OOM` error. 0 removes the bound. */
  maxMemory(bytes: number): void;
  /** Every key, ordered by database and name; `ttl` in milliseconds. */
  dump(): MemoryEntry[];
}

/** A key of an embedded engine. */
export interface MemoryEntry {
  /** The number of the database. */
  db: number;
  /** The whole key, with every namespace. */
  key: string;
  /** Redis' name of the type: `string`, `hash`, `list`, … */
  type: string;
  /** Milliseconds until it expires; `null` if it does not. */
  ttl: number | null;
  /** The value: text, an object of the fields of a hash, an array of the elements of others. */
  value: unknown;
}

/** Control of the engine behind `memory://name`, for tests. */
export function memoryControl(name: string): MemoryControl {
  if (typeof name !== 'string' || name === '') throw configError('memoryControl: name', 'the name in memory://name', name);
  const act = (action: string, given = 0): string | null => {
    if (typeof given !== 'number') throw configError(`memoryControl.${action}`, 'a number', given);
    const done = JSON.parse(native.memory(name, action, given)) as { value: string | null } | { error: Failure };
    if ('error' in done) throw toError(done.error);
    return done.value;
  };
  return {
    advance: (ms) => void act('advance', ms),
    setClock: (ms) => void act('setClock', ms),
    pause: () => void act('pause'),
    resume: () => void act('resume'),
    dropReplies: (n) => void act('dropReplies', n),
    killClients: () => void act('killClients'),
    latency: (ms) => void act('latency', ms),
    readonly: (on) => void act('readonly', on ? 1 : 0),
    flush: () => void act('flush'),
    maxMemory: (bytes) => void act('maxMemory', bytes),
    dump: () => JSON.parse(act('dump') ?? '[]') as MemoryEntry[],
  };
}

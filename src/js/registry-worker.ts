/** Workers of a registry: their records, health, commands and events. */

import { inexpressible } from './arguments.js';
import { configError, RedisError } from './errors.js';

/** The status that a worker declares. Only an `idle` or `busy` worker can be claimed. */
export type WorkerStatus = 'idle' | 'busy' | 'paused' | 'draining';

/**
 * The health of a worker, by its heartbeats and the server's clock. `healthy`: heartbeats come in time and the worker's event loop answers.
 * `degraded`: the worker is alive with a problem, see {@link WorkerInfo.degradedBecause}. `crashed`: no heartbeat for `crashedAfterMs` and one more
 * interval, or the process ended without unregistering; final for that epoch. `unknown`: the worker was never registered, or is forgotten; or its
 * heartbeat is overdue while no process may declare it crashed (after a restart of Redis, while a large share of the fleet is overdue, or in a
 * process that was itself cut off).
 */
export type WorkerHealth = 'healthy' | 'degraded' | 'crashed' | 'unknown';

/** The description of a worker at its registration. Unknown names are refused. */
export interface WorkerRegistration {
  /** 1 to 1 024 bytes of any characters. Default: a random UUID. A second registration of an id ends the first. */
  id?: string | undefined;
  /** 1 to 512 bytes. Default `worker`. */
  type?: string | undefined;
  /** The worker's capabilities: at most 256, each 1 to 512 bytes of any characters. Default: none. */
  capabilities?: string[] | undefined;
  /** An object that JSON can express in at most 64 KiB. Default `{}`. */
  metadata?: Record<string, unknown> | undefined;
  /** Slots that can be claimed at once: a whole number from 0 to 1 000 000. Default 1. */
  capacity?: number | undefined;
}

/** A worker's record at one moment. Times are milliseconds of the server's clock since 1970. */
export interface WorkerInfo {
  /** The id of the worker, unique in the registry. */
  id: string;
  /** The type that was given to `register`. */
  type: string;
  /** The capabilities that were given to `register`. */
  capabilities: string[];
  /** The metadata of `register`, or of the last heartbeat that changed them. */
  metadata: Record<string, unknown>;
  /** Slots that can be claimed at once. */
  capacity: number;
  /** The status that the worker declared last. */
  status: WorkerStatus;
  /** The health that the registry observes; see {@link WorkerHealth}. */
  health: WorkerHealth;
  /**
   * Why the worker is degraded. `late`: no heartbeat for `degradedAfterMs`. `event-loop-stalled`: heartbeats come, but the event loop has not answered
   * for `stalledAfterMs`. `reported`: the worker declared itself degraded. `undefined`: the worker is not degraded.
   */
  degradedBecause?: 'late' | 'event-loop-stalled' | 'reported' | undefined;
  /** The load that the worker reported: from 0, where 1 means full, rounded to millionths. */
  load: number;
  /** The number of slots that are claimed. */
  claimed: number;
  /** The fencing token of this registration: every later registration in this registry has a larger one. */
  epoch: number;
  /** When the worker was registered, in milliseconds of the server's time since 1970. */
  registeredAt: number;
  /** When the last heartbeat came, in milliseconds of the server's time since 1970. */
  lastHeartbeatAt: number;
  /** The name of the worker's machine. */
  hostname: string;
  /** The id of the worker's process. */
  pid: number;
  /** How long the event loop took to answer, in milliseconds, at the last heartbeat. Absent when the process has been gone for long. */
  eventLoopLagMs?: number | undefined;
  /** How long ago the event loop had last answered, in milliseconds, at the last heartbeat. */
  lastTickAgeMs?: number | undefined;
  /** The resident memory of the process, in bytes, when the event loop last answered. */
  memoryBytes?: number | undefined;
}

/** The changes that a heartbeat reports; fields that are left out stay as they were. */
export interface HeartbeatUpdate {
  /** The status that the worker declares from now on. */
  status?: WorkerStatus | undefined;
  /** From 0 to 1 000 000 000, where 1 means full. Rounded to millionths. */
  load?: number | undefined;
  /** New metadata, which replace the old metadata completely. */
  metadata?: Record<string, unknown> | undefined;
  /** `true`: the worker is degraded (`reported`) until it reports `false`. */
  degraded?: boolean | undefined;
}

/** A filter of workers. A worker must match every field. */
export interface WorkerFilter {
  /** The worker has this type. */
  type?: string | undefined;
  /** The worker has all these capabilities. */
  capabilities?: string[] | undefined;
  /** The worker declared this status. */
  status?: WorkerStatus | undefined;
  /** The registry observes this health. */
  health?: WorkerHealth | undefined;
  /** The most workers to return, an arbitrary choice. Default: all. */
  limit?: number | undefined;
}

/** The numbers of workers by health. Workers of unknown health are in `total` only. */
export interface WorkerCount {
  /** All workers that are not forgotten, including workers of unknown health. */
  total: number;
  /** Workers whose heartbeats come in time and whose event loops answer. */
  healthy: number;
  /** Workers that are alive, but late, stalled, or degraded by their own report. */
  degraded: number;
  /** Workers that crashed and are not forgotten yet. */
  crashed: number;
}

/** A command for a worker, delivered with its next heartbeat. Your code decides what to do about it. */
export interface WorkerCommand {
  /** What the worker is asked to do. */
  name: 'pause' | 'resume' | 'drain' | 'shutdown';
  /** Anything that JSON can express; with the name at most 64 KiB. */
  data?: unknown;
}

/** What happened to a worker. `status`: the worker declared another status. A repeated `degraded`: the reason has changed. */
export type WorkerEventName = 'joined' | 'left' | 'status' | 'degraded' | 'recovered' | 'crashed';

/** An event of the fleet. */
export interface WorkerEvent {
  /** What happened. */
  event: WorkerEventName;
  /** The position in the stream of events. */
  position: string;
  /** When it happened, in milliseconds of the server's time since 1970. */
  at: number;
  /** The worker as it was then. Metadata above 4 KiB are replaced by the present metadata, or by `{}` if the registration is over. */
  worker: WorkerInfo;
}

/** A damaged record of a registry. */
export interface MalformedRecord {
  /**
   * The part that could not be read. Of a worker: `id`, `state`, `definition`, `metadata`, `labels`, and `index` for an entry without a worker or in
   * the wrong place. `command`: a command that waits for a worker. `claim`, `crash`: an entry of the claims, or of the crashes to be reaped. `event`:
   * a past event. `counter`: a number. `key`: a whole key, of another type.
   */
  part: 'id' | 'state' | 'definition' | 'metadata' | 'labels' | 'index' | 'command' | 'claim' | 'crash' | 'event' | 'counter' | 'key';
  /** The worker's id, the claim, the event's position, the counter, the key; up to 1 024 bytes. */
  of: string;
}

/** The events of a registry, with the arguments of their listeners. */
export interface RegistryEvents {
  /** A worker was registered, for the first time or again. */
  joined: [worker: WorkerInfo];
  /** A registration ended: its holder ended it, or its id was registered again. */
  left: [worker: WorkerInfo];
  /** A worker declared another status. */
  status: [worker: WorkerInfo];
  /** A worker is alive with a problem, which `degradedBecause` names. Emitted again when the problem changes. */
  degraded: [worker: WorkerInfo];
  /** A degraded worker is healthy again. */
  recovered: [worker: WorkerInfo];
  /** A worker was declared crashed. */
  crashed: [worker: WorkerInfo];
  /**
   * Another process ended the registration of a worker of this process: the worker was declared crashed or forgotten, or its id was registered
   * elsewhere. `next` is the new registration, if the registry has registered the worker again. It is `null` if another process has the id, heartbeats
   * are not automatic, or the manager was disconnected.
   */
  fenced: [worker: WorkerInfo, next: WorkerInfo | null];
  /** A worker of this process was sent a command. */
  command: [command: WorkerCommand, worker: WorkerInfo];
  /**
   * This process found a record that this package has not written, and removed it; all other records are unchanged. If it was a worker's record, its
   * holder registers the worker again with the next heartbeat.
   */
  malformed: [record: MalformedRecord];
  /** Events were trimmed before this process had read them; `list()` gives the present state. */
  gap: [info: { missed: number }];
  /** Events cannot be read yet; the registry tries again. Without a listener nothing is thrown. */
  error: [error: RedisError];
}

const MAX_METADATA = 64 * 1024;

/** Metadata as JSON text. Values that JSON would silently leave out or change are refused, and so are metadata that are too large. */
export function metadataJson(name: string, metadata: unknown): string | undefined {
  if (metadata === undefined) return undefined;
  if (typeof metadata !== 'object' || metadata === null || Array.isArray(metadata)) throw configError(name, 'an object', metadata);
  const text = strictJson(name, metadata);
  // A text has at least as many bytes as characters. Rust checks the exact number of bytes.
  if (text.length > MAX_METADATA) throw configError(name, `at most ${MAX_METADATA} bytes of JSON`, text);
  return text;
}

/** A value as JSON text. Unlike `JSON.stringify`, it refuses a function, a `BigInt` or `NaN` anywhere in the value. */
export function strictJson(name: string, value: unknown): string {
  let text: string | undefined;
  try {
    text = JSON.stringify(value, (_key, inner: unknown) => {
      if (!isExpressible(inner)) throw inexpressible(name, inner);
      return inner;
    });
  } catch (error) {
    throw error instanceof RedisError ? error : inexpressible(name, value, error);
  }
  if (text === undefined) throw inexpressible(name, value);
  return text;
}

function isExpressible(value: unknown): boolean {
  if (typeof value === 'number') return Number.isFinite(value);
  return ['string', 'boolean', 'object', 'undefined'].includes(typeof value);
}

/** The elements of an array of capabilities. Rust checks each element. */
export function capabilitiesOf(name: string, capabilities: unknown): unknown[] {
  if (capabilities === undefined) return [];
  if (!Array.isArray(capabilities)) throw configError(name, 'an array of strings', capabilities);
  return capabilities;
}

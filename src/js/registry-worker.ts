/** Workers of a registry: their records, health, commands and events. */

import { inexpressible } from './arguments.js';
import { configError, RedisError } from './errors.js';

/** What a worker does, as it declares itself. Only an `idle` or `busy` worker can be claimed. */
export type WorkerStatus = 'idle' | 'busy' | 'paused' | 'draining';

/**
 * The health of a worker, by its heartbeats and the server's clock. `healthy`: heartbeats come in time and its event loop answers. `degraded`: it
 * lives, but see {@link WorkerInfo.degradedBecause}. `crashed`: no heartbeat for `crashedAfterMs` and one more interval, or its process ended without
 * unregistering; final for that epoch. `unknown`: never registered, or forgotten; or its time is up while no process may declare it crashed (after a
 * restart of Redis, in a storm, or in a process that was cut off itself).
 */
export type WorkerHealth = 'healthy' | 'degraded' | 'crashed' | 'unknown';

/** The description of a worker at its registration. Unknown names are refused. */
export interface WorkerRegistration {
  /** 1 to 1 024 bytes of any characters. Default: a random UUID. A second registration of an id ends the first. */
  id?: string | undefined;
  /** 1 to 512 bytes. Default `worker`. */
  type?: string | undefined;
  /** Its capabilities: at most 256, each 1 to 512 bytes of any characters. Default: none. */
  capabilities?: string[] | undefined;
  /** An object that JSON can express in at most 64 KiB. Default `{}`. */
  metadata?: Record<string, unknown> | undefined;
  /** Slots that can be claimed at once: a whole number from 0 to 1 000 000. Default 1. */
  capacity?: number | undefined;
}

/** A worker at an instant. Times are milliseconds of the server's clock since 1970. */
export interface WorkerInfo {
  /** The id of the worker, unique in the registry. */
  id: string;
  /** What kind of worker it is, as it said at `register`. */
  type: string;
  /** What it can do, as it said at `register`. */
  capabilities: string[];
  /** What else it said of itself, at `register` or since. */
  metadata: Record<string, unknown>;
  /** Slots that can be claimed at once. */
  capacity: number;
  /** What the worker declared last. */
  status: WorkerStatus;
  /** What the registry observes; see {@link WorkerHealth}. */
  health: WorkerHealth;
  /**
   * Only of a degraded worker. `late`: no heartbeat for `degradedAfterMs`. `event-loop-stalled`: its heartbeats come, but its event loop has not
   * answered for `stalledAfterMs`. `reported`: the worker said so.
   */
  degradedBecause?: 'late' | 'event-loop-stalled' | 'reported' | undefined;
  /** As the worker reported it: from 0, in millionths; 1 means full. */
  load: number;
  /** Slots that are claimed now. */
  claimed: number;
  /** The fencing token of this registration: every later registration in this registry has a larger one. */
  epoch: number;
  /** When it was registered, in milliseconds of the server's time since 1970. */
  registeredAt: number;
  /** When its last heartbeat came, in milliseconds of the server's time since 1970. */
  lastHeartbeatAt: number;
  /** The name of its machine. */
  hostname: string;
  /** The id of its process. */
  pid: number;
  /** Milliseconds that its event loop took to answer, at its last heartbeat. Absent when its process has been gone for long. */
  eventLoopLagMs?: number | undefined;
  /** Milliseconds since its event loop last answered, at its last heartbeat. */
  lastTickAgeMs?: number | undefined;
  /** The resident memory of its process when its event loop last answered. */
  memoryBytes?: number | undefined;
}

/** The changes that a heartbeat reports; fields that are left out stay as they were. */
export interface HeartbeatUpdate {
  /** What the worker declares from now on. */
  status?: WorkerStatus | undefined;
  /** From 0 to 1 000 000 000; 1 means full. Kept in millionths. */
  load?: number | undefined;
  /** Replaces all of it. */
  metadata?: Record<string, unknown> | undefined;
  /** `true`: the worker is degraded (`reported`), until it says `false`. */
  degraded?: boolean | undefined;
}

/** A filter of workers: those that match every field. */
export interface WorkerFilter {
  /** The worker has this type. */
  type?: string | undefined;
  /** The worker has every one of them. */
  capabilities?: string[] | undefined;
  /** The worker declared this status. */
  status?: WorkerStatus | undefined;
  /** The registry observes this health. */
  health?: WorkerHealth | undefined;
  /** The most to return, an arbitrary choice. Default: all. */
  limit?: number | undefined;
}

/** How many workers there are. Workers of unknown health are in `total` only. */
export interface WorkerCount {
  /** All that are not forgotten, those of unknown health too. */
  total: number;
  /** Workers whose heartbeats come in time and whose event loops answer. */
  healthy: number;
  /** Workers that live, but are late, stalled, or said that they are degraded. */
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

/** What happened to a worker. `status`: it declared another status. A repeated `degraded`: for another reason. */
export type WorkerEventName = 'joined' | 'left' | 'status' | 'degraded' | 'recovered' | 'crashed';

/** An event of the fleet. */
export interface WorkerEvent {
  /** What happened. */
  event: WorkerEventName;
  /** Its position in the stream of events. */
  position: string;
  /** When; milliseconds of the server's clock. */
  at: number;
  /** The worker as it was then. Metadata above 4 KiB are the present ones, or `{}` if that registration is over. */
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
  /** A worker lives, but see its `degradedBecause`; emitted again when the reason changes. */
  degraded: [worker: WorkerInfo];
  /** A degraded worker is healthy again. */
  recovered: [worker: WorkerInfo];
  /** A worker was declared crashed. */
  crashed: [worker: WorkerInfo];
  /**
   * Somebody else ended the registration of a worker of this process: the worker was declared crashed or forgotten, or its id was registered
   * elsewhere. `next` is the new registration, if the registry has registered the worker again; `null` if it has not, because somebody else has the
   * id, heartbeats are not automatic, or the manager was disconnected.
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

/** Metadata as JSON text. What JSON would leave out or change silently is refused, and so is what is too much. */
export function metadataJson(name: string, metadata: unknown): string | undefined {
  if (metadata === undefined) return undefined;
  if (typeof metadata !== 'object' || metadata === null || Array.isArray(metadata)) throw configError(name, 'an object', metadata);
  const text = strictJson(name, metadata);
  // Characters are at least as many bytes; the exact number is checked where the bytes are.
  if (text.length > MAX_METADATA) throw configError(name, `at most ${MAX_METADATA} bytes of JSON`, text);
  return text;
}

/** A value as JSON text. A function, a `BigInt` or `NaN` anywhere in it is refused, where JSON would leave it out or write `null`. */
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

/** The elements of an array of capabilities, each to be checked in Rust. */
export function capabilitiesOf(name: string, capabilities: unknown): unknown[] {
  if (capabilities === undefined) return [];
  if (!Array.isArray(capabilities)) throw configError(name, 'an array of strings', capabilities);
  return capabilities;
}

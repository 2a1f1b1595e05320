/** Workers as a registry tells them, and what it takes and tells. */

import { configError, type RedisError } from './errors.js';

/** What a worker does, as it declares itself. Only an `idle` or `busy` one can be claimed. */
export type WorkerStatus = 'idle' | 'busy' | 'paused' | 'draining';

/**
 * How a worker is, as the server's clock and its heartbeats say. `healthy`: it beats in time and its event loop answers. `degraded`: it
 * lives, but see {@link WorkerInfo.degradedBecause}. `crashed`: without a heartbeat for `crashedAfterMs` and one more interval, or its
 * process went without a word; final for that epoch. `unknown`: never registered, or forgotten; or its time is up while nobody may
 * judge (after a restart of Redis, in a storm, or by a process that was cut off itself).
 */
export type WorkerHealth = 'healthy' | 'degraded' | 'crashed' | 'unknown';

/** What a worker is registered with. Unknown names are refused. */
export interface WorkerRegistration {
  /** 1 to 1 024 bytes of any characters. Default: a random UUID. Registering an id again ends its present registration. */
  id?: string | undefined;
  /** 1 to 512 bytes. Default `worker`. */
  type?: string | undefined;
  /** What it can do: at most 256, each 1 to 512 bytes of any characters. Default: nothing. */
  capabilities?: string[] | undefined;
  /** An object that JSON can express in at most 64 KiB. Default `{}`. */
  metadata?: Record<string, unknown> | undefined;
  /** Slots that can be claimed at once: a whole number from 0 to 1 000 000. Default 1. */
  capacity?: number | undefined;
}

/** A worker at an instant. Times are milliseconds of the server's clock since 1970. */
export interface WorkerInfo {
  id: string;
  type: string;
  capabilities: string[];
  metadata: Record<string, unknown>;
  /** Slots that can be claimed at once. */
  capacity: number;
  status: WorkerStatus;
  health: WorkerHealth;
  /**
   * Only of a degraded one. `late`: no heartbeat for `degradedAfterMs`. `event-loop-stalled`: its heartbeats come, but its event loop has
   * not answered for `stalledAfterMs`. `reported`: it said so.
   */
  degradedBecause?: 'late' | 'event-loop-stalled' | 'reported' | undefined;
  /** As it said: from 0 on, in millionths; 1 means full. */
  load: number;
  /** Slots that are claimed now. */
  claimed: number;
  /** The fencing token of this registration: each later one of any worker in this registry has a larger one. */
  epoch: number;
  registeredAt: number;
  lastHeartbeatAt: number;
  hostname: string;
  pid: number;
  /** Milliseconds that its event loop took to answer, at its last heartbeat. Absent once its process is gone for long. */
  eventLoopLagMs?: number | undefined;
  /** Milliseconds since its event loop had answered, at its last heartbeat. */
  lastTickAgeMs?: number | undefined;
  /** The resident memory of its process, when its event loop answered last. */
  memoryBytes?: number | undefined;
}

/** What is said of a worker with a heartbeat; what is left out stays as it was. */
export interface HeartbeatUpdate {
  status?: WorkerStatus | undefined;
  /** From 0 to 1 000 000 000; 1 means full. Kept in millionths. */
  load?: number | undefined;
  /** Replaces all of it. */
  metadata?: Record<string, unknown> | undefined;
  /** `true`: the worker is degraded (`reported`), until it says `false`. */
  degraded?: boolean | undefined;
}

/** Which workers are listed: those for which all of it holds. */
export interface WorkerFilter {
  type?: string | undefined;
  /** It has every one of them. */
  capabilities?: string[] | undefined;
  status?: WorkerStatus | undefined;
  health?: WorkerHealth | undefined;
  /** At most so many, which ones is open. Default: all. */
  limit?: number | undefined;
}

/** How many workers there are. Those whose health is unknown are in `total` only. */
export interface WorkerCount {
  total: number;
  healthy: number;
  degraded: number;
  crashed: number;
}

/** A command for a worker, taken with its next heartbeat. What it does about it is the worker's own matter. */
export interface WorkerCommand {
  name: 'pause' | 'resume' | 'drain' | 'shutdown';
  /** Anything that JSON can express; with the name at most 64 KiB. */
  data?: unknown;
}

/** What happened to a worker. `status`: it declared another one. `degraded` again: for another reason than before. */
export type WorkerEventName = 'joined' | 'left' | 'status' | 'degraded' | 'recovered' | 'crashed';

/** An event of the fleet. */
export interface WorkerEvent {
  event: WorkerEventName;
  /** Its place among the events. */
  position: string;
  /** When; milliseconds of the server's clock. */
  at: number;
  /** The worker as it was then. Metadata above 4 KiB are those of now, and `{}` if that registration is over. */
  worker: WorkerInfo;
}

/** A damaged record of a registry. */
export interface MalformedRecord {
  /**
   * What could not be read. Of a worker: `id`, `state`, `definition`, `metadata`, `labels`, and `index` for an entry without a worker or in a
   * place that is not its own. `command`: of those that wait for a worker. `claim`, `crash`: an entry of the claims, of the crashes to be reaped.
   * `event`: one that happened. `counter`: a number. `key`: a whole key, of another type.
   */
  part: 'id' | 'state' | 'definition' | 'metadata' | 'labels' | 'index' | 'command' | 'claim' | 'crash' | 'event' | 'counter' | 'key';
  /** The worker's id, the claim, the event's position, the counter, the key; up to 1 024 bytes. */
  of: string;
}

/** The events of a registry, with what their listeners are given. */
export interface RegistryEvents {
  /** A worker was registered, for the first time or again. */
  joined: [worker: WorkerInfo];
  /** A registration was ended, by its holder or because its id was registered again. */
  left: [worker: WorkerInfo];
  /** A worker declared another status. */
  status: [worker: WorkerInfo];
  /** A worker lives, but see its `degradedBecause`; again when that changes. */
  degraded: [worker: WorkerInfo];
  /** A degraded worker is healthy again. */
  recovered: [worker: WorkerInfo];
  /** A worker was declared crashed. */
  crashed: [worker: WorkerInfo];
  /**
   * The registration of a worker of this process is over without its doing: it was declared crashed, forgotten, or its id was
   * registered by somebody else. `next` is its new registration where the registry has registered it again by itself; `null`: it has
   * not, because somebody else has the id, heartbeats are not automatic, or the manager was disconnected.
   */
  fenced: [worker: WorkerInfo, next: WorkerInfo | null];
  /** A worker of this process was sent a command. */
  command: [command: WorkerCommand, worker: WorkerInfo];
  /**
   * A record that this package has not written was found, by this process, and taken away; all others are as they were. A worker whose record
   * it was is registered again by its holder, with its next heartbeat.
   */
  malformed: [record: MalformedRecord];
  /** Events were trimmed before this process had read them; `list()` says how things are. */
  gap: [info: { missed: number }];
  /** Events cannot be read yet; it is tried again. Without a listener nothing is thrown. */
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

/** A value as JSON text, if JSON can express all of it. */
export function strictJson(name: string, value: unknown): string {
  const expected = 'what JSON can express';
  let text: string | undefined;
  try {
    text = JSON.stringify(value, (_key, inner: unknown) => {
      const fits =
        inner === null ||
        ['string', 'boolean', 'object', 'undefined'].includes(typeof inner) ||
        (typeof inner === 'number' && Number.isFinite(inner));
      if (!fits) throw configError(name, expected, inner);
      return inner;
    });
  } catch (error) {
    throw error instanceof Error && 'redisErrorKind' in error ? error : configError(name, expected, value);
  }
  if (text === undefined) throw configError(name, expected, value);
  return text;
}

/** The elements of an array of capabilities, each to be checked in Rust. */
export function capabilitiesOf(name: string, capabilities: unknown): unknown[] {
  if (capabilities === undefined) return [];
  if (!Array.isArray(capabilities)) throw configError(name, 'an array of strings', capabilities);
  return capabilities;
}

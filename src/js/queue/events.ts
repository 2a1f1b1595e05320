/** The events of a queue's jobs, in all processes. */

import { EVENT_VALUES } from '../codes.js';
import { type Failure, type RedisError, toError } from '../errors.js';
import type { Listeners } from '../listeners.js';
import { parseStored } from './outcome.js';

/** The events of a {@link TaskQueue}. All but `gap` and `error` are events of the whole fleet: each listening queue object gets each of them. */
export interface TaskQueueEvents<R = unknown> {
  /** A job was added. */
  added: [event: { jobId: string; name: string }];
  /** A worker has started the job. */
  active: [event: { jobId: string }];
  /** {@link Job.updateProgress} was called. */
  progress: [event: { jobId: string; progress: unknown }];
  /** The job completed. `result` is left out if it is `undefined` or longer than 64 KiB of JSON: then read it with {@link TaskQueue.getJob}. */
  completed: [event: { jobId: string; result?: R }];
  /** The job failed for good. */
  failed: [event: { jobId: string; reason: string }];
  /** An attempt failed, or put its job back with a {@link DelayError}. The next attempt comes in `delayMs` milliseconds. */
  retrying: [event: { jobId: string; reason: string; delayMs: number; attemptsMade: number }];
  /** The job lost its worker and waits for another one. */
  stalled: [event: { jobId: string }];
  /** The job was removed. */
  removed: [event: { jobId: string }];
  /** The last waiting job was taken. */
  drained: [];
  /** Events were missed: this listener lagged behind the events that Redis keeps, or its connection was away. `missed`: how many, if known. */
  gap: [event: { missed: number | null }];
  /** Redis could not be reached, or an event could not be read. Without a listener nothing is thrown. */
  error: [error: RedisError];
}

/** The events that come from Redis. */
export const FLEET_EVENTS = ['added', 'active', 'progress', 'completed', 'failed', 'retrying', 'stalled', 'removed', 'drained'] as const;

export const QUEUE_EVENTS = [...FLEET_EVENTS, 'gap', 'error'] as const;

type FleetEvent = (typeof FLEET_EVENTS)[number];

/** Emits the events of one delivery. Never throws: a payload that cannot be parsed is emitted as `error`. */
export function emitFleetEvents<R>(listeners: Listeners<TaskQueueEvents<R>>, values: readonly unknown[]): void {
  for (let at = 0; at < values.length; at += EVENT_VALUES) {
    const type = values[at] as FleetEvent;
    // Without listeners the payload need not be parsed.
    if (!listeners.has(type)) continue;
    try {
      emitOne(listeners, type, values[at + 1] as string, values[at + 2] as string | null);
    } catch (error) {
      listeners.emit('error', error as RedisError);
    }
  }
}

function emitOne<R>(listeners: Listeners<TaskQueueEvents<R>>, type: FleetEvent, jobId: string, payload: string | null): void {
  const fields = payload === null ? undefined : parseStored(`the event ${type}`, payload);
  switch (type) {
    case 'progress':
      listeners.emit('progress', { jobId, progress: fields });
      break;
    case 'completed':
      listeners.emit('completed', payload === null ? { jobId } : { jobId, result: fields as R });
      break;
    case 'added':
    case 'failed':
    case 'retrying':
      listeners.emit(type, { jobId, ...(fields as object) } as never);
      break;
    case 'drained':
      listeners.emit('drained');
      break;
    default:
      listeners.emit(type, { jobId });
  }
}

/** Emits an event of this queue object itself: `gap` or `error`. */
export function emitOwnEvent<R>(listeners: Listeners<TaskQueueEvents<R>>, event: { event: string; [field: string]: unknown }): void {
  if (event.event === 'gap') listeners.emit('gap', { missed: (event.missed as number | null | undefined) ?? null });
  if (event.event === 'error') listeners.emit('error', toError(event.error as Failure) as RedisError);
}

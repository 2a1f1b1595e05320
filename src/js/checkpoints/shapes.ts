/** Turns the answers of the native side into the objects that users get. */

import type { Checkpoint, CheckpointInfo, Interruption, PendingWrite } from './options.js';

/** Scope, id, parent, time, bytes, metadata, whether it is pinned. */
export type Told = [string, string, string | null, number, number, Record<string, unknown>, boolean];
/** The information on a checkpoint; then alternating names and values; tasks, names and values; names and versions. */
export type Loaded = [Told, unknown[], unknown[], string[]];
/** Worker, epoch, time, how often. */
export type Was = [string, number, number, number];
/** The fencing token, the checkpoint, the interruption. */
export type Taken = [number, Loaded | null, Was | null];

export function infoOf(thread: string, [scope, id, parent, at, bytes, meta, pinned]: Told): CheckpointInfo {
  return { thread, scope, id, parent, at, bytes, meta, pinned };
}

export function checkpointOf<S>(thread: string, [told, values, writes]: Loaded): Checkpoint<S> {
  const pending: PendingWrite[] = [];
  for (let at = 0; at < writes.length; at += 3) {
    pending.push({ task: writes[at] as string, name: writes[at + 1] as string, value: writes[at + 2] });
  }
  const parts: Record<string, unknown> = {};
  for (let at = 0; at < values.length; at += 2) parts[values[at] as string] = values[at + 1];
  // The caller says what type a state has, as with `get<S>()`.
  const state = (values[0] === '' ? values[1] : parts) as S;
  return { ...infoOf(thread, told), state, pending };
}

export function interruptionOf([worker, epoch, at, times]: Was): Interruption {
  return { ...(worker !== '' && { worker, epoch }), at, times };
}

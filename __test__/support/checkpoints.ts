/** What tests of checkpoints do over and over. */
import type { Checkpoint, CheckpointInfo, CheckpointRun, CheckpointStore } from 'redis-backplane';
import { expect } from 'vitest';

/** Everything that an async iterable gives. */
export async function allOf<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}

export function historyOf(store: CheckpointStore, thread: string): Promise<CheckpointInfo[]> {
  return allOf(store.history(thread));
}

/** The run of a thread that nobody else may own. */
export async function taken<S>(run: Promise<CheckpointRun<S> | null>): Promise<CheckpointRun<S>> {
  const owned = await run;
  if (owned === null) throw new Error('somebody else owns the thread');
  return owned;
}

/** Every checkpoint that the history names, loaded. None may be missing. */
export async function loadAll<S>(store: CheckpointStore, thread: string): Promise<Checkpoint<S>[]> {
  const infos = await historyOf(store, thread);
  const loaded = await Promise.all(infos.map(({ id }) => store.get<S>(thread, id)));
  for (const checkpoint of loaded) expect(checkpoint).not.toBeNull();
  return loaded as Checkpoint<S>[];
}

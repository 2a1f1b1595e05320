/** Helpers of the task queue's tests. */
import { RedisError, TaskQueue, type TaskQueueEvents, type TaskQueueOptions } from 'redis-backplane';
import { afterEach } from 'vitest';
import type { Backend } from './backends.ts';
import { until, within } from './until.ts';

export interface Queues {
  /** A queue on its own manager in the test's namespace. It is closed after the test, with `graceMs` 0. */
  queue<T = unknown, R = unknown>(name?: string, options?: TaskQueueOptions): TaskQueue<T, R>;
}

/** Registers the clean-up for every test of the enclosing suite. */
export function useQueues(backend: Backend): Queues {
  const queues: { close(options: { graceMs: number }): Promise<void> }[] = [];
  afterEach(async () => {
    await within(15_000, Promise.all(queues.splice(0).map((queue) => queue.close({ graceMs: 0 }))), 'the queues to close');
  });
  return {
    queue<T, R>(name = 'work', options?: TaskQueueOptions) {
      const queue = new TaskQueue<T, R>(name, backend.manager(), options);
      queues.push(queue);
      return queue;
    },
  };
}

/** The RedisError that a call throws. */
export function thrown(call: () => unknown): RedisError {
  try {
    call();
  } catch (error) {
    if (error instanceof RedisError) return error;
    throw new Error('expected a RedisError', { cause: error });
  }
  throw new Error('expected a RedisError, nothing was thrown');
}

/** Resolves when the counts of a queue are `expected`. States that are not named do not matter. */
export async function reaches(
  queue: TaskQueue<never, never> | TaskQueue,
  expected: Partial<Awaited<ReturnType<TaskQueue['counts']>>>,
  timeoutMs = 10_000,
): Promise<void> {
  let last: unknown;
  await until(
    async () => {
      const counts: Record<string, number> = await queue.counts();
      last = counts;
      return Object.entries(expected).every(([state, count]) => counts[state] === count);
    },
    { timeoutMs, what: () => `counts ${JSON.stringify(expected)}; they are ${JSON.stringify(last)}` },
  );
}

export type Heard = { [E in keyof TaskQueueEvents]: { type: E; event: TaskQueueEvents[E][0] } }[keyof TaskQueueEvents];

/** Records every event of a queue from now on, in order. */
export async function record(queue: TaskQueue): Promise<Heard[]> {
  const heard: Heard[] = [];
  const names = [
    'added',
    'active',
    'progress',
    'completed',
    'failed',
    'retrying',
    'stalled',
    'removed',
    'drained',
    'gap',
    'error',
  ] as const;
  for (const type of names) queue.on(type, (event?: unknown) => void heard.push({ type, event } as Heard));
  await queue.ready();
  return heard;
}

/** A promise, and the function that resolves it. */
export function gate<T = void>(): { opened: Promise<T>; open: (value: T) => void } {
  let open: (value: T) => void = () => {};
  const opened = new Promise<T>((resolve) => {
    open = resolve;
  });
  return { opened, open };
}

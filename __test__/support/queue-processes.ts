/** Producers and workers in processes of their own, for tests that kill, stop and block them. */
import { type Child, startProcess } from './process.ts';

export interface WorkerArgs {
  url: string;
  queue: string;
  namespace?: string;
  concurrency?: number;
  leaseMs?: number;
  maxStalls?: number;
  /** Register in the worker registry. */
  registered?: boolean;
}

/** What a job's data may ask of the worker process. */
export interface Task {
  /** Milliseconds that the processor awaits. */
  sleepMs?: number;
  /** Milliseconds that the processor keeps the event loop busy. */
  blockMs?: number;
  /** It never settles; `first`: in the hands of its first worker. */
  hang?: boolean | 'first';
  /** The attempts that fail. */
  failures?: number;
}

/** What a worker process tells, in order. */
export type WorkerLine =
  | { up: true }
  | { begun: string; attempt: number; stalls: number; at: number }
  | { ended: string; at: number }
  | { aborted: string; kind: string }
  | { error: string; message: string }
  | { closed: boolean };

/** A process with one worker. It runs until it is killed, or told to close by SIGTERM. */
export function startWorker(args: WorkerArgs, timeoutMs = 120_000): Child {
  return startProcess<WorkerArgs>(
    ({ redis, emit, args: { url, queue: name, namespace, registered, ...options } }) => {
      const manager = new redis.RedisConnectionManager({
        url,
        namespace,
        connectRetries: 1_000_000,
        reconnect: { minDelayMs: 5, maxDelayMs: 100 },
      });
      const queue = new redis.TaskQueue(name, manager);
      const registry = registered ? new redis.WorkerRegistry(manager, { heartbeatIntervalMs: 100 }) : undefined;
      const worker = queue.process(
        async (job, { signal, attempt }) => {
          const task = job.data as { sleepMs?: number; blockMs?: number; hang?: boolean | 'first'; failures?: number };
          signal.addEventListener('abort', () =>
            emit({ aborted: job.id, kind: (signal.reason as { redisErrorKind: string }).redisErrorKind }),
          );
          emit({ begun: job.id, attempt, stalls: job.stalledCount, at: Date.now() });
          if (task.hang === true || (task.hang === 'first' && job.stalledCount === 0)) await new Promise(() => {});
          if (task.sleepMs) await new Promise((resolve) => setTimeout(resolve, task.sleepMs));
          if (task.blockMs) for (const end = Date.now() + task.blockMs; Date.now() < end; );
          if (attempt <= (task.failures ?? 0)) throw new Error(`attempt ${attempt}`);
          emit({ ended: job.id, at: Date.now() });
          return process.pid;
        },
        { ...options, registry },
      );
      worker.on('error', (error) => emit({ error: error.redisErrorKind, message: error.message }));
      process.once('SIGTERM', async () => {
        emit({ closed: await worker.close() });
        await queue.close();
        await registry?.cleanup();
        await manager.disconnect();
      });
      manager.connect().then(() => emit({ up: true }));
    },
    { args, timeoutMs },
  );
}

/** What of `lines` has the field `name`. */
export function linesWith<K extends string>(child: Child, name: K): Extract<WorkerLine, Record<K, unknown>>[] {
  return (child.lines as WorkerLine[]).filter((line) => name in line) as Extract<WorkerLine, Record<K, unknown>>[];
}

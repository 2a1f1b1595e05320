/** Workers in their own processes, for tests that kill, stop and block them. */
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

/** The data of a job, which tell the worker process what to do. */
export interface Task {
  /** Milliseconds that the processor awaits. */
  sleepMs?: number;
  /** Milliseconds that the processor keeps the event loop busy. */
  blockMs?: number;
  /** `true`: the processor never settles. `first`: it never settles in the job's first worker. */
  hang?: boolean | 'first';
  /** The number of attempts that fail. */
  failures?: number;
}

/** The lines that a worker process emits, in order. */
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

/** The lines of `child` that have the field `name`. */
export function linesWith<K extends string>(child: Child, name: K): Extract<WorkerLine, Record<K, unknown>>[] {
  return (child.lines as WorkerLine[]).filter((line) => name in line) as Extract<WorkerLine, Record<K, unknown>>[];
}

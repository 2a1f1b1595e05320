/** Owners and resumers of checkpoint threads in processes of their own, for tests that kill, stop and block them. */
import { type Child, startProcess } from './process.ts';

export interface OwnerArgs {
  url: string;
  threads: string[];
  leaseMs: number;
  ttlSec?: number;
  /** Register as this worker in the registry. */
  worker?: string;
  /** Milliseconds for which SIGUSR2 blocks the event loop, at the end of which each run saves once more. */
  blockMs?: number;
}

/** What a process with owners tells, in order. */
export type OwnerLine =
  | { owns: string; fence: number }
  | { aborted: string; kind: string }
  | { refused: string; kind: string }
  | { blocked: true }
  | { saved: string }
  | { notSaved: string; kind: string }
  | { unblocked: number };

/** A process that takes threads, saves `{ by: <its pid>, n }` every 20 ms, and goes on trying when a save is refused. It runs until it is killed. */
export function startOwner(args: OwnerArgs, timeoutMs = 120_000): Child {
  return startProcess<OwnerArgs>(
    async ({ redis, emit, args: { url, threads, leaseMs, ttlSec, worker: id, blockMs } }) => {
      const manager = new redis.RedisConnectionManager({ url, connectRetries: 1_000_000, reconnect: { minDelayMs: 5, maxDelayMs: 100 } });
      const store = new redis.CheckpointStore(manager, { ttlSec });
      const kindOf = (error: unknown) => (error as { redisErrorKind: string }).redisErrorKind;
      const registry = new redis.WorkerRegistry(manager, { heartbeatIntervalMs: 100 });
      const worker = id === undefined ? undefined : await registry.register({ id });
      const blocked: (() => void)[] = [];
      process.on('SIGUSR2', () => {
        const begun = Date.now();
        emit({ blocked: true });
        while (Date.now() - begun < (blockMs ?? 0));
        // Before anything that has happened meanwhile can reach JavaScript.
        for (const save of blocked) save();
        emit({ unblocked: Date.now() - begun });
      });
      const own = async (thread: string): Promise<void> => {
        const run = await store.acquire<{ by: number; n: number }>(thread, { leaseMs, waitMs: 60_000, worker });
        if (run === null) throw new Error(`somebody else owns ${thread}`);
        run.signal.addEventListener('abort', () => emit({ aborted: thread, kind: kindOf(run.signal.reason) }));
        blocked.push(() => {
          run.save({ by: process.pid, n: 1_000_000 }).then(
            () => emit({ saved: thread }),
            (error) => emit({ notSaved: thread, kind: kindOf(error) }),
          );
        });
        let told = false;
        for (let n = 0; ; n++) {
          try {
            await run.save({ by: process.pid, n });
            if (n === 0) emit({ owns: thread, fence: run.fence });
          } catch (error) {
            if (!told) emit({ refused: thread, kind: kindOf(error) });
            told = true;
          }
          await new Promise((resolve) => setTimeout(resolve, 20));
        }
      };
      await Promise.all(threads.map(own));
    },
    { args, timeoutMs },
  );
}

export interface ResumerArgs {
  url: string;
  concurrency?: number;
  leaseMs?: number;
  maxResumes?: number;
  match?: string;
  /** Handlers do not return. */
  hang?: boolean;
}

/** What a process with a resumer tells, in order. */
export type ResumerLine =
  | { up: true }
  | { resumed: string; attempt: number; fence: number; from: { by: number; n: number } | null; worker: string | null; at: number }
  | { finished: string }
  | { failed: string; times: number }
  | { error: string; message: string };

/** A process that takes interrupted threads over, saves `{ by: <its pid>, n }` behind the state it goes on from, and finishes them. */
export function startResumer(args: ResumerArgs, timeoutMs = 120_000): Child {
  return startProcess<ResumerArgs>(
    async ({ redis, emit, args: { url, hang, ...options } }) => {
      const manager = new redis.RedisConnectionManager({ url, connectRetries: 1_000_000, reconnect: { minDelayMs: 5, maxDelayMs: 100 } });
      const store = new redis.CheckpointStore(manager);
      const resumer = store.resume<{ by: number; n: number }>(async (run, { attempt }) => {
        const from = run.checkpoint?.state ?? null;
        emit({ resumed: run.thread, attempt, fence: run.fence, from, worker: run.interrupted?.worker ?? null, at: Date.now() });
        await run.save({ by: process.pid, n: (from?.n ?? 0) + 1 });
        if (hang) await new Promise(() => {});
        await run.finish();
        emit({ finished: run.thread });
      }, options);
      resumer.on('failed', (thread, times) => emit({ failed: thread, times }));
      resumer.on('error', (error) => emit({ error: (error as { redisErrorKind: string }).redisErrorKind, message: String(error) }));
      await manager.connect();
      emit({ up: true });
    },
    { args, timeoutMs },
  );
}

type Line = OwnerLine | ResumerLine;

/** What of the lines of `child` has the field `name`. */
export function told<K extends string>(child: Child, name: K): Extract<Line, Record<K, unknown>>[] {
  return (child.lines as Line[]).filter((line) => name in line) as Extract<Line, Record<K, unknown>>[];
}

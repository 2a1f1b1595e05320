/** A thread in the hands of its owner. */

import { json } from '../arguments.js';
import { RedisError } from '../errors.js';
import type { Internals } from '../internals.js';
import { verbs } from '../native.js';
import { metaText } from './meta.js';
import type { Checkpoint, CheckpointInfo, CheckpointRun, Interruption } from './options.js';
import { checkpointOf, infoOf, interruptionOf, type Taken, type Told } from './shapes.js';

const V = verbs('checkpoints', 'lost', 'runSave', 'release');

/** A run, and what only this package may do with it. */
export interface OpenRun<S> {
  readonly run: CheckpointRun<S>;
  /** The work failed: the thread is interrupted once more, after a pause that grows. */
  again(times: number): Promise<void>;
}

/** Its methods are bound: they work where they were taken out of it. */
class Run<S> implements CheckpointRun<S> {
  readonly thread: string;
  readonly fence: number;
  readonly signal: AbortSignal;
  readonly checkpoint: Checkpoint<S> | null;
  readonly interrupted: Interruption | null;
  readonly save: CheckpointRun<S>['save'];
  readonly finish: CheckpointRun<S>['finish'];
  readonly pause: CheckpointRun<S>['pause'];

  constructor(
    thread: string,
    [fence, found, was]: Taken,
    signal: AbortSignal,
    methods: Pick<CheckpointRun<S>, 'save' | 'finish' | 'pause'>,
  ) {
    this.thread = thread;
    this.fence = fence;
    this.signal = signal;
    this.checkpoint = found === null ? null : checkpointOf<S>(thread, found);
    this.interrupted = was === null ? null : interruptionOf(was);
    this.save = methods.save;
    this.finish = methods.finish;
    this.pause = methods.pause;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.pause();
  }
}

/** What the user is given of a thread that was taken under number `id`. */
export function openRun<S>({ port, handle }: Internals, id: number, thread: string, taken: Taken): OpenRun<S> {
  const controller = new AbortController();
  let isOver = false;
  let last: Promise<unknown> = Promise.resolve();
  const release = async (outcome: string, times = 0): Promise<boolean> => {
    if (isOver) return true;
    isOver = true;
    // What is being saved was meant to be saved.
    await last;
    return (await port.call(handle, V.release, id, outcome, times)) as boolean;
  };
  // Owning a thread does not keep the process alive.
  port.callQuietly(handle, V.lost, id).catch((error: unknown) => controller.abort(error));

  const save = async (state: S, options?: { meta?: Record<string, unknown> | undefined }): Promise<CheckpointInfo> => {
    const text = json('CheckpointRun.save: state', state);
    if (typeof text !== 'string') throw text;
    const meta = metaText('CheckpointRun.save', options?.meta);
    if (isOver) throw new RedisError('lease-lost', 'CheckpointRun.save: the run is over');
    const saving = last.then(() => {
      if (controller.signal.aborted) throw controller.signal.reason;
      return port.call(handle, V.runSave, id, meta, '', '', text);
    });
    last = saving.catch(() => {});
    return infoOf(thread, (await saving) as Told);
  };
  const finish = async (outcome: 'done' | 'failed' = 'done'): Promise<void> => {
    if (outcome !== 'done' && outcome !== 'failed') {
      throw new RedisError('config', "CheckpointRun.finish: outcome: expected 'done' or 'failed', got something else");
    }
    if (await release(outcome)) return;
    throw new RedisError('lease-lost', 'CheckpointRun.finish: the thread belongs to somebody else', { delivery: 'rejected' });
  };
  const pause = async (): Promise<void> => {
    await release('pause');
  };
  return {
    run: new Run<S>(thread, taken, controller.signal, { save, finish, pause }),
    again: async (times) => {
      await release('again', times);
    },
  };
}

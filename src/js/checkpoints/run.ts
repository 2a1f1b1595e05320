/** A run: a thread that this process owns. */

import { jsonArgument, optionsOf, refuseUnknown } from '../arguments.js';
import { configError, RedisError } from '../errors.js';
import type { Internals } from '../internals.js';
import { verbs } from '../native.js';
import { metaText } from './meta.js';
import type { Checkpoint, CheckpointInfo, CheckpointRun, Interruption } from './options.js';
import { checkpointOf, infoOf, interruptionOf, type Taken, type Told } from './shapes.js';

const V = verbs('checkpoints', 'lost', 'runSave', 'release');

/** A run, with the calls that only this package makes. */
export interface OpenRun<S> {
  readonly run: CheckpointRun<S>;
  /** After an error of a handler: the thread is interrupted again, after a growing pause. */
  again(times: number): Promise<void>;
  /** For a run that no caller got: the thread becomes as it was before. */
  undo(): Promise<void>;
}

/** Its methods are bound: a caller may take them out of the object. */
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

/** A signal that is aborted when the thread is lost. This is a function of its own, because the wait for the loss must not keep the store alive. */
function lossOf({ port, handle }: Internals, id: number): AbortSignal {
  const controller = new AbortController();
  // Owning a thread does not keep the process alive.
  port.callQuietly(handle, V.lost, id).catch((error: unknown) => controller.abort(error));
  return controller.signal;
}

/**
 * Opens the run of a thread that was taken under number `id`.
 *
 * @param own The store. The run keeps it alive, because the native store gives up its threads when it is collected.
 */
export function openRun<S>(own: Internals, id: number, thread: string, taken: Taken): OpenRun<S> {
  const { port } = own;
  const signal = lossOf(own, id);
  /** How the run was ended, and whether it still owned the thread then. */
  let end: { how: string; isOwn: Promise<boolean> } | undefined;
  let last: Promise<unknown> = Promise.resolve();
  /** Ends the run, unless it was ended before. Returns whether it still owned the thread. */
  const release = (how: string, times = 0): Promise<boolean> => {
    // Earlier saves are settled before the run ends.
    end ??= { how, isOwn: last.then(async () => (await port.call(own.handle, V.release, id, how, times)) as boolean) };
    return end.isOwn;
  };

  const save = async (state: S, options?: { meta?: Record<string, unknown> | undefined }): Promise<CheckpointInfo> => {
    const text = jsonArgument('CheckpointRun.save: state', state);
    const { meta, ...rest } = optionsOf('CheckpointRun.save: options', options);
    refuseUnknown('CheckpointRun.save', rest, ['meta']);
    const metadata = metaText('CheckpointRun.save', meta);
    if (signal.aborted) throw signal.reason;
    if (end !== undefined) throw new RedisError('lease-lost', 'CheckpointRun.save: the run is over');
    const saving = last.then(() => {
      if (signal.aborted) throw signal.reason;
      return port.call(own.handle, V.runSave, id, metadata, '', '', text);
    });
    last = saving.catch(() => {});
    return infoOf(thread, (await saving) as Told);
  };
  const finish = async (outcome: 'done' | 'failed' = 'done'): Promise<void> => {
    if (outcome !== 'done' && outcome !== 'failed') {
      throw configError('CheckpointRun.finish: outcome', "'done' or 'failed'", outcome);
    }
    if (end !== undefined && end.how !== outcome) throw new RedisError('lease-lost', 'CheckpointRun.finish: the run is over');
    if (await release(outcome)) return;
    throw new RedisError('lease-lost', 'CheckpointRun.finish: the thread belongs to somebody else', { delivery: 'rejected' });
  };
  const pause = async (): Promise<void> => {
    // The caller that ended the run before got the error.
    if (end === undefined) await release('pause');
    else await end.isOwn.catch(() => {});
  };
  return {
    run: new Run<S>(thread, taken, signal, { save, finish, pause }),
    again: async (times) => {
      if (end === undefined) await release('again', times);
    },
    undo: async () => {
      await release('undo');
    },
  };
}

/** New checkpoints of a thread, given to a handler one after another. */

import { onAbort } from '../aborts.js';
import { cancelled, checkFunction, checkSignal, optionsOf, refuseUnknown } from '../arguments.js';
import type { Unsubscribe } from '../bus/options.js';
import { RedisError, warnOfListener } from '../errors.js';
import { verbs } from '../native.js';
import type { CheckpointInfo, WatchOptions } from './options.js';
import type { Opening } from './owner.js';
import { infoOf, type Told } from './shapes.js';

/** The handler of new checkpoints. */
export type WatchHandler = (info: CheckpointInfo) => void | Promise<void>;

const V = verbs('checkpoints', 'watch', 'news', 'unwatch');

/** Starts to watch a thread. */
export async function startWatch(own: Opening, thread: string, handler: WatchHandler, options?: WatchOptions): Promise<Unsubscribe> {
  const call = 'CheckpointStore.watch';
  checkFunction(`${call}: handler`, handler);
  const { after, signal, ...rest } = optionsOf(`${call}: options`, options);
  refuseUnknown(call, rest, ['after', 'signal']);
  checkSignal(`${call}: signal`, signal);
  if (signal?.aborted) throw cancelled(call, signal);
  const { port, handle } = own;
  const id = own.nextId();
  await port.call(handle, V.watch, id, thread, after);
  let ending: Promise<void> | undefined;
  const end = (): Promise<void> => {
    forget();
    own.open.delete(end);
    ending ??= port.call(handle, V.unwatch, id).then(() => {});
    return ending;
  };
  const forget = onAbort(signal, () => void end().catch(warnOfListener));
  if (signal?.aborted) {
    await end();
    throw cancelled(call, signal);
  }
  own.open.add(end);
  const hear = async (): Promise<void> => {
    for (;;) {
      const news = (await port.call(handle, V.news, id)) as Told[] | null;
      if (news === null) return;
      for (const told of news) {
        if (ending !== undefined) return;
        try {
          await handler(infoOf(thread, told));
        } catch (error) {
          warnOfListener(error);
        }
      }
    }
  };
  hear().catch(async (error: unknown) => {
    if (!(error instanceof RedisError && error.redisErrorKind === 'closed')) warnOfListener(error);
    await end().catch(warnOfListener);
  });
  return Object.assign(() => end(), { [Symbol.asyncDispose]: () => end() });
}

/** Ending well when the process is told to. Nothing installs a signal handler by itself: this is the one way to. */

import { checkFunction, optionsOf, refuseUnknown } from './arguments.js';
import { configError } from './errors.js';

/** Options of {@link shutdownOnSignals}. */
export interface ShutdownSignals {
  /** Default `SIGTERM` and `SIGINT`. */
  signals?: NodeJS.Signals[];
  /** Told what `shutdown()` rejected with; the process ends all the same. Default: a process warning. */
  onError?: (error: unknown) => void;
}

/**
 * Has `container.shutdown()` called at the first of the signals, and the process end by that signal afterwards, so that whoever sent it sees
 * what it expects. A second signal meanwhile ends the process at once.
 *
 * @param container Anything with a `shutdown()`.
 * @returns Takes the handlers away again.
 */
export function shutdownOnSignals(container: { shutdown(): Promise<void> }, options?: ShutdownSignals): () => void {
  checkFunction('shutdownOnSignals: container.shutdown', (container as { shutdown?: unknown } | undefined)?.shutdown);
  const { signals = ['SIGTERM', 'SIGINT'], onError = warn, ...rest } = optionsOf('shutdownOnSignals: options', options);
  refuseUnknown('shutdownOnSignals', rest, ['signals', 'onError']);
  checkFunction('shutdownOnSignals: onError', onError);
  if (!Array.isArray(signals)) throw configError('shutdownOnSignals: signals', 'an array of names of signals', signals);
  const remove = (): void => {
    for (const signal of signals) process.off(signal, end);
  };
  const end = (signal: NodeJS.Signals): void => {
    // From now on the signals do what they do by themselves.
    remove();
    container
      .shutdown()
      .catch(onError)
      .finally(() => process.kill(process.pid, signal));
  };
  for (const signal of signals) process.on(signal, end);
  return remove;
}

function warn(error: unknown): void {
  process.emitWarning(error instanceof Error ? error : new Error(String(error)), 'RedisShutdownWarning');
}

/** Ending well when the process is told to. Nothing installs a signal handler by itself: this is the one way to. */

import { constants } from 'node:os';
import { checkFunction, optionsOf, refuseUnknown } from './arguments.js';
import { configError } from './errors.js';

/** Options of {@link shutdownOnSignals}. */
export interface ShutdownSignals {
  /** Default `SIGTERM` and `SIGINT`. */
  signals?: NodeJS.Signals[] | undefined;
  /** Told what `shutdown()` rejected with; the process ends all the same. Default: a process warning. */
  onError?: ((error: unknown) => unknown) | undefined;
}

/** No process can handle these. */
const UNCATCHABLE: readonly unknown[] = ['SIGKILL', 'SIGSTOP'];

/**
 * Has `container.shutdown()` called at the first of the signals, and the process end by that signal afterwards, so that whoever sent it sees
 * what it expects. A second signal meanwhile ends the process at once. Where the signal itself does not end it, as with the first process of a
 * container image, it exits with 128 and the signal's number.
 *
 * @param container Anything with a `shutdown()`.
 * @returns Takes the handlers away again.
 * @throws RedisError of kind `config`, naming the option; then no handler is installed.
 */
export function shutdownOnSignals(container: { shutdown(): Promise<unknown> }, options?: ShutdownSignals): () => void {
  checkFunction('shutdownOnSignals: container.shutdown', (container as { shutdown?: unknown } | undefined)?.shutdown);
  const { signals = ['SIGTERM', 'SIGINT'], onError = warn, ...rest } = optionsOf('shutdownOnSignals: options', options);
  refuseUnknown('shutdownOnSignals', rest, ['signals', 'onError']);
  checkFunction('shutdownOnSignals: onError', onError);
  if (!Array.isArray(signals)) throw configError('shutdownOnSignals: signals', 'an array of names of signals', signals);
  for (const signal of signals) {
    if (!Object.hasOwn(constants.signals, signal) || UNCATCHABLE.includes(signal)) {
      throw configError('shutdownOnSignals: signals', 'names of signals that can be handled, such as SIGTERM', signal);
    }
  }
  const remove = (): void => {
    for (const signal of signals) process.off(signal, told);
  };
  const end = (signal: NodeJS.Signals): void => {
    // From now on the signal does what it does by itself.
    remove();
    process.kill(process.pid, signal);
    // That was nothing: process 1 is spared what it does not handle, and some signals end no process.
    process.exit(128 + constants.signals[signal]);
  };
  let ending = false;
  const told = (signal: NodeJS.Signals): void => {
    if (ending) end(signal);
    ending = true;
    container
      .shutdown()
      .catch(onError)
      .finally(() => end(signal));
  };
  for (const signal of signals) process.on(signal, told);
  return remove;
}

function warn(error: unknown): void {
  process.emitWarning(error instanceof Error ? error : new Error(String(error)), 'RedisShutdownWarning');
}

/** Graceful shutdown on signals. No other file of this package installs signal handlers. */

import { constants } from 'node:os';
import { checkFunction, optionsOf, refuseUnknown } from './arguments.js';
import { configError } from './errors.js';

/** Options of {@link shutdownOnSignals}. */
export interface ShutdownSignals {
  /** Default `SIGTERM` and `SIGINT`. */
  signals?: NodeJS.Signals[] | undefined;
  /** Gets the error of `shutdown()`; the process ends in any case. Default: a process warning. */
  onError?: ((error: unknown) => unknown) | undefined;
}

/** The signals that no process can handle. */
const UNCATCHABLE: readonly unknown[] = ['SIGKILL', 'SIGSTOP'];

/**
 * Calls `container.shutdown()` at the first of the signals, and then ends the process by that signal, as its sender expects. A second signal
 * meanwhile ends the process at once. If the signal does not end the process, as with the first process of a container image, the process exits with
 * 128 plus the signal's number.
 *
 * @param container Anything with a `shutdown()`.
 * @returns A function that removes the handlers.
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
    for (const signal of signals) process.off(signal, onSignal);
  };
  const end = (signal: NodeJS.Signals): void => {
    // Without handlers the signal has its default effect: it ends the process.
    remove();
    process.kill(process.pid, signal);
    // The process still runs: the kernel does not end process 1 by signals, and some signals end no process.
    process.exit(128 + constants.signals[signal]);
  };
  let ending = false;
  const onSignal = (signal: NodeJS.Signals): void => {
    if (ending) end(signal);
    ending = true;
    container
      .shutdown()
      .catch(onError)
      .finally(() => end(signal));
  };
  for (const signal of signals) process.on(signal, onSignal);
  return remove;
}

function warn(error: unknown): void {
  process.emitWarning(error instanceof Error ? error : new Error(String(error)), 'RedisShutdownWarning');
}

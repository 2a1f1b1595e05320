/**
 * One listener per `AbortSignal`, however many wait for it.
 *
 * A service hands one signal to all its waits. Node warns of a leak at the eleventh listener, so this package adds one alone and
 * keeps what is to be done in a set of its own.
 */

const waiting = new WeakMap<AbortSignal, Set<() => void>>();

/** Calls `callback` once, when `signal` is aborted; what it returns takes that back. The callback must not throw. */
export function onAbort(signal: AbortSignal | undefined, callback: () => void): () => void {
  if (signal === undefined) return () => {};
  const callbacks = waiting.get(signal) ?? listen(signal);
  // Wrapped: the same callback may wait twice.
  const own = (): void => callback();
  callbacks.add(own);
  return () => callbacks.delete(own);
}

/** The set stays with its signal: adding and removing the listener with every wait would cost more than the empty set. */
function listen(signal: AbortSignal): Set<() => void> {
  const callbacks = new Set<() => void>();
  waiting.set(signal, callbacks);
  signal.addEventListener(
    'abort',
    () => {
      waiting.delete(signal);
      for (const callback of callbacks) callback();
      callbacks.clear();
    },
    { once: true },
  );
  return callbacks;
}

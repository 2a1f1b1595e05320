/**
 * One listener per `AbortSignal`, for any number of waiting calls.
 *
 * A service may pass one signal to all its calls. Node warns of a leak at the eleventh listener, so this package adds a single listener to a signal
 * and keeps the callbacks in a set of its own.
 */

const waiting = new WeakMap<AbortSignal, Set<() => void>>();

/** Calls `callback` once, when `signal` is aborted. Returns a function that removes the callback. The callback must not throw. */
export function onAbort(signal: AbortSignal | undefined, callback: () => void): () => void {
  if (signal === undefined) return () => {};
  const callbacks = waiting.get(signal) ?? listen(signal);
  // Wrapped, so that the set can hold the same callback twice.
  const own = (): void => callback();
  callbacks.add(own);
  return () => callbacks.delete(own);
}

/** Adds the listener and the set of callbacks. Both stay with the signal, which is cheaper than adding and removing a listener for each call. */
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

/**
 * Waits for a condition, with a deadline. No other file of the tests has a timer for waiting. Deadlines are given for a machine at rest; on a busy
 * machine they are longer by the factor by which the machine is slower.
 */
import { Deadline } from './starvation.ts';

export interface UntilOptions {
  /** How long the condition may take to hold. Milliseconds, default 5 000. */
  timeoutMs?: number;
  /** The condition in words, for the message "timed out after … waiting for …". */
  what: string;
}

/**
 * Resolves with the first truthy value that `condition` returns, and rejects at the deadline.
 *
 * A condition that throws counts as "not yet"; its last error is the `cause` of the rejection. A
 * condition whose promise never settles does not outlive the deadline. `what` may be a function, to
 * say in the message how far things had come.
 */
export async function until<T>(
  condition: () => T | Promise<T>,
  options: Omit<UntilOptions, 'what'> & { what: string | (() => string) },
): Promise<NonNullable<Exclude<T, false | 0 | ''>>> {
  const deadline = new Deadline(options.timeoutMs ?? 5_000);
  let cause: unknown;
  for (let round = 0; ; round += 1) {
    try {
      const value = await before(deadline, Promise.resolve(condition()), 'the condition itself');
      if (value) return value as NonNullable<Exclude<T, false | 0 | ''>>;
      cause = undefined;
    } catch (error) {
      cause = error;
    }
    if (deadline.left() === 0) {
      const what = typeof options.what === 'function' ? options.what() : options.what;
      throw new Error(`timed out after ${deadline} waiting for ${what}`, { cause });
    }
    await pause(round);
  }
}

/** Settles as `promise` does, or rejects after `ms` milliseconds. */
export function within<T>(ms: number, promise: PromiseLike<T>, what = 'a promise'): Promise<T> {
  return before(new Deadline(ms), promise, what);
}

async function before<T>(deadline: Deadline, promise: PromiseLike<T>, what: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const passed = new Promise<never>((_, reject) => {
    const look = () => {
      const left = deadline.left();
      if (left > 0) timer = setTimeout(look, Math.ceil(left));
      else reject(new Error(`timed out after ${deadline} waiting for ${what}`));
    };
    look();
  });
  try {
    return await Promise.race([promise, passed]);
  } finally {
    clearTimeout(timer);
  }
}

/** Waits for a turn of the event loop; after some turns it sleeps for up to 10 ms, so that other processes get the processor. */
function pause(round: number): Promise<void> {
  return new Promise((resolve) => {
    if (round < 5) setImmediate(resolve);
    else setTimeout(resolve, Math.min(10, round - 4));
  });
}

/** How much of a processor this process gets when it wants a whole one: what deadlines of tests follow. */

/** Processor time that a measurement takes. */
const SPIN_MS = 20;
/** Beyond this the machine is no place for tests with deadlines. */
const MAX_FACTOR = 12;

/**
 * How many times slower than alone this process runs at the moment: 1 on a machine with a processor to spare, 4 where four processes share
 * one.
 */
export function starvation(): number {
  const before = process.cpuUsage();
  const began = process.hrtime.bigint();
  let used = 0;
  while (used < SPIN_MS) {
    const { user, system } = process.cpuUsage(before);
    used = (user + system) / 1_000;
  }
  const tookMs = Number(process.hrtime.bigint() - began) / 1e6;
  return Math.min(MAX_FACTOR, Math.max(1, tookMs / used));
}

/** `ms` of a machine that has nothing else to do, in the time of this one as it is now: for upper bounds of what a test has measured. */
export function stretched(ms: number): number {
  return ms * starvation();
}

/** A point in time that moves on while the machine is starved. */
export class Deadline {
  readonly #restMs: number;
  readonly #began = performance.now();
  #ms: number;

  /** @param ms until it, on a machine at rest. */
  constructor(ms: number) {
    this.#restMs = ms;
    this.#ms = ms;
  }

  /** The milliseconds until it, 0 once it has passed. The machine is looked at only when the time seems to be over. */
  left(): number {
    const waited = performance.now() - this.#began;
    if (waited >= this.#ms) this.#ms = stretched(this.#restMs);
    return Math.max(0, this.#ms - waited);
  }

  /** How long that was. */
  toString(): string {
    return `${Math.round(performance.now() - this.#began)} ms (${Math.round(this.#restMs)} ms on a machine at rest)`;
  }
}

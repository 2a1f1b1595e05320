/** Measures how much of a processor this process gets. The deadlines of tests are stretched accordingly. */

/** The processor time of a measurement. */
const SPIN_MS = 20;
/** The largest factor. On a slower machine, tests with deadlines fail. */
const MAX_FACTOR = 12;

/**
 * The factor by which this process is slower at the moment than on an idle machine: 1 with an idle processor, 4 if four processes share one processor.
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

/** The time that `ms` on an idle machine take on this machine now. Use it for upper bounds of measured times. */
export function stretched(ms: number): number {
  return ms * starvation();
}

/** A deadline that is postponed while other processes use the processor. */
export class Deadline {
  readonly #restMs: number;
  readonly #began = performance.now();
  #ms: number;

  /** @param ms The time until the deadline, on an idle machine. */
  constructor(ms: number) {
    this.#restMs = ms;
    this.#ms = ms;
  }

  /** The milliseconds until the deadline, 0 once it has passed. The machine is measured only when the time seems to be over. */
  left(): number {
    const waited = performance.now() - this.#began;
    if (waited >= this.#ms) this.#ms = stretched(this.#restMs);
    return Math.max(0, this.#ms - waited);
  }

  /** The time since the start, for error messages. */
  toString(): string {
    return `${Math.round(performance.now() - this.#began)} ms (${Math.round(this.#restMs)} ms on a machine at rest)`;
  }
}

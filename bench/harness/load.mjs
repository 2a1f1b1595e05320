/** The two ways of loading a client. Both run inside the child process that holds the client. */
import { setTimeout as sleep } from "node:timers/promises";
import { quantile } from "./statistics.mjs";

const MIB = 1024 * 1024;
/** Enough for a window of several seconds at any latency a loopback can have. */
const MAX_TIMED = 1_000_000;

/**
 * "N in flight" is N concurrent loops, each awaiting its command before it sends its next, so that
 * the number in flight stays N for as long as the load lasts: no batch ever runs dry, and none
 * starts with a burst. Commands completed and CPU used are counted within a window that opens
 * `warmMs` after the loops start and closes before they are told to end.
 *
 * `issue(n)` sends the command for the n-th of `span` keys and gives its promise;
 * `check(reply, n)` throws if the reply is not the right one.
 */
export async function saturate({ inFlight, warmMs, windowMs, span, issue, check }) {
  let running = true;
  let completed = 0;
  const loop = async (first) => {
    let n = first % span;
    while (running) {
      check(await issue(n), n);
      completed++;
      n = n + 1 === span ? 0 : n + 1;
    }
  };
  const loops = Promise.all(Array.from({ length: inFlight }, (_, index) => loop(index)));
  try {
    // A loop that fails ends the wait at once; none ends otherwise.
    await Promise.race([loops, sleep(warmMs)]);
    const before = { completed, time: performance.now(), cpu: process.cpuUsage() };
    await Promise.race([loops, sleep(windowMs)]);
    const elapsedMs = performance.now() - before.time;
    const cpu = process.cpuUsage(before.cpu);
    const commands = completed - before.completed;
    return {
      perSecond: (commands / elapsedMs) * 1000,
      cpuMicros: (cpu.user + cpu.system) / commands,
      rssMiB: process.memoryUsage.rss() / MIB,
    };
  } finally {
    running = false;
    await loops;
  }
}

/**
 * Resolves, with what `issue()` gives, when that has come and the function that `hear` is given first was called. As `Promise.all`, at
 * a fraction of its cost, which would be a large part of what is measured here.
 */
export function both(hear, issue) {
  return new Promise((resolve, reject) => {
    let left = 2;
    let answer;
    const step = () => {
      left--;
      if (left === 0) resolve(answer);
    };
    hear(step);
    issue().then((given) => {
      answer = given;
      step();
    }, reject);
  });
}

/** One command at a time, each timed from the call to the moment its awaiter runs again. */
export async function oneAtATime({ warmMs, windowMs, span, issue, check }) {
  let n = 0;
  const next = async () => {
    check(await issue(n), n);
    n = n + 1 === span ? 0 : n + 1;
  };
  for (const end = performance.now() + warmMs; performance.now() < end; ) await next();
  const timed = new Float64Array(MAX_TIMED);
  let count = 0;
  const cpuBefore = process.cpuUsage();
  const start = performance.now();
  let now = start;
  while (now - start < windowMs && count < MAX_TIMED) {
    await next();
    const after = performance.now();
    timed[count++] = after - now;
    now = after;
  }
  const cpu = process.cpuUsage(cpuBefore);
  const sorted = timed.subarray(0, count).sort();
  return {
    p50Micros: quantile(sorted, 0.5) * 1000,
    p99Micros: quantile(sorted, 0.99) * 1000,
    perSecond: (count / (now - start)) * 1000,
    cpuMicros: (cpu.user + cpu.system) / count,
    rssMiB: process.memoryUsage.rss() / MIB,
  };
}

/** Exactly `count` commands with `inFlight` of them in flight until the last few. */
export async function complete({ inFlight, count, span, issue, check }) {
  let issued = 0;
  const loop = async () => {
    while (issued < count) {
      const n = issued++ % span;
      check(await issue(n), n);
    }
  };
  await Promise.all(Array.from({ length: inFlight }, loop));
}

/**
 * Every row that can be run, one file per kind of work. A row is
 *
 * - `name`, `title`: how it is chosen and how it is headed;
 * - `metrics`: `{ key, title, better, digits, isAroundZero? }[]`; the first is the one that `ours ÷` compares,
 *   unless it is around zero, where a ratio says nothing;
 * - `targets`: made by `harness/targets.mjs`;
 * - `contestants`: `{ client, configuration, isDefault, open }[]`, where `open(context)` gives `{ sample, close }`
 *   and `sample()` the metrics of one round as plain numbers. `context` is
 *   `{ endpoint, packageDirectory, warmMs, windowMs, quick }`;
 * - `isFresh`: a new process for every sample, with no warm-up;
 * - `isInHarness`: the contestants start processes of their own and are run without a child;
 * - `needsServer: false`: no `redis-server` is started;
 * - `split`: each round is made of this many, each as many times shorter, where the machine's mood changes within a round;
 * - `maxRounds`: more rounds than this say nothing new.
 */
import { rows as live } from "./bus.mjs";
import { rows as durable } from "./bus-durable.mjs";
import { rows as checkpoints } from "./checkpoints.mjs";
import { rows as footprint } from "./footprint.mjs";
import { rows as kv } from "./kv.mjs";
import { rows as latency } from "./latency.mjs";
import { rows as memory } from "./memory.mjs";
import { rows as memoryEngine } from "./memory-engine.mjs";
import { rows as queue } from "./queue.mjs";
import { rows as raw } from "./raw.mjs";
import { rows as registry } from "./registry.mjs";
import { rows as sessions } from "./sessions.mjs";

export const rows = [
  ...raw,
  ...kv,
  ...sessions,
  ...checkpoints,
  ...latency,
  ...memory,
  ...memoryEngine,
  ...live,
  ...durable,
  ...queue,
  ...registry,
  ...footprint,
];

export function findRow(name) {
  return rows.find((row) => row.name === name);
}

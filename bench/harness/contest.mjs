/**
 * Runs one row: a fresh server, every contestant in a child process of its own, and rounds in which each
 * is sampled once, in an order rotated by one per round (A B C, B C A, …), so that whatever else the machine
 * does in the meantime falls on all of them alike. A whole round of each before the first is thrown away.
 *
 * A contestant that fails is out, with its reason; the others go on.
 */
import { Child } from "./child.mjs";
import { startServer } from "./server.mjs";
import { summarize } from "./statistics.mjs";

/** `settings`: `{ clients, rounds, warmMs, windowMs, quick, packageDirectory }`; gives the row's standings. */
export async function contest(row, settings, report) {
  const entered = row.contestants
    .map((contestant, index) => ({ ...contestant, index, samples: [] }))
    .filter(({ client }) => settings.clients.includes(client));
  const split = row.split ?? 1;
  const rounds = Math.min(settings.rounds, row.maxRounds ?? Infinity) * split;
  const server = row.needsServer === false ? undefined : await startServer();
  const { warmMs, windowMs } = settings;
  const context = contextOf({ ...settings, warmMs: warmMs / split, windowMs: windowMs / split }, server);
  const attempt = async (contestant, step) => {
    if (contestant.failure) return undefined;
    try {
      return await step(contestant);
    } catch (error) {
      contestant.failure = error.message;
      return undefined;
    }
  };
  const corner = cornerOf(row, context);
  try {
    if (!row.isFresh) {
      for (const contestant of entered) {
        await attempt(contestant, corner.open);
        for (let part = 0; part < split; part++) await attempt(contestant, corner.sample);
      }
    }
    for (let round = 0; round < rounds; round++) {
      report(`${row.name}: round ${round + 1} of ${rounds}`);
      for (const contestant of rotated(entered, round)) {
        const sample = await attempt(contestant, row.isFresh ? corner.sampleFresh : corner.sample);
        if (sample) contestant.samples.push(sample);
      }
    }
  } finally {
    for (const contestant of entered) await corner.close(contestant);
    await server?.stop();
  }
  return entered.map(standingOf);
}

export function contextOf({ warmMs, windowMs, quick, packageDirectory }, server) {
  return { warmMs, windowMs, quick, packageDirectory, endpoint: server?.endpoint };
}

/** Where the contestants of a row live: in children, or, for what starts its own processes, in this one. */
function cornerOf(row, context) {
  const corner = row.isInHarness
    ? {
        open: async (contestant) => {
          contestant.live = await contestant.open(context);
        },
        sample: ({ live }) => live.sample(),
        close: async ({ live }) => live?.close?.(),
      }
    : {
        open: async (contestant) => {
          contestant.child = new Child();
          await contestant.child.ask("open", { row: row.name, contestant: contestant.index, context });
        },
        sample: ({ child }) => child.ask("sample"),
        close: async (contestant) => {
          await contestant.child?.end();
          contestant.child = undefined;
        },
      };
  const sampleFresh = async (contestant) => {
    try {
      await corner.open(contestant);
      return await corner.sample(contestant);
    } finally {
      await corner.close(contestant);
    }
  };
  return { ...corner, sampleFresh };
}

function rotated(list, by) {
  const start = by % list.length;
  return [...list.slice(start), ...list.slice(0, start)];
}

function standingOf({ client, configuration, isDefault, samples, failure }) {
  const standing = { client, configuration, isDefault, samples };
  if (failure) return { ...standing, failure };
  const metrics = Object.keys(samples[0]);
  return {
    ...standing,
    summary: Object.fromEntries(metrics.map((metric) => [metric, summarize(samples.map((s) => s[metric]))])),
  };
}

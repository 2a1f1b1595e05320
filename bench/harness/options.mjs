/** The command line of `npm run bench`. */
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { rows } from "../rows/index.mjs";

const REPOSITORY = fileURLToPath(new URL("../..", import.meta.url));
const PACES = {
  full: { rounds: 7, warmMs: 300, windowMs: 1000 },
  quick: { rounds: 2, warmMs: 100, windowMs: 250 },
};
const TOOLS = ["auto", "perf", "cpu"];

export const USAGE = `npm run bench -- [options]

  --rows a,b       rows by name or by the first words of their names (raw, kv-get, memory); default: all
  --clients a,b    ours, ioredis, node-redis, glide, bullmq, langgraph; default: all, each in every configuration
  --rounds n       rounds of each row; default ${PACES.full.rounds}
  --window ms      length of one sample; default ${PACES.full.windowMs}
  --quick          ${PACES.quick.rounds} rounds of ${PACES.quick.windowMs} ms: shows that it runs, not how fast
  --package dir    the package under test; default: this repository
  --no-write       leave bench/results alone
  --check          end with code 1 if a target is missed
  --profile [tool] profile the first chosen client on the first chosen row; tool: perf, cpu, auto (default)
  --list           list the rows
`;

/** The settings of a run; throws, naming the option, on anything it does not understand. */
export function readOptions(args) {
  // `--profile` takes its tool or nothing, which parseArgs has no word for.
  const complete = args.map((arg, index) =>
    arg === "--profile" && !TOOLS.includes(args[index + 1]) ? "--profile=auto" : arg,
  );
  const { values } = parseArgs({
    args: complete,
    options: {
      rows: { type: "string" },
      clients: { type: "string" },
      rounds: { type: "string" },
      window: { type: "string" },
      quick: { type: "boolean", default: false },
      package: { type: "string", default: REPOSITORY },
      "no-write": { type: "boolean", default: false },
      check: { type: "boolean", default: false },
      profile: { type: "string" },
      list: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  const pace = values.quick ? PACES.quick : PACES.full;
  if (values.profile !== undefined && !TOOLS.includes(values.profile)) {
    throw new Error(`--profile: expected one of ${TOOLS.join(", ")}, got "${values.profile}"`);
  }
  return {
    rows: chosenRows(values.rows),
    clients: chosenClients(values.clients),
    rounds: positive("rounds", values.rounds) ?? pace.rounds,
    warmMs: pace.warmMs,
    windowMs: positive("window", values.window) ?? pace.windowMs,
    quick: values.quick,
    packageDirectory: resolve(values.package),
    isWritten: !values["no-write"],
    isChecked: values.check,
    profile: values.profile,
    isList: values.list,
    isHelp: values.help,
  };
}

function chosenRows(list) {
  if (list === undefined) return rows;
  const words = list.split(",");
  for (const word of words) {
    if (!rows.some((row) => isNamed(row, word))) {
      throw new Error(`--rows: no row "${word}"; there are ${rows.map(({ name }) => name).join(", ")}`);
    }
  }
  return rows.filter((row) => words.some((word) => isNamed(row, word)));
}

const isNamed = ({ name }, word) => name === word || name.startsWith(`${word}-`);

function chosenClients(list) {
  const known = [...new Set(rows.flatMap(({ contestants }) => contestants.map(({ client }) => client)))];
  if (list === undefined) return known;
  const chosen = list.split(",");
  for (const client of chosen) {
    if (!known.includes(client)) throw new Error(`--clients: no client "${client}"; there are ${known.join(", ")}`);
  }
  return chosen;
}

function positive(name, text) {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1)
    throw new Error(`--${name}: expected a whole number from 1, got "${text}"`);
  return value;
}

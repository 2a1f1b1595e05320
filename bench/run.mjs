/** `npm run bench`: measures this package side by side with its peers. See README.md. */
import { existsSync } from "node:fs";
import os from "node:os";
import { contest } from "./harness/contest.mjs";
import { readOptions, USAGE } from "./harness/options.mjs";
import { profile } from "./harness/profile.mjs";
import { printRow, printSummary } from "./harness/report.mjs";
import { describeRun, writeResults } from "./harness/results.mjs";
import { serverVersion } from "./harness/server.mjs";

/** Above this share of the cores in use by others, figures say little. */
const BUSY_SHARE = 0.25;

// A signal ends the process by way of its exit handlers, which end the server.
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.once(signal, () => process.exit(1));

try {
  process.exitCode = await main(readOptions(process.argv.slice(2)));
} catch (error) {
  console.error(`bench: ${error.message}`);
  process.exitCode = 1;
}

async function main(settings) {
  if (settings.isHelp) return print(USAGE);
  if (settings.isList) return print(settings.rows.map(({ name, title }) => `${name.padEnd(26)}${title}`).join("\n"));
  requirePeers(settings.clients);
  const redisVersion = serverVersion();
  if (settings.profile) return profileFirst(settings);

  const run = describeRun(settings, redisVersion);
  introduce(run);
  const judged = [];
  for (const row of settings.rows) {
    if (!row.contestants.some(({ client }) => settings.clients.includes(client))) continue;
    const standings = await contest(row, settings, progress);
    progress("");
    const isOursChosen = settings.clients.includes("ours");
    const verdicts = isOursChosen ? row.targets.map((target) => target.judge(standings)) : [];
    printRow(row, standings, verdicts, settings);
    judged.push({ row, standings, verdicts });
  }
  printSummary(judged);
  if (settings.isWritten) console.log(`\nwritten to ${writeResults(run, judged, settings)}`);
  const isMissed = judged.some(({ verdicts }) => verdicts.some(({ verdict }) => verdict === "missed"));
  return settings.isChecked && isMissed ? 1 : 0;
}

async function profileFirst(settings) {
  const [row] = settings.rows;
  const contestant = row.contestants.find(({ client }) => client === settings.clients[0]);
  if (!contestant || row.isInHarness)
    throw new Error(`--profile: "${row.name}" has nothing of ${settings.clients[0]} to profile`);
  await profile(row, contestant, settings.profile, settings);
  return 0;
}

function requirePeers(clients) {
  const isInstalled = existsSync(new URL("node_modules", import.meta.url));
  if (clients.some((client) => client !== "ours" && client !== "redis-server") && !isInstalled) {
    throw new Error("the peers are not installed: run npm ci --prefix bench");
  }
}

function introduce({ machine, node, redis, clients, settings }) {
  const versions = Object.entries(clients).map(([name, version]) => `${name} ${version}`);
  console.log(`${machine.cores} cores (${machine.processor}), Node ${node}, Redis ${redis}; ${versions.join(", ")}`);
  console.log(`${settings.rounds} rounds of ${settings.windowMs} ms, every client once per round in rotated order`);
  const [load] = os.loadavg();
  if (load > machine.cores * BUSY_SHARE) {
    console.log(`the machine is busy (load ${load.toFixed(1)} on ${machine.cores} cores): only ratios mean something`);
  }
}

/** One line that replaces itself, on a terminal only. */
function progress(line) {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[2K${line}`);
}

function print(text) {
  console.log(text);
  return 0;
}

/**
 * Profiles one contestant under one row's load, after its warm-up: with `perf record` on the whole process,
 * native threads included, or with V8's own profiler, which sees JavaScript only.
 *
 * The native addon's frames have names only if it was built with its symbols (see README.md).
 */
import { spawn, spawnSync } from "node:child_process";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Child } from "./child.mjs";
import { contextOf } from "./contest.mjs";
import { startServer } from "./server.mjs";

const DIRECTORY = fileURLToPath(new URL("../profiles", import.meta.url));
const PROFILED_MS = 5_000;
const HERTZ = "997";
const SHOWN_LINES = 45;

/** `tool`: "perf", "cpu", or "auto" (perf where it can be run). */
export async function profile(row, contestant, tool, settings) {
  const usePerf = tool === "perf" || (tool === "auto" && spawnSync("perf", ["--version"]).status === 0);
  mkdirSync(DIRECTORY, { recursive: true });
  const server = row.needsServer === false ? undefined : await startServer();
  const child = new Child(usePerf ? ["--perf-basic-prof-only-functions", "--interpreted-frames-native-stack"] : []);
  try {
    const context = contextOf({ ...settings, windowMs: PROFILED_MS }, server);
    await child.ask("open", { row: row.name, contestant: row.contestants.indexOf(contestant), context });
    await child.ask("sample");
    const name = `${row.name}.${contestant.client}`;
    const sample = usePerf ? await underPerf(child, name) : await underInspector(child, name);
    console.log(JSON.stringify(sample));
  } finally {
    await child.end();
    rmSync(`/tmp/perf-${child.pid}.map`, { force: true });
    await server?.stop();
  }
}

async function underPerf(child, name) {
  const data = join(DIRECTORY, `${name}.perf.data`);
  const perf = spawn("perf", ["record", "-q", "-F", HERTZ, "-g", "-o", data, "-p", String(child.pid)], {
    stdio: ["ignore", "ignore", "inherit"],
  });
  const ended = new Promise((resolve, reject) => perf.once("exit", resolve).once("error", reject));
  const sample = await child.ask("sample");
  perf.kill("SIGINT");
  await ended;
  for (const sort of ["comm,dso", "comm,dso,symbol"]) {
    console.log(`\nself time by ${sort}, percent of the process`);
    printPerfReport(data, sort);
  }
  console.log(
    `\nperf report -i bench/profiles/${name}.perf.data shows more; JavaScript functions have names only in the lists above`,
  );
  return sample;
}

function printPerfReport(data, sort) {
  const options = [
    "report",
    "-i",
    data,
    "--no-children",
    "-g",
    "none",
    "--stdio",
    "--percent-limit",
    "0.4",
    "--sort",
    sort,
  ];
  const { stdout } = spawnSync("perf", options, { encoding: "utf8", maxBuffer: 2 ** 28 });
  const lines = stdout.split("\n").filter((line) => line.trim() !== "" && !line.startsWith("#"));
  for (const line of lines.slice(0, SHOWN_LINES)) console.log(line.trimEnd().slice(0, 160));
}

async function underInspector(child, name) {
  await child.ask("profile-start");
  const sample = await child.ask("sample");
  const recorded = await child.ask("profile-stop");
  writeFileSync(join(DIRECTORY, `${name}.cpuprofile`), JSON.stringify(recorded));
  console.log("\nself time by function, percent of the JavaScript thread");
  for (const { share, label } of selfTimes(recorded).slice(0, SHOWN_LINES)) {
    console.log(`${(share * 100).toFixed(2).padStart(7)}%  ${label}`);
  }
  console.log(`\nbench/profiles/${name}.cpuprofile opens in the developer tools of Chrome and VS Code`);
  return sample;
}

function selfTimes({ nodes, samples, timeDeltas }) {
  const labels = new Map(nodes.map(({ id, callFrame }) => [id, labelOf(callFrame)]));
  const times = new Map();
  samples.forEach((id, index) => {
    const label = labels.get(id);
    times.set(label, (times.get(label) ?? 0) + timeDeltas[index]);
  });
  const total = timeDeltas.reduce((sum, delta) => sum + delta, 0);
  return [...times].map(([label, time]) => ({ label, share: time / total })).sort((a, b) => b.share - a.share);
}

function labelOf({ functionName, url, lineNumber }) {
  const file = url.split("/").slice(-2).join("/");
  return `${functionName || "(anonymous)"}  ${file}${file && `:${lineNumber + 1}`}`;
}

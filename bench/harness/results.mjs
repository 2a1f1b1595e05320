/**
 * `results/<date>.json`: `{ runs: [...] }`, one entry for each run of that day in the order in which they ended,
 * each with its machine, versions, settings, every sample and every verdict. It names no host and no path.
 */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import os from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const BENCH = fileURLToPath(new URL("..", import.meta.url));
const PEERS = ["ioredis", "redis", "@valkey/valkey-glide", "bullmq", "@langchain/langgraph-checkpoint"];

/** Taken before the first row, so that the load average is that of the others. */
export function describeRun(settings, redisVersion) {
  return {
    startedAt: new Date().toISOString(),
    machine: {
      cores: os.availableParallelism(),
      processor: os.cpus()[0]?.model ?? "unknown",
      memoryGiB: Math.round(os.totalmem() / 2 ** 30),
      platform: `${process.platform}-${process.arch}`,
      loadAverageBefore: os.loadavg()[0],
    },
    node: process.version,
    redis: redisVersion,
    clients: {
      ours: oursVersion(settings.packageDirectory),
      ...Object.fromEntries(PEERS.map((peer) => [peer, versionIn(join(BENCH, "node_modules", peer))])),
    },
    settings: {
      quick: settings.quick,
      rounds: settings.rounds,
      warmMs: settings.warmMs,
      windowMs: settings.windowMs,
    },
  };
}

/** Gives the file's path relative to the current directory's `bench`, for the reader. */
export function writeResults(run, judged, { packageDirectory }) {
  const directory = join(BENCH, "results");
  mkdirSync(directory, { recursive: true });
  const name = `${run.startedAt.slice(0, 10)}.json`;
  const file = join(directory, name);
  const kept = existsSync(file) ? JSON.parse(readFileSync(file, "utf8")).runs : [];
  const rows = judged.map(({ row, standings, verdicts }) => ({
    name: row.name,
    title: row.title,
    metrics: row.metrics.map(({ key, title, better }) => ({ key, title, better })),
    standings,
    verdicts,
  }));
  const runs = [...kept, { ...run, rows }];
  const text = JSON.stringify({ runs }, withRoundedFigures, 1);
  writeFileSync(file, `${withoutPaths(text, [packageDirectory, BENCH, os.homedir(), os.tmpdir()])}\n`);
  return join("bench", "results", name);
}

function oursVersion(packageDirectory) {
  const version = versionIn(packageDirectory);
  try {
    const git = (...args) =>
      execFileSync("git", args, {
        cwd: packageDirectory,
        encoding: "utf8",
        stdio: ["ignore", "pipe", "ignore"],
      }).trim();
    const changed = git("status", "--porcelain", "--", "src", "Cargo.toml", "Cargo.lock") !== "";
    return `${version} (${git("rev-parse", "--short", "HEAD")}${changed ? ", changed" : ""})`;
  } catch {
    // Not a repository: an unpacked tarball.
    return version;
  }
}

function versionIn(directory) {
  const manifest = join(directory, "package.json");
  return existsSync(manifest) ? JSON.parse(readFileSync(manifest, "utf8")).version : null;
}

/** Messages of failures may name files. */
function withoutPaths(text, paths) {
  return paths
    .map((path) => path.replace(/\/+$/, ""))
    .filter((path) => path.length > 1)
    .reduce((cleaned, path) => cleaned.replaceAll(path, "…"), text);
}

function withRoundedFigures(_key, value) {
  return typeof value === "number" && !Number.isInteger(value) ? Number(value.toPrecision(6)) : value;
}

/** What the package costs before the first command: the time of `require()`, and the download of one platform's binary. */
import { execFile } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { gzipSync } from "node:zlib";
import { packageEntry } from "../clients/ours.mjs";
import { summarize } from "../harness/statistics.mjs";
import { ratio } from "../harness/targets.mjs";

const MIB = 1024 * 1024;
const PROBE = fileURLToPath(new URL("require-probe.cjs", import.meta.url));
const PROCESSES = { quick: 3, full: 7 };
const { resolve } = createRequire(import.meta.url);
const run = promisify(execFile);

/** One sample is the median of several fresh processes, each of which loads nothing but the library. */
const requiring = (client, locate) => ({
  client,
  configuration: "defaults",
  isDefault: true,
  async open({ packageDirectory, quick }) {
    const library = locate(packageDirectory);
    const sample = async () => {
      const seen = [];
      for (let n = 0; n < (quick ? PROCESSES.quick : PROCESSES.full); n++) {
        const { stdout } = await run(process.execPath, [PROBE, library]);
        seen.push(JSON.parse(stdout));
      }
      return {
        requireMs: summarize(seen.map(({ requireMs }) => requireMs)).median,
        rssMiB: summarize(seen.map(({ rssMiB }) => rssMiB)).median,
      };
    };
    return { sample };
  },
});

/** A registry's tarball is gzipped at level 9, so that is how the binary is weighed. */
const weighing = (client, locate) => ({
  client,
  configuration: "defaults",
  isDefault: true,
  async open({ packageDirectory }) {
    const binary = readFileSync(locate(packageDirectory));
    const sample = async () => ({
      compressedMiB: gzipSync(binary, { level: 9 }).length / MIB,
      unpackedMiB: binary.length / MIB,
    });
    return { sample };
  },
});

/** This platform as native packages name it: `linux-x64-gnu`, `darwin-arm64`, … */
function platformName() {
  const { platform, arch } = process;
  if (platform === "win32") return `${platform}-${arch}-msvc`;
  if (platform !== "linux") return `${platform}-${arch}`;
  // Else it looks up the name of every open socket's peer.
  process.report.excludeNetwork = true;
  return `${platform}-${arch}-${process.report.getReport().header.glibcVersionRuntime ? "gnu" : "musl"}`;
}

function onlyBinaryIn(directory, of) {
  const names = readdirSync(directory).filter((name) => name.endsWith(`${platformName()}.node`));
  if (names.length !== 1) throw new Error(`expected one ${platformName()} binary of ${of}, found ${names.length}`);
  return join(directory, names[0]);
}

export const rows = [
  {
    name: "require",
    title: "time of require() in a fresh process",
    metrics: [
      { key: "requireMs", title: "ms", better: "lower", digits: 2 },
      { key: "rssMiB", title: "RSS MiB after", better: "lower", digits: 1 },
    ],
    targets: [ratio({ metric: "requireMs", against: "ioredis", atMost: 1 })],
    isInHarness: true,
    needsServer: false,
    contestants: [
      requiring("ours", packageEntry),
      requiring("ioredis", () => resolve("ioredis")),
      requiring("node-redis", () => resolve("redis")),
      requiring("glide", () => resolve("@valkey/valkey-glide")),
    ],
  },
  {
    name: "package-size",
    title: "one platform's binary, compressed as a registry serves it",
    metrics: [
      { key: "compressedMiB", title: "compressed MiB", better: "lower", digits: 2 },
      { key: "unpackedMiB", title: "unpacked MiB", better: "lower", digits: 2 },
    ],
    targets: [ratio({ metric: "compressedMiB", against: "glide", atMost: 1 })],
    isInHarness: true,
    needsServer: false,
    isFresh: true,
    maxRounds: 1,
    contestants: [
      weighing("ours", (packageDirectory) => onlyBinaryIn(dirname(packageEntry(packageDirectory)), "ours")),
      weighing("glide", () => {
        const glide = createRequire(resolve("@valkey/valkey-glide"));
        const directory = dirname(
          glide.resolve(`@valkey/valkey-glide-${platformName().replace("-msvc", "")}/package.json`),
        );
        return onlyBinaryIn(directory, "valkey-glide");
      }),
    ],
  },
];

/**
 * A `redis-server` of the benchmark's own: a free port on the loopback, a temporary directory,
 * nothing persisted. It ends with `stop()` and, at the latest, with this process.
 */
import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

const HOST = "127.0.0.1";
const START_LIMIT_MS = 10_000;
const BINARY = process.env.REDIS_SERVER ?? "redis-server";

/** The version of the `redis-server` to be measured against; throws with advice if there is none. */
export function serverVersion() {
  const { error, stdout } = spawnSync(BINARY, ["--version"], { encoding: "utf8" });
  if (error) {
    throw new Error(
      `cannot run "${BINARY}" (${error.code}): the benchmark starts its own Redis server; ` +
        "install one (package redis-server or redis), or name its binary in REDIS_SERVER",
    );
  }
  return /v=(\S+)/.exec(stdout)?.[1] ?? stdout.trim();
}

export async function startServer() {
  const directory = mkdtempSync(join(tmpdir(), "backplane-bench-"));
  const port = await freePort();
  const server = spawn(
    BINARY,
    ["--bind", HOST, "--port", String(port), "--dir", directory, "--save", "", "--appendonly", "no"],
    { stdio: ["ignore", "ignore", "inherit"] },
  );
  const ended = new Promise((resolve) => server.once("exit", resolve));
  const endWithProcess = () => {
    server.kill("SIGKILL");
    rmSync(directory, { recursive: true, force: true });
  };
  process.once("exit", endWithProcess);
  const stop = async () => {
    server.kill("SIGKILL");
    await ended;
    process.off("exit", endWithProcess);
    rmSync(directory, { recursive: true, force: true });
  };
  try {
    await answers(port, server);
  } catch (error) {
    await stop();
    throw error;
  }
  return { endpoint: { host: HOST, port }, stop };
}

/** A port of this machine that nobody listens on. */
export function freePort() {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once("error", reject);
    probe.listen(0, HOST, () => {
      const { port } = probe.address();
      probe.close(() => resolve(port));
    });
  });
}

async function answers(port, server) {
  const deadline = Date.now() + START_LIMIT_MS;
  while (!(await pings(port))) {
    if (server.exitCode !== null) throw new Error(`redis-server ended at once with code ${server.exitCode}`);
    if (Date.now() > deadline) throw new Error(`redis-server did not answer within ${START_LIMIT_MS} ms`);
    await sleep(10);
  }
}

function pings(port) {
  return new Promise((resolve) => {
    const socket = connect({ host: HOST, port }, () => socket.write("PING\r\n"));
    const answer = (is) => {
      socket.destroy();
      resolve(is);
    };
    socket.once("data", (reply) => answer(reply.toString().startsWith("+PONG")));
    socket.once("error", () => answer(false));
  });
}

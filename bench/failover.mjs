/**
 * How long after the death of a master a lock can be taken again, and a sign of life is accepted again: this package beside ioredis and
 * node-redis, each in its defaults, on a master with two replicas under three sentinels and on a cluster of three masters with a replica each.
 *
 *   node bench/failover.mjs [--rounds 5] [--topologies sentinel,cluster] [--clients ours,ioredis,node-redis]
 *
 * In each round the servers are new, every client is a process of its own, and the master is killed with SIGKILL while all of them work.
 * Reported are medians over the rounds, from the kill on: until a replica was promoted, until each client had a lock, until the new
 * master had a new heartbeat of each. The lock: `kv.lock`; the peers do `SET NX PX`, again 5 ms after every failure, as redlock does.
 * The heartbeat, every 100 ms: a worker of `WorkerRegistry`; the peers do `ZADD`.
 *
 * Needs the peers among the package's own development dependencies, a build, `redis-server` and `redis-cli`.
 */
import { fork, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { freePort } from "./harness/server.mjs";

const HOST = "127.0.0.1";
const BEAT_MS = 100;
const RETRY_MS = 5;
const LIMIT_MS = 40_000;

const now = () => performance.timeOrigin + performance.now();

/** Resolves with the first truthy outcome of `look`. */
async function until(look, what, everyMs = 20) {
  const end = now() + LIMIT_MS;
  for (;;) {
    const found = await look();
    if (found) return found;
    if (now() > end) throw new Error(`${what}: not within ${LIMIT_MS} ms`);
    await sleep(everyMs);
  }
}

// ---- One client, in a process of its own ----

/** Each gives `lock(key)`, which resolves with whether it has it, and `beat(key)`, which says that it lives, once; or beats by itself. */
const clients = {
  async ours({ topology, nodes, id = "ours", named = 0 }) {
    const { KVStore, RedisConnectionManager, WorkerRegistry } = await import("../dist/index.js");
    const hosts = nodes.map(({ port }) => `${HOST}:${port}`).join(",");
    const manager = new RedisConnectionManager({
      url: topology === "cluster" ? `redis+cluster://${hosts}` : `redis+sentinel://${hosts}/main`,
    });
    const kv = new KVStore(manager);
    const registry = new WorkerRegistry(manager, { heartbeatIntervalMs: BEAT_MS, crashedAfterMs: LIMIT_MS });
    await registry.register({ type: "bench", id });
    const lock = async (key) => Boolean(await kv.lock(key, { leaseMs: 30_000 }));
    // Where a lock's keys are depends on its name: so that the parent can see which names are on one server.
    for (let n = 0; n < named; n += 1) await lock(`lock:${n}`);
    return { lock };
  },

  async ioredis({ topology, nodes }) {
    const { Redis, Cluster } = await import("ioredis");
    const sentinels = nodes.map(({ port }) => ({ host: HOST, port }));
    const client = topology === "cluster" ? new Cluster(sentinels) : new Redis({ sentinels, name: "main" });
    client.on("error", () => {});
    await client.ping();
    return {
      lock: async (key) => (await client.set(key, "token", "PX", 30_000, "NX")) === "OK",
      beat: (key) => client.zadd(key, Date.now(), "ioredis"),
    };
  },

  async "node-redis"({ topology, nodes }) {
    const { createCluster, createSentinel } = await import("redis");
    const roots = nodes.map(({ port }) => ({ host: HOST, port }));
    const client =
      topology === "cluster"
        ? createCluster({ rootNodes: roots.map((socket) => ({ socket })) })
        : createSentinel({ name: "main", sentinelRootNodes: roots });
    client.on("error", () => {});
    await client.connect();
    return {
      lock: async (key) => (await client.set(key, "token", { PX: 30_000, NX: true })) === "OK",
      beat: (key) => client.zAdd(key, { score: Date.now(), value: "node-redis" }),
    };
  },
};

async function child(message) {
  const client = await clients[message.client](message);
  // The next beat does not wait for the one before: a timer's would not either.
  if (client.beat) setInterval(() => client.beat(message.beatKey).catch(() => {}), BEAT_MS);
  process.on("message", async ({ killedAt }) => {
    for (let attempt = 0; ; attempt += 1) {
      const has = await client.lock(message.locks?.[attempt % message.locks.length] ?? `${message.lockTag}${attempt}`).catch(() => false);
      if (has) return process.send({ lockMs: now() - killedAt });
      await sleep(RETRY_MS);
    }
  });
  process.send({ ready: true });
}

// ---- Servers ----

function cli(port, ...words) {
  const { stdout } = spawnSync("redis-cli", ["-h", HOST, "-p", String(port), ...words], { encoding: "utf8" });
  return stdout.trim();
}

/** Servers of one round, all of which end with `stop`. */
class Servers {
  #folder = mkdtempSync(join(tmpdir(), "backplane-failover-"));
  #processes = new Map();

  async start(lines, ...flags) {
    const port = await freePort();
    const file = join(this.#folder, `${port}.conf`);
    const common = [`port ${port}`, `bind ${HOST}`, `dir ${this.#folder}`, `logfile ${port}.log`];
    writeFileSync(file, [...common, ...lines(port)].join("\n"));
    const server = spawn("redis-server", [file, ...flags], { stdio: "ignore" });
    this.#processes.set(port, server);
    await until(() => cli(port, "PING") === "PONG", "a server");
    return { port };
  }

  kill(port) {
    this.#processes.get(port).kill("SIGKILL");
  }

  stop() {
    for (const server of this.#processes.values()) server.kill("SIGKILL");
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

const plain = (port) => ['save ""', "repl-diskless-sync-delay 0", "repl-ping-replica-period 1", `dbfilename ${port}.rdb`];

/** What clients are told, and the servers with data. */
async function startSentinel(servers) {
  const master = await servers.start(plain);
  const replica = (port) => [...plain(port), `replicaof ${HOST} ${master.port}`];
  const data = [master, await servers.start(replica), await servers.start(replica)];
  const sentinel = () => [
    `sentinel monitor main ${HOST} ${master.port} 2`,
    "sentinel down-after-milliseconds main 1000",
    "sentinel failover-timeout main 10000",
  ];
  const nodes = [];
  for (let n = 0; n < 3; n += 1) nodes.push(await servers.start(sentinel, "--sentinel"));
  const knows = ({ port }) => /status=ok,.*slaves=2,sentinels=3/.test(cli(port, "INFO", "sentinel"));
  await until(() => nodes.every(knows), "the sentinels");
  return { nodes, data };
}

async function startCluster(servers) {
  const lines = (port) => [...plain(port), "cluster-enabled yes", `cluster-config-file ${port}.nodes`, "cluster-node-timeout 1000"];
  const data = [];
  for (let n = 0; n < 6; n += 1) data.push(await servers.start(lines));
  const addresses = data.map(({ port }) => `${HOST}:${port}`);
  spawnSync("redis-cli", ["--cluster", "create", ...addresses, "--cluster-replicas", "1", "--cluster-yes"]);
  const isWhole = ({ port }) =>
    /cluster_state:ok/.test(cli(port, "CLUSTER", "INFO")) && cli(port, "CLUSTER", "NODES").split("slave").length === 4;
  await until(() => data.every(isWhole), "the cluster");
  const inStep = ({ port }) => /role:master|master_link_status:up/.test(cli(port, "INFO", "replication"));
  await until(() => data.every(inStep), "the replicas");
  return { nodes: data, data };
}

// ---- A round ----

async function round(topology, names, Redis) {
  const servers = new Servers();
  const children = [];
  try {
    const { nodes, data } = await (topology === "cluster" ? startCluster : startSentinel)(servers);
    const looking = data.map(({ port }) => {
      // A promotion closes the connections of a replica; a question that was on its way then has no answer.
      const look = new Redis({ host: HOST, port, retryStrategy: () => 20, autoResendUnfulfilledCommands: false, commandTimeout: 500 });
      look.on("error", () => {});
      return { port, look };
    });
    const isMaster = async ({ look }) => (await look.role().catch(() => []))[0] === "master";
    // Ours first: where its workers are decides which master dies, and the others put theirs beside them.
    const start = async (client, keys) => {
      const forked = fork(fileURLToPath(import.meta.url), ["--child"]);
      children.push(forked);
      const ready = new Promise((resolve) => forked.once("message", resolve));
      forked.send({ client, topology, nodes, ...keys });
      await ready;
      return forked;
    };
    const place = async () => {
      for (const one of looking) {
        const found = (await one.look.keys("*alive*").catch(() => []))[0];
        if (found && (await isMaster(one))) return { ...one, key: found };
      }
    };
    const tagOf = (key) => (topology === "cluster" ? (/\{[^}]+\}/.exec(key)?.[0] ?? `{${key}}`) : "");
    // Which names of locks lie beside our workers must be known before anything is measured: so one process takes many, and ends.
    (await start("ours", { id: "first", named: 200 })).kill("SIGKILL");
    const victim = await until(place, "a worker");
    const tag = tagOf(victim.key);
    const taken = await victim.look.keys("*lock:{*}:lock:*");
    await Promise.all(taken.map((key) => victim.look.del(key)));
    const lockNames = taken.map((key) => key.slice(key.indexOf("}:") + 2));
    const beats = { ours: victim.key };
    const running = {};
    for (const client of names) {
      beats[client] ??= `${tag}beats:${client}`;
      const own = client === "ours" ? { locks: lockNames } : { lockTag: `${tag}lock:${client}:`, beatKey: beats[client] };
      running[client] = await start(client, own);
    }
    const scores = async ({ look }) => {
      const found = await Promise.all(names.map((name) => look.zscore(beats[name], name).catch(() => null)));
      return Object.fromEntries(names.map((name, at) => [name, found[at] === null ? null : Number(found[at])]));
    };
    await until(async () => Object.values(await scores(victim)).every((score) => score !== null), "the first heartbeats");
    await sleep(1_000 + Math.random() * 1_000);
    const others = looking.filter(({ port }) => port !== victim.port);
    const locks = names.map((name) => new Promise((resolve) => running[name].once("message", ({ lockMs }) => resolve([name, lockMs]))));
    const last = await scores(victim);
    servers.kill(victim.port);
    const killedAt = now();
    for (const name of names) running[name].send({ killedAt });
    const beatMs = {};
    let promotedMs;
    const masters = new Set();
    for (const one of others) if (await isMaster(one)) masters.add(one);
    await until(
      async () => {
        for (const one of others.filter((one) => !masters.has(one))) {
          if (!(await isMaster(one))) continue;
          promotedMs ??= now() - killedAt;
          for (const [name, score] of Object.entries(await scores(one))) {
            // Later than the kill, or what the old master had accepted would count.
            if (score !== null && score > last[name] + BEAT_MS * 3) beatMs[name] ??= now() - killedAt;
          }
        }
        return names.every((name) => beatMs[name] !== undefined);
      },
      "heartbeats",
      2,
    ).catch((error) => {
      console.error(String(error));
      // Who is missing then is shown as missing.
      for (const name of names) beatMs[name] ??= Number.POSITIVE_INFINITY;
    });
    const late = new Promise((resolve) => setTimeout(resolve, LIMIT_MS, []).unref());
    const got = await Promise.all(locks.map((lock, at) => Promise.race([lock, late.then(() => [names[at], Number.POSITIVE_INFINITY])])));
    const lockMs = Object.fromEntries(got);
    for (const { look } of looking) look.disconnect();
    return { promotedMs, lockMs, beatMs };
  } finally {
    for (const forked of children) forked.kill("SIGKILL");
    servers.stop();
  }
}

const median = (numbers) => {
  const sorted = [...numbers].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)];
};

async function main() {
  const { values } = parseArgs({
    options: {
      rounds: { type: "string", default: "5" },
      topologies: { type: "string", default: "sentinel,cluster" },
      clients: { type: "string", default: "ours,ioredis,node-redis" },
    },
  });
  const names = values.clients.split(",");
  const { Redis } = await import("ioredis");
  for (const topology of values.topologies.split(",")) {
    const rounds = [];
    for (let n = 0; n < Number(values.rounds); n += 1) {
      rounds.push(await round(topology, names, Redis));
      console.error(`${topology} ${n + 1}: ${JSON.stringify(rounds.at(-1), (_, value) => (typeof value === "number" ? Math.round(value) : value))}`);
    }
    const shown = (of) => {
      const all = rounds.map(of);
      return `${Math.round(median(all))} (${Math.round(Math.min(...all))}–${Math.round(Math.max(...all))})`;
    };
    console.log(`\n${topology}, ms after the kill: median (least–most) of ${rounds.length}\n`);
    console.log("| client | lock taken | behind the promotion | heartbeat accepted | behind the promotion |\n|---|---|---|---|---|");
    for (const name of names) {
      const [lock, beat] = [({ lockMs }) => lockMs[name], ({ beatMs }) => beatMs[name]];
      const behind = (of) => (round) => of(round) - round.promotedMs;
      console.log(`| ${name} | ${shown(lock)} | ${shown(behind(lock))} | ${shown(beat)} | ${shown(behind(beat))} |`);
    }
  }
}

if (process.argv.includes("--child")) process.once("message", child);
else await main();

/**
 * What a checkpoint costs in Redis where one part of a hundred changes: MEMORY USAGE of a thread's keys, for each checkpoint beyond the first.
 *
 *   node bench/checkpoint-memory.mjs [--parts 100] [--bytes 1000] [--checkpoints 500]
 *
 * `RedisSaver` stores the part that has changed; its checkpoint names the versions of all. The same states saved whole, by `CheckpointStore.save`,
 * and the JSON text of one state, are shown beside it. Random text, so that nothing is shared by accident.
 *
 * Needs a build, `redis-server` and the package's own development dependencies.
 */
import { randomBytes } from "node:crypto";
import { parseArgs } from "node:util";
import { emptyCheckpoint } from "@langchain/langgraph-checkpoint";
import { CheckpointStore, RedisConnectionManager } from "../dist/index.js";
import { RedisSaver } from "../dist/langgraph.mjs";
import { serverVersion, startServer } from "./harness/server.mjs";

const { values: given } = parseArgs({
  options: {
    parts: { type: "string", default: "100" },
    bytes: { type: "string", default: "1000" },
    checkpoints: { type: "string", default: "500" },
  },
});
const [parts, bytes, checkpoints] = [given.parts, given.bytes, given.checkpoints].map(Number);

const { endpoint, stop } = await startServer();
const manager = new RedisConnectionManager(endpoint);
const keep = { last: checkpoints + 1 };
const saver = new RedisSaver(manager, { namespace: "parts", keep });
const whole = new CheckpointStore(manager, { namespace: "whole", keep });

const text = () => randomBytes(Math.ceil(bytes / 2)).toString("hex").slice(0, bytes);
const nameOf = (number) => `channel-${number}`;
const state = Object.fromEntries(Array.from({ length: parts }, (_, number) => [nameOf(number), text()]));
const versions = Object.fromEntries(Object.keys(state).map((name) => [name, saver.getNextVersion(undefined)]));
let config = { configurable: { thread_id: "t" } };

/** Saves the state in both ways; of the channels those that are named have changed. */
async function save(step, changed) {
  const id = String(step).padStart(8, "0");
  const checkpoint = { ...emptyCheckpoint(), id, channel_values: state, channel_versions: versions };
  const news = Object.fromEntries(changed.map((name) => [name, versions[name]]));
  config = await saver.put(config, checkpoint, { source: "loop", step, parents: {} }, news);
  await whole.save("t", state, { id, meta: { source: "loop", step } });
}

async function memory(namespace) {
  const keys = await manager.command("KEYS", `${namespace}*:t`);
  const sizes = await Promise.all(keys.map((key) => manager.command("MEMORY", "USAGE", key, "SAMPLES", "0")));
  return sizes.reduce((sum, size) => sum + size, 0);
}

try {
  await save(0, Object.keys(state));
  const before = [await memory("parts"), await memory("whole")];
  for (let step = 1; step <= checkpoints; step++) {
    const name = nameOf(step % parts);
    state[name] = text();
    versions[name] = saver.getNextVersion(versions[name]);
    await save(step, [name]);
  }
  const after = [await memory("parts"), await memory("whole")];
  const [each, eachWhole] = after.map((size, at) => Math.round((size - before[at]) / checkpoints));
  console.log(`${parts} parts of ${bytes} bytes, one of them changed, ${checkpoints} checkpoints, Redis ${serverVersion()}`);
  console.log(`RedisSaver, one part stored: ${each} bytes for each checkpoint`);
  console.log(`CheckpointStore.save, all of it stored: ${eachWhole} bytes for each checkpoint`);
  console.log(`JSON of one state: ${JSON.stringify(state).length} bytes`);
} finally {
  await manager.disconnect();
  await stop();
}

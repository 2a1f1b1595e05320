/**
 * Checkpoints of 1 000 threads, 10 each: saving the next, loading the latest. The peers: LangGraph's MemorySaver, which keeps them in the
 * process and asks no server, and a loop by hand on ioredis, `SET` and `GET` of one key for each thread, which keeps no history, checks
 * no parent and has no owner.
 */
import { createRequire } from "node:module";
import { setImmediate as turn } from "node:timers/promises";
import { packageEntry } from "../clients/ours.mjs";
import { saturate } from "../harness/load.mjs";
import { keys, objects, SPAN } from "./keyspace.mjs";

const require = createRequire(import.meta.url);
const HISTORY = 10;
const IN_FLIGHT = 64;
const threads = keys.map((_, n) => `thread-${n}`);

/** Each gives `save(n)`, `latest(n)`, which gives the state, `reset()` between two samples, which nobody times, and `close()`. */
const stores = {
  async ours({ endpoint, packageDirectory }) {
    const { RedisConnectionManager, CheckpointStore } = require(packageEntry(packageDirectory));
    const manager = new RedisConnectionManager({ host: endpoint.host, port: endpoint.port });
    await manager.connect();
    const checkpoints = new CheckpointStore(manager, { namespace: "bench", keep: { last: HISTORY } });
    return {
      save: (n) => checkpoints.save(threads[n], objects[n]),
      latest: async (n) => (await checkpoints.latest(threads[n])).state,
      reset: async () => {},
      close: () => manager.disconnect(),
    };
  },

  async memorySaver() {
    const { emptyCheckpoint, MemorySaver, uuid6 } = await import("@langchain/langgraph-checkpoint");
    const saver = new MemorySaver();
    const config = (n) => ({ configurable: { thread_id: threads[n], checkpoint_ns: "" } });
    const put = (n, step) => {
      const checkpoint = { ...emptyCheckpoint(), id: uuid6(step), channel_values: { state: objects[n] } };
      return saver.put(config(n), checkpoint, { source: "loop", step, parents: {} });
    };
    let steps = 0;
    let calls = 0;
    // It never waits for anything, so that no timer would ever end the load: what is in flight together shares a turn of the event loop.
    const share = async () => {
      calls++;
      if (calls % IN_FLIGHT === 0) await turn();
    };
    const fill = async () => {
      for (let step = 0; step < HISTORY; step++) for (let n = 0; n < SPAN; n++) await put(n, step);
    };
    return {
      save: async (n) => {
        await share();
        steps++;
        return put(n, steps);
      },
      latest: async (n) => {
        await share();
        return (await saver.getTuple(config(n))).checkpoint.channel_values.state;
      },
      // It keeps everything for ever: a longer history would be another measure.
      reset: async () => {
        for (const thread of threads) await saver.deleteThread(thread);
        await fill();
      },
      close: async () => {},
    };
  },

  async byHand({ endpoint }) {
    const { Redis } = await import("ioredis");
    const redis = new Redis({ host: endpoint.host, port: endpoint.port });
    await redis.ping();
    return {
      save: (n) => redis.set(`bench:checkpoint:${threads[n]}`, JSON.stringify(objects[n])),
      latest: async (n) => JSON.parse(await redis.get(`bench:checkpoint:${threads[n]}`)),
      reset: async () => {},
      close: () => redis.quit(),
    };
  },
};

function checkState(state, n) {
  if (state?.id !== n) throw new Error(`wrong state for ${threads[n]}: ${JSON.stringify(state)?.slice(0, 100)}`);
}

const work = {
  "checkpoint-save": (store) => ({ issue: store.save, check: () => {} }),
  "checkpoint-latest": (store) => ({ issue: store.latest, check: checkState }),
};

const open = (kind, connect) => async (context) => {
  const store = await connect(context);
  for (let step = 0; step < HISTORY; step++) for (let n = 0; n < SPAN; n++) await store.save(n);
  for (let n = 0; n < SPAN; n++) checkState(await store.latest(n), n);
  const parts = { span: SPAN, ...work[kind](store), inFlight: IN_FLIGHT };
  const sample = async () => {
    await store.reset();
    return saturate({ ...context, ...parts });
  };
  return { sample, close: store.close };
};

const row = (kind, title) => ({
  name: kind,
  title: `${title}, 250 bytes of JSON, 64 in flight`,
  metrics: [
    { key: "perSecond", title: "checkpoints/s", better: "higher", digits: 0 },
    { key: "cpuMicros", title: "CPU µs/checkpoint", better: "lower", digits: 2 },
    { key: "rssMiB", title: "RSS MiB", better: "lower", digits: 0 },
  ],
  // One peer asks no server, the other keeps one state and compares nothing: there is no ratio to promise.
  targets: [],
  contestants: [
    { client: "ours", configuration: "CheckpointStore", isDefault: true, open: open(kind, stores.ours) },
    { client: "langgraph", configuration: "MemorySaver", isDefault: true, open: open(kind, stores.memorySaver) },
    { client: "ioredis", configuration: "SET and GET", isDefault: true, open: open(kind, stores.byHand) },
  ],
});

export const rows = [
  row("checkpoint-save", "a checkpoint saved behind ten others"),
  row("checkpoint-latest", "the latest of ten checkpoints loaded"),
];

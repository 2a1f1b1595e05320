/**
 * Stores for express-session: what a request does with its session. The peer is connect-redis on node-redis, whose last save counts for everything;
 * ours compares the version, and keeps what others changed.
 */
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { packageEntry } from "../clients/ours.mjs";
import { saturate } from "../harness/load.mjs";
import { objects, SPAN } from "./keyspace.mjs";

const require = createRequire(import.meta.url);
const ids = objects.map((_, n) => `session-${n}`);
const COOKIE = { originalMaxAge: null, path: "/", httpOnly: true };

async function ours({ endpoint, packageDirectory }) {
  const entry = packageEntry(packageDirectory);
  const { RedisConnectionManager } = require(entry);
  const { BackplaneStore } = require(join(dirname(entry), "express-session.js"));
  const manager = new RedisConnectionManager({ host: endpoint.host, port: endpoint.port });
  await manager.connect();
  return { store: new BackplaneStore(manager, { namespace: "bench" }), close: () => manager.disconnect() };
}

async function connectRedis({ endpoint }) {
  const { createClient } = await import("redis");
  const { RedisStore } = await import("connect-redis");
  const client = await createClient({ socket: { host: endpoint.host, port: endpoint.port } }).connect();
  return { store: new RedisStore({ client, prefix: "bench-sess:" }), close: () => client.destroy() };
}

const ask = (store, method, ...args) =>
  new Promise((resolve, reject) => store[method](...args, (error, value) => (error ? reject(error) : resolve(value))));

const work = {
  "session-load": (store) => (n) => ask(store, "get", ids[n]),
  // The middleware touches the session of a request that changed nothing.
  "session-read": (store) => async (n) => {
    const session = await ask(store, "get", ids[n]);
    await ask(store, "touch", ids[n], session);
    return session;
  },
  "session-save": (store) => async (n) => {
    const session = await ask(store, "get", ids[n]);
    session.visits = (session.visits ?? 0) + 1;
    await ask(store, "set", ids[n], session);
    return session;
  },
};

function check(session, n) {
  if (session?.id !== n) throw new Error(`wrong session for ${ids[n]}: ${JSON.stringify(session)?.slice(0, 100)}`);
}

const open = (kind, connect) => async (context) => {
  const { store, close } = await connect(context);
  for (const [n, id] of ids.entries()) await ask(store, "set", id, { cookie: COOKIE, ...objects[n] });
  const parts = { span: SPAN, issue: work[kind](store), check, inFlight: 64 };
  return { sample: () => saturate({ ...context, ...parts }), close };
};

const row = (kind, title) => ({
  name: kind,
  title: `${title}, 250 bytes of JSON, 64 in flight`,
  metrics: [
    { key: "perSecond", title: "requests/s", better: "higher", digits: 0 },
    { key: "cpuMicros", title: "CPU µs/request", better: "lower", digits: 2 },
    { key: "rssMiB", title: "RSS MiB", better: "lower", digits: 0 },
  ],
  // The peer compares nothing: there is no ratio to promise.
  targets: [],
  contestants: [
    { client: "ours", configuration: "BackplaneStore", isDefault: true, open: open(kind, ours) },
    { client: "node-redis", configuration: "connect-redis", isDefault: true, open: open(kind, connectRedis) },
  ],
});

export const rows = [
  row("session-load", "a session loaded"),
  row("session-read", "a session loaded and touched"),
  row("session-save", "a session loaded, changed and saved"),
];

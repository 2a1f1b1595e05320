import { jsonStore } from "./json.mjs";

const connectWith = (options) => async (endpoint) => {
  const { createClient } = await import("redis");
  const redis = createClient({ socket: { host: endpoint.host, port: endpoint.port }, ...options });
  redis.on("error", (error) => console.error(`node-redis: ${error.message}`));
  await redis.connect();
  const raw = {
    get: (key) => redis.get(key),
    set: (key, value) => redis.set(key, value),
  };
  return { raw, kv: jsonStore(raw), close: () => redis.close() };
};

export const configurations = [
  { client: "node-redis", configuration: "defaults", isDefault: true, connect: connectWith({}) },
  {
    client: "node-redis",
    configuration: "no command timeout",
    isDefault: false,
    connect: connectWith({ commandOptions: { timeout: undefined } }),
  },
];

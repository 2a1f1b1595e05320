import { jsonStore } from "./json.mjs";

const connectWith = (options) => async (endpoint) => {
  const { Redis } = await import("ioredis");
  const redis = new Redis({ host: endpoint.host, port: endpoint.port, ...options });
  await redis.ping();
  const raw = {
    get: (key) => redis.get(key),
    set: (key, value) => redis.set(key, value),
  };
  return { raw, kv: jsonStore(raw), close: () => redis.quit() };
};

export const configurations = [
  { client: "ioredis", configuration: "defaults", isDefault: true, connect: connectWith({}) },
  {
    client: "ioredis",
    configuration: "enableAutoPipelining",
    isDefault: false,
    connect: connectWith({ enableAutoPipelining: true }),
  },
];

import { jsonStore } from "./json.mjs";

async function connect(endpoint) {
  const { GlideClient } = await import("@valkey/valkey-glide");
  const redis = await GlideClient.createClient({ addresses: [{ host: endpoint.host, port: endpoint.port }] });
  const raw = {
    get: (key) => redis.get(key),
    set: (key, value) => redis.set(key, value),
  };
  return { raw, kv: jsonStore(raw), close: () => redis.close() };
}

export const configurations = [{ client: "glide", configuration: "defaults", isDefault: true, connect }];

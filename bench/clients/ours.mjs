import { createRequire } from "node:module";
import { join } from "node:path";

/**
 * This package, loaded from the directory under test (`--package`, by default the repository).
 * Its defaults are measured as they are: deadlines, bounded queues and telemetry are on.
 */
export function loadPackage(packageDirectory) {
  return createRequire(import.meta.url)(join(packageDirectory, "."));
}

async function connect(endpoint, packageDirectory) {
  const backplane = loadPackage(packageDirectory);
  const manager = new backplane.RedisConnectionManager({ host: endpoint.host, port: endpoint.port });
  await manager.connect();
  const store = new backplane.KVStore(manager, { namespace: "bench" });
  return {
    raw: {
      get: (key) => manager.command("GET", key),
      set: (key, value) => manager.command("SET", key, value),
    },
    kv: {
      get: (key) => store.get(key),
      set: (key, value) => store.set(key, value),
    },
    close: () => manager.disconnect(),
  };
}

export const configurations = [{ client: "ours", configuration: "defaults", isDefault: true, connect }];

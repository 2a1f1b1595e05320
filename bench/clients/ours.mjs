import { createRequire } from "node:module";

const require = createRequire(import.meta.url);

/** The file that `require` of the package under test (`--package`, by default the repository) loads. */
export function packageEntry(packageDirectory) {
  try {
    return require.resolve(packageDirectory);
  } catch (cause) {
    throw new Error("the package is not built: run npm run build", { cause });
  }
}

/** Our defaults are measured as they are: deadlines, bounded queues and telemetry are on. */
async function connect(endpoint, packageDirectory) {
  const backplane = require(packageEntry(packageDirectory));
  const manager = new backplane.RedisConnectionManager({ host: endpoint.host, port: endpoint.port });
  await manager.connect();
  let made;
  // Made when a row asks for it, so that the raw rows measure the manager alone.
  const store = () => {
    made ??= new backplane.KVStore(manager, { namespace: "bench" });
    return made;
  };
  return {
    raw: {
      get: (key) => manager.command("GET", key),
      set: (key, value) => manager.command("SET", key, value),
    },
    kv: {
      get: (key) => store().get(key),
      set: (key, value) => store().set(key, value),
    },
    close: () => manager.disconnect(),
  };
}

export const configurations = [{ client: "ours", configuration: "defaults", isDefault: true, connect }];

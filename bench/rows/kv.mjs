/** `KVStore.get` and `KVStore.set` of a 250-byte JSON value; the peers do the same with `JSON`. */
import { configurations } from "../clients/index.mjs";
import { saturate } from "../harness/load.mjs";
import { ratio } from "../harness/targets.mjs";
import { openWork } from "./keyspace.mjs";
import { throughputMetrics } from "./raw.mjs";

const row = (kind, inFlight) => ({
  name: `${kind}-${inFlight}`,
  title: `${kind.replace("-", ".")} of a 250-byte JSON value, ${inFlight} in flight`,
  metrics: throughputMetrics,
  targets: [
    ratio({ metric: "perSecond", against: "defaults", atLeast: 2 }),
    ratio({ metric: "perSecond", against: "any", atLeast: 2 }),
  ],
  contestants: configurations.map((configuration) => ({
    ...configuration,
    open: (context) => openWork(configuration, kind, context, (parts) => saturate({ ...context, ...parts, inFlight })),
  })),
});

export const rows = [row("kv-get", 64), row("kv-get", 1000), row("kv-set", 64), row("kv-set", 1000)];

/**
 * Every client in every configuration measured. Each loads its library inside `connect`, so that
 * a child process holds the one library it measures and no other.
 *
 * `connect(endpoint, packageDirectory)` gives `{ raw: { get, set }, kv: { get, set }, close }`;
 * `raw.*` return the library's own promise, with nothing wrapped around it.
 */
import { configurations as glide } from "./glide.mjs";
import { configurations as ioredis } from "./ioredis.mjs";
import { configurations as nodeRedis } from "./node-redis.mjs";
import { configurations as ours } from "./ours.mjs";

export const configurations = [...ours, ...ioredis, ...nodeRedis, ...glide];

/** Builds what is stale and runs demo/demo.mjs; a redis-server is started for it unless REDIS_URL names one. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { build } from './build.mjs';
import { startRedis } from './redis.mjs';
import { root } from './root.mjs';

build();
const redis = process.env.REDIS_URL ? undefined : await startRedis();
const { status } = spawnSync(process.execPath, [join(root, 'demo/demo.mjs')], {
  cwd: root,
  stdio: 'inherit',
  env: { ...process.env, REDIS_URL: process.env.REDIS_URL ?? redis?.url },
});
redis?.stop();
process.exitCode = status ?? 1;

/** Builds what is stale and runs demo/demo.mjs: on `memory://`, or on the server of REDIS_URL. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { build } from './build.mjs';
import { root } from './root.mjs';

await build();
const { status } = spawnSync(process.execPath, [join(root, 'demo/demo.mjs')], { cwd: root, stdio: 'inherit' });
process.exitCode = status ?? 1;

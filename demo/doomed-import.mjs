/** An import that owns its thread, saves its first rows, says how far it is, and never ends. */
import { CheckpointStore, RedisConnectionManager } from 'redis-backplane';
import { config, tell } from './child.mjs';

const imports = new CheckpointStore(new RedisConnectionManager(config), { namespace: 'imports' });
const run = await imports.acquire('orders.csv', { leaseMs: 1_000 });
for (const rows of [1_000, 2_000]) await run.save({ rows }, { meta: { by: 'the first' } });
tell({ rows: 2_000, fence: run.fence });
setInterval(() => {}, 1_000);

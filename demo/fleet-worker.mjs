/** A worker of the demo's fleet: it registers itself, says so, and beats until it dies. */
import { RedisConnectionManager, WorkerRegistry } from 'redis-backplane';
import { config, options, tell } from './child.mjs';

const registry = new WorkerRegistry(new RedisConnectionManager(config), options);
const { id } = await registry.register({ id: 'render-3', type: 'render', capabilities: ['gpu'], capacity: 2 });
tell(id);
setInterval(() => {}, 1_000);

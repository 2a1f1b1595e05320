/** A worker of the demo's fleet, in a process or a thread of its own: it registers itself, says so, and beats until it dies. */
import { parentPort, workerData } from 'node:worker_threads';
import { RedisConnectionManager, WorkerRegistry } from 'redis-backplane';

const { options, ...config } = workerData ?? JSON.parse(process.argv[2]);
const registry = new WorkerRegistry(new RedisConnectionManager(config), options);
const { id } = await registry.register({ id: 'render-3', type: 'render', capabilities: ['gpu'], capacity: 2 });
const say = parentPort ? (message) => parentPort.postMessage(message) : (message) => process.send(message);
say(id);
setInterval(() => {}, 1_000);

import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { createContainer, shutdownOnSignals } from 'redis-backplane';
import { createService } from './service.js';

const redis = await createContainer({ url: process.env.REDIS_URL ?? 'memory://dev', namespace: 'shop' });
const server = createService(redis).listen(Number(process.env.PORT ?? 0));
await once(server, 'listening');
console.log(`listening on ${(server.address() as AddressInfo).port}`);

shutdownOnSignals({
  shutdown: async () => {
    server.close();
    server.closeAllConnections(); // event streams never end by themselves
    await redis.shutdown();
  },
});

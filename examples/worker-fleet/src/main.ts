/** Adds pictures to render, and waits for all of them: `node dist/src/main.js 20`. */

import { createContainer } from 'redis-backplane';
import type { Picture } from './worker.js';

const redis = await createContainer({ namespace: 'studio' }); // REDIS_URL
try {
  const pictures = redis.getQueue<Picture, string>('pictures');
  const count = Number(process.argv[2] ?? 10);
  const jobs = await pictures.addBulk(
    Array.from({ length: count }, (_, at) => ({ name: 'render', data: { name: `picture-${at + 1}`, renderMs: 200 } })),
  );
  for (const job of jobs) console.log(await job.waitUntilFinished({ timeoutMs: 60_000 }));
} finally {
  await redis.shutdown();
}

import { createContainer } from 'redis-backplane';

export const dynamic = 'force-dynamic';

let redis;

export async function GET() {
  redis ??= createContainer({ redisUrl: 'memory://bundled' });
  const kv = (await redis).getKV();
  await kv.set('key', 'value');
  return Response.json({ stored: await kv.get('key') });
}

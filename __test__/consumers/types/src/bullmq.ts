/** Every method of the client for BullMQ, as a strict user writes them, without BullMQ. */
import {
  type BullMQClient,
  type BullMQOptions,
  type BullMQResult,
  type BullMQTransaction,
  bullmqConnection,
  bullmqOptions,
  type RedisConnectionManager,
} from 'redis-backplane';

export async function client(redis: RedisConnectionManager): Promise<void> {
  const client: BullMQClient = bullmqConnection(redis);
  await client.connect();
  const status: string = client.status;
  const duplicate: BullMQClient = client.duplicate({ connectionName: 'worker' });
  client.duplicate();
  client.on('error', (error) => console.error(error.message, status)).once('end', () => {});
  client.off('end', () => {}).removeListener('ready', () => {});
  client.defineCommand('one', { numberOfKeys: 1, lua: 'return 1' });
  const result: unknown = await client.runCommand('one', ['key', Buffer.from('bytes'), null, 1]);
  const hash: Record<string, string> = await client.hgetall('h');
  const fields: (string | null)[] = await client.hmget('h', 'a', 'b');
  const counts: number[] = [await client.hset('h', { a: 1, b: 'two' }), await client.del(), await client.zcard('z')];
  const scored: string[] = await client.zrange('z', 0, -1, { WITHSCORES: true });
  const popped: [string, string, string] | null = await duplicate.bzpopmin('z', 1.5);
  const streams = await duplicate.xread([{ key: 's', id: '$' }], { BLOCK: 1_000, COUNT: 10 });
  const id: string | undefined = streams?.[0]?.[1][0]?.[0];
  for await (const keys of client.scanStream({ match: '*' })) console.log(keys);
  const steps: BullMQTransaction = client.multi().hgetall('h').hscan('h', 0, { COUNT: 10 }).runCommand('one', ['key']);
  const results: BullMQResult[] | null = await steps.exec();
  duplicate.disconnect(true);
  const ok: string = await duplicate.quit();

  const { host, port, password, tls }: BullMQOptions = bullmqOptions(redis);
  console.log(result, hash, fields, counts, scored, popped, id, results, ok, host, port, password === undefined, tls?.servername);
}

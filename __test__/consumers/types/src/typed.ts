/** A service that names its topics, requests, queues and jobs; and one that does not. */
import { type Container, createContainer, type Job, type TypedContainer } from 'redis-backplane';

interface Order {
  id: number;
}
interface Shop {
  topics: { 'order.created': Order; 'order.paid': { id: number; cents: number } };
  requests: { price: { payload: { sku: string }; reply: number } };
  queues: {
    mails: { welcome: { data: { to: string }; result: string }; digest: { data: { to: string[] }; result: number } };
    images: { resize: { data: { url: string; width: number }; result: undefined } };
  };
}

export async function named(): Promise<void> {
  const redis: TypedContainer<Shop> = await createContainer<Shop>('memory://');
  const bus = redis.getBus();
  await bus.publish('order.created', { id: 7 }, { durable: true });
  await bus.subscribe('order.paid', ({ payload }) => console.log(payload.cents.toFixed(2)), { group: 'books' });
  for await (const { payload } of bus.messages('order.created')) console.log(payload.id + 1);
  await bus.respond('price', ({ sku }) => sku.length);
  const price: number = await bus.request('price', { sku: 'book' });
  bus.on('gap', ({ durationMs }) => console.log(durationMs + price));
  const mails = redis.getQueue('mails');
  const job: Job<{ to: string }, string> = await mails.add('welcome', { to: 'ann@example.org' }, { delayMs: 10 });
  await mails.addBulk([
    { name: 'welcome', data: { to: 'ann' } },
    { name: 'digest', data: { to: ['ann'] } },
  ]);
  const worker = mails.process((one) => (one.name === 'welcome' ? one.data.to.toUpperCase() : one.data.to.length));
  worker.on('completed', (done, result) => console.log(done.id, result));
  console.log(await job.waitUntilFinished(), await redis.getKV().get('k'));

  // @ts-expect-error a topic that is not named
  await bus.publish('order.craeted', { id: 7 });
  // @ts-expect-error the payload of another topic
  await bus.publish('order.paid', { id: 7 });
  // @ts-expect-error the payload has no such member
  await bus.subscribe('order.created', ({ payload }) => console.log(payload.cents));
  // @ts-expect-error the reply is a number
  await bus.respond('price', () => 'much');
  // @ts-expect-error a queue that is not named
  redis.getQueue('mail');
  // @ts-expect-error a job that is not named
  await mails.add('resize', { url: '', width: 1 });
  // @ts-expect-error the data of another job
  await mails.add('digest', { to: 'ann' });
  // @ts-expect-error one job of several has the data of another
  await mails.addBulk([{ name: 'digest', data: { to: 'ann' } }]);
  // @ts-expect-error the result of no job
  mails.process(() => new Date());
}

export async function partly(): Promise<void> {
  const redis = await createContainer<{ topics: { tick: number } }>();
  await redis.getBus().publish('tick', 1);
  const reply: string = await redis.getBus().request<number, string>('anything', 1);
  const queue = redis.getQueue<{ any: string }, string>('anything');
  await queue.add(reply, { any: 'thing' });
}

export async function untyped(): Promise<void> {
  const redis: Container = await createContainer({ url: 'memory://' });
  await redis.getBus().publish('anything', { at: 'all' });
  await redis.getBus().subscribe<Order>('anything', ({ payload }) => console.log(payload.id));
  await redis.getQueue('anything').add('any', new Date());
}

/** An HTTP service: orders are stored once, announced to everybody, and mailed by a worker. */

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { json } from 'node:stream/consumers';
import { type Container, once } from 'redis-backplane';

export interface Order {
  id: string;
  item: string;
}

const DAY_SEC = 86_400;

export function createService(redis: Container): Server {
  redis.getQueue<Order>('mails').process(async (job) => {
    console.log(`mail: order ${job.data.id} for ${job.data.item}`);
  });
  return createServer((request, response) => {
    answer(redis, request, response).catch((error: unknown) => {
      console.error(error);
      if (!response.headersSent) response.writeHead(500);
      response.end();
    });
  });
}

async function answer(redis: Container, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { method, url = '/' } = request;
  if (url === '/ready') {
    const health = await redis.health();
    reply(response, health.ok ? 200 : 503, health);
  } else if (method === 'POST' && url === '/orders') {
    await addOrder(redis, request, response);
  } else if (method === 'GET' && url.startsWith('/orders/')) {
    const order = await redis.getKV().get<Order>(`order:${url.slice('/orders/'.length)}`);
    reply(response, order === null ? 404 : 200, order);
  } else if (method === 'GET' && url === '/events') {
    await streamOrders(redis, request, response);
  } else {
    reply(response, 404, null);
  }
}

/** A client that repeats a request, because it saw no answer, sends the same Idempotency-Key: the order is taken once. */
async function addOrder(redis: Container, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const id = request.headers['idempotency-key'];
  const { item } = (await json(request)) as Partial<Order>;
  if (typeof id !== 'string' || id === '' || typeof item !== 'string') {
    reply(response, 400, { error: 'expected an Idempotency-Key and an item' });
    return;
  }
  const order: Order = { id, item };
  const taken = await once(
    redis.getKV(),
    `order-taken:${id}`,
    async () => {
      await redis.getKV().set(`order:${id}`, order);
      await redis.getQueue<Order>('mails').add('confirmation', order, { id: `mail-${id}` });
      await redis.getBus().publish('orders', order);
      return true;
    },
    DAY_SEC,
  );
  reply(response, taken ? 201 : 200, order);
}

/** The orders of all processes, as server-sent events. */
async function streamOrders(redis: Container, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const unsubscribe = await redis.getBus().subscribe<Order>('orders', ({ payload }) => {
    response.write(`data: ${JSON.stringify(payload)}\n\n`);
  });
  // Written when the server has confirmed the subscription: a client that sees the head misses nothing from here on.
  response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
  response.write(': ready\n\n');
  request.once('close', () => unsubscribe().catch((error: unknown) => console.error(error)));
}

function reply(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(body));
}

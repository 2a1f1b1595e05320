/** The bus as a strict user writes it. */
import {
  type BusEvents,
  type Correlation,
  correlation,
  createEnvelope,
  type Envelope,
  isEnvelope,
  MessageBus,
  type MessageBusOptions,
  type MessageContext,
  makeRedisBus,
  type RedisConnectionManager,
  ResponderError,
  retryEnvelope,
  type SubscribeOptions,
  type Unsubscribe,
  withCorrelation,
} from 'redis-backplane';

interface Order {
  id: number;
  items: string[];
}

export async function live(pub: RedisConnectionManager, sub: RedisConnectionManager): Promise<void> {
  const options: MessageBusOptions = { namespace: 'shop', maxPending: 1_000, closeTimeoutMs: 1_000 };
  const bus = new MessageBus(pub, options);
  const same: MessageBus = makeRedisBus(pub, sub, { sharded: false });
  makeRedisBus(pub);
  await bus.ready();

  const receivers: number = await bus.publish('orders', { id: 1, items: [] }, { key: 'customer 7' });
  await bus.publish<Order>('orders', createEnvelope<Order>('order', { id: 1, items: [] }, 'corr', 'tenant'));

  const handled: Promise<void>[] = [];
  const given: SubscribeOptions = { concurrency: 2, maxPending: 10, signal: AbortSignal.timeout(1_000) };
  const end: Unsubscribe = await bus.subscribe<Order>(
    'orders',
    async (message: Envelope<Order>, context: MessageContext) => {
      const [first, trace]: [string | undefined, string | undefined] = [message.payload.items[0], message.traceparent];
      handled.push(Promise.resolve(void [first, trace, context.topic, context.key, context.attempt, context.signal.aborted]));
    },
    given,
  );
  await bus.psubscribe<Order>('orders.*', ({ payload }, { pattern }) => void [payload.id, pattern], { maxPending: 5 });
  for await (const { payload } of bus.messages<Order>('orders', { maxPending: 5 })) if (payload.id > 1) break;

  await using answers = await bus.respond<{ sku: string }, number>('price', async ({ sku }, envelope) => sku.length + envelope.attempts);
  const price: number = await bus.request<{ sku: string }, number>('price', { sku: 'tea' }, { timeoutMs: 100 });
  await bus
    .request('price', 1)
    .catch((error: unknown) => error instanceof ResponderError && [error.remoteName, error.remoteCode, error.code]);

  const lost = ({ topic, durationMs }: BusEvents['gap']): void => void [topic, durationMs];
  bus.on('gap', lost).off('gap', lost);
  bus.on('error', ({ error, envelopeId }) => void [error, envelopeId]).on('slow', ({ dropped }) => void dropped);
  bus.on('malformed', ({ topic, bytes }) => void [topic, bytes]);

  const now: Correlation | undefined = correlation();
  const nested: string = withCorrelation({ corrId: 'corr', tenantId: 'tenant' }, () => createEnvelope('kind', 1).corrId);
  const again: Envelope<number> = retryEnvelope(createEnvelope('kind', 1), new Error('why'));
  const unknown: unknown = JSON.parse('{}');
  if (isEnvelope(unknown)) unknown.payload;
  await end();
  await end[Symbol.asyncDispose]();
  await Promise.all([bus.close(), same.close(), answers()]);
  void [receivers, price, now, nested, again];
}

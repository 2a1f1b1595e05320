/** BullMQ beside this package, as a strict user writes it: no cast. */
import { FlowProducer, type IRedisClient, type IRedisTransaction, Queue, QueueEvents, Worker } from 'bullmq';
import { Redis } from 'ioredis';
import {
  type BullMQClient,
  type BullMQOptions,
  type BullMQTransaction,
  bullmqConnection,
  bullmqOptions,
  RedisConnectionManager,
} from 'redis-backplane';

const manager = new RedisConnectionManager('redis://localhost:6379');
const connection = bullmqConnection(manager);

export const queues = [
  new Queue('paint', { connection }),
  new Queue<{ color: string }, number>('paint', { connection, prefix: '{paint}' }),
  new Worker('paint', async (job) => job.data, { connection, name: 'brush' }),
  new QueueEvents('paint', { connection }),
  new FlowProducer({ connection }),
];

export const client: IRedisClient = connection;
export const duplicate: IRedisClient = connection.duplicate({ connectionName: 'brush' });
export const transaction: IRedisTransaction = connection.multi();
export const ours: [BullMQClient, BullMQTransaction] = [connection.duplicate(), connection.pipeline()];
connection.on('error', (error) => console.error(error.message));

export const options: BullMQOptions = bullmqOptions(manager);
export const others = [
  new Queue('paint', { connection: bullmqOptions(manager) }),
  new Worker('paint', 'processor.js', { connection: bullmqOptions(manager) }),
  new Queue('paint', { connection: { ...options, lazyConnect: true } }),
  new Queue('paint', { connection: new Redis(bullmqOptions(manager)) }),
];

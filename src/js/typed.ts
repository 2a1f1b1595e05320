/** A container whose topics, requests, queues and jobs are known by name: types only, for `createContainer<…>()`. */

import type { MessageContext, MessagesOptions, PublishOptions, RequestOptions, SubscribeOptions, Unsubscribe } from './bus/options.js';
import type { Container } from './container.js';
import type { Envelope } from './envelope.js';
import type { IMessageBus, ITaskQueue } from './ports.js';
import type { JobContext } from './queue/attempt.js';
import type { Job } from './queue/job.js';
import type { JobOptions, WorkerOptions } from './queue/options.js';
import type { TaskWorker } from './queue/worker.js';

/**
 * What a service names. A part that is left out stays untyped.
 *
 * @example
 * interface Shop {
 *   topics: { 'order.created': { id: number } };
 *   requests: { price: { payload: { sku: string }; reply: number } };
 *   queues: { mails: { welcome: { data: { to: string }; result: string } } };
 * }
 * const redis = await createContainer<Shop>({ url: 'redis://localhost' });
 * await redis.getBus().publish('order.created', { id: 7 });
 * await redis.getQueue('mails').add('welcome', { to: 'ann@example.org' });
 */
export interface ServiceTypes {
  /** The payload of each topic. */
  topics?: object;
  /** The payload of each request and of its reply, as `{ payload; reply }` by topic. */
  requests?: object;
  /** The jobs of each queue: by the name of a job its `{ data; result }`. */
  queues?: object;
}

/** The names of the members of `T`. */
type NameOf<T> = keyof T & string;
/** The payload of a request. */
type PayloadOf<R> = R extends { payload: infer P } ? P : unknown;
/** The payload of its reply. */
type ReplyOf<R> = R extends { reply: infer P } ? P : unknown;
/** The data of a job. */
type DataOf<J> = J extends { data: infer D } ? D : unknown;
/** The result of a job. */
type ResultOf<J> = J extends { result: infer R } ? R : unknown;

/** The methods of a bus that take the names of topics with payloads. */
export interface TopicsOf<T extends object> {
  /** As of {@link MessageBus}, for the topics that are named. */
  publish<K extends NameOf<T>>(topic: K, message: Envelope<T[K]> | T[K], options?: PublishOptions): Promise<number>;
  /** As of {@link MessageBus}, for the topics that are named. */
  subscribe<K extends NameOf<T>>(
    topic: K,
    handler: (message: Envelope<T[K]>, context: MessageContext) => unknown,
    options?: SubscribeOptions,
  ): Promise<Unsubscribe>;
  /** As of {@link MessageBus}, for the topics that are named. */
  messages<K extends NameOf<T>>(topic: K, options?: MessagesOptions): AsyncIterable<Envelope<T[K]>>;
}

/** The methods of a bus that take the names of requests. */
export interface RequestsOf<R extends object> {
  /** As of {@link MessageBus}, for the requests that are named. */
  request<K extends NameOf<R>>(topic: K, payload: PayloadOf<R[K]>, options?: RequestOptions): Promise<ReplyOf<R[K]>>;
  /** As of {@link MessageBus}, for the requests that are named. */
  respond<K extends NameOf<R>>(
    topic: K,
    handler: (payload: PayloadOf<R[K]>, envelope: Envelope<PayloadOf<R[K]>>) => ReplyOf<R[K]> | Promise<ReplyOf<R[K]>>,
  ): Promise<Unsubscribe>;
}

/** A bus that knows the topics and requests of a service. */
export type TypedBus<S extends ServiceTypes> = Omit<IMessageBus, 'publish' | 'subscribe' | 'messages' | 'request' | 'respond'> &
  (S extends { topics: infer T extends object } ? TopicsOf<T> : Pick<IMessageBus, 'publish' | 'subscribe' | 'messages'>) &
  (S extends { requests: infer R extends object } ? RequestsOf<R> : Pick<IMessageBus, 'request' | 'respond'>);

/** A job of a queue whose jobs `J` are known: its name says what its data is. */
export type NamedJob<J extends object> = { [K in NameOf<J>]: Job<DataOf<J[K]>, ResultOf<J[K]>> & { readonly name: K } }[NameOf<J>];

/** A job to add to a queue whose jobs `J` are known. */
export type NamedJobToAdd<J extends object> = {
  [K in NameOf<J>]: { name: K; data: DataOf<J[K]>; options?: JobOptions | undefined };
}[NameOf<J>];

/** The data of any job of `J`. */
type AnyData<J extends object> = DataOf<J[NameOf<J>]>;
/** The result of any job of `J`. */
type AnyResult<J extends object> = ResultOf<J[NameOf<J>]>;

/** The methods of a queue that take the names of jobs. */
export interface JobsOf<J extends object> {
  /** As of {@link TaskQueue}, for the jobs that are named. */
  add<K extends NameOf<J>>(name: K, data: DataOf<J[K]>, options?: JobOptions): Promise<Job<DataOf<J[K]>, ResultOf<J[K]>>>;
  /** As of {@link TaskQueue}, for the jobs that are named. */
  addBulk(jobs: NamedJobToAdd<J>[]): Promise<Job<AnyData<J>, AnyResult<J>>[]>;
  /** As of {@link TaskQueue}. The name of the job says what its data is: `if (job.name === 'welcome') …`. */
  process(
    processor: (job: NamedJob<J>, context: JobContext) => AnyResult<J> | Promise<AnyResult<J>>,
    options?: WorkerOptions,
  ): TaskWorker<AnyData<J>, AnyResult<J>>;
}

/** A queue that knows its jobs. */
export type TypedQueue<J extends object> = Omit<ITaskQueue<AnyData<J>, AnyResult<J>>, 'add' | 'addBulk' | 'process'> & JobsOf<J>;

/** A {@link Container} that knows the names of a service. */
export interface TypedContainer<S extends ServiceTypes> extends Omit<Container, 'getBus' | 'getQueue'> {
  /** The message bus, the same object each time. */
  getBus(): TypedBus<S>;
  /** The queue with this name, the same object each time. */
  getQueue: S extends { queues: infer Q extends object }
    ? <K extends NameOf<Q>>(name: K) => Q[K] extends object ? TypedQueue<Q[K]> : never
    : Container['getQueue'];
}

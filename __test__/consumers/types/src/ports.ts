/** Test doubles of every port, written by hand and given to code that takes the ports, without a cast. */
import {
  type BusEvents,
  type Checkpoint,
  type CheckpointInfo,
  type CheckpointRun,
  CheckpointStore,
  type CommandArgument,
  type ConnectionEvents,
  type ConnectionHealth,
  type Container,
  type ContainerHealth,
  type DeadLetters,
  type ElectOptions,
  type Envelope,
  type GetOrSetOptions,
  type HeartbeatUpdate,
  type ICheckpointStore,
  type IKVStore,
  type IMessageBus,
  type InterruptedThread,
  type IRedisConnection,
  type ISessionStore,
  type ITaskQueue,
  type IWorkerRegistry,
  type Job,
  type JobState,
  KVStore,
  type Leadership,
  type Lock,
  MessageBus,
  type MessageContext,
  type MetricsSnapshot,
  makeRedisBus,
  makeRedisKV,
  once,
  type Processor,
  type PublishOptions,
  type RegistryEvents,
  type RequestOptions,
  type Resumer,
  type Schedule,
  type Session,
  type SessionInfo,
  type SubscribeOptions,
  shutdownOnSignals,
  TaskQueue,
  type TaskQueueEvents,
  type TaskWorker,
  type TopicGroup,
  type Unsubscribe,
  type WorkerClaim,
  type WorkerCommand,
  type WorkerCount,
  type WorkerEvent,
  type WorkerFilter,
  type WorkerHealth,
  type WorkerInfo,
  type WorkerOptions,
  type WorkerRegistration,
  WorkerRegistry,
  type WorkerStatus,
} from 'redis-backplane';

function unused(): never {
  throw new Error('not part of this test');
}

export class Connection implements IRedisConnection {
  readonly state = 'ready' as const;
  async connect(): Promise<void> {}
  async disconnect(): Promise<void> {}
  isConnected(): boolean {
    return true;
  }
  async ping(): Promise<number> {
    return 1;
  }
  async health(): Promise<ConnectionHealth> {
    return { ok: true, writable: true, state: this.state, latencyMs: 1, server: undefined, error: undefined };
  }
  command<T = unknown>(_name: string, ..._args: CommandArgument[]): Promise<T> {
    return unused();
  }
  transaction<T = unknown[]>(_commands: [string, ...CommandArgument[]][]): Promise<T> {
    return unused();
  }
  script<T = unknown>(_lua: string, _keys: string[], _args?: CommandArgument[]): Promise<T> {
    return unused();
  }
  metrics(): MetricsSnapshot {
    return unused();
  }
  prometheus(): string {
    return '';
  }
  on<E extends keyof ConnectionEvents>(_event: E, _listener: (...args: ConnectionEvents[E]) => unknown): this {
    return this;
  }
  off<E extends keyof ConnectionEvents>(_event: E, _listener: (...args: ConnectionEvents[E]) => unknown): this {
    return this;
  }
  once<E extends keyof ConnectionEvents>(_event: E, _listener: (...args: ConnectionEvents[E]) => unknown): this {
    return this;
  }
  async [Symbol.asyncDispose](): Promise<void> {}
}

export class Store implements IKVStore {
  readonly values = new Map<string, unknown>();
  async get<T = unknown>(key: string): Promise<T | null> {
    return (this.values.get(key) as T | undefined) ?? null;
  }
  async set<T>(key: string, value: T, _ttlSec?: number): Promise<void> {
    this.values.set(key, value);
  }
  setIfAbsent<T>(_key: string, _value: T, _ttlSec?: number): Promise<boolean> {
    return unused();
  }
  getBuffer(_key: string): Promise<Buffer | null> {
    return unused();
  }
  setBuffer(_key: string, _value: Uint8Array, _ttlSec?: number): Promise<void> {
    return unused();
  }
  del(...keys: string[]): Promise<number> {
    return Promise.resolve(keys.filter((key) => this.values.delete(key)).length);
  }
  has(_key: string): Promise<boolean> {
    return unused();
  }
  mget<T = unknown>(_keys: string[]): Promise<(T | null)[]> {
    return unused();
  }
  mset(_entries: Record<string, unknown> | Iterable<[string, unknown]>, _ttlSec?: number): Promise<void> {
    return unused();
  }
  incr(_key: string, _by?: number, _ttlSec?: number): Promise<number> {
    return unused();
  }
  decr(_key: string, _by?: number): Promise<number> {
    return unused();
  }
  cas<T>(_key: string, _expected: T | null, _next: T, _ttlSec?: number): Promise<boolean> {
    return unused();
  }
  update<T>(_key: string, _change: (current: T | null) => T | null): Promise<T | null> {
    return unused();
  }
  getDel<T = unknown>(_key: string): Promise<T | null> {
    return unused();
  }
  getSet<T>(_key: string, _value: T, _ttlSec?: number): Promise<T | null> {
    return unused();
  }
  ttl(_key: string): Promise<number | null> {
    return unused();
  }
  expire(_key: string, _ttlSec: number): Promise<boolean> {
    return unused();
  }
  persist(_key: string): Promise<boolean> {
    return unused();
  }
  async *scan(): AsyncGenerator<string, void, undefined> {
    yield* this.values.keys();
  }
  clear(): Promise<number> {
    return unused();
  }
  lpushRecent<T>(_key: string, _value: T, _limit: number, _ttlSec?: number): Promise<number> {
    return unused();
  }
  getRecent<T = unknown>(_key: string, _limit: number): Promise<T[]> {
    return unused();
  }
  cacheGet<T = unknown>(key: string): Promise<T | null> {
    return this.get<T>(key);
  }
  cacheSet<T>(key: string, value: T, ttlSec?: number): Promise<void> {
    return this.set(key, value, ttlSec);
  }
  async getOrSet<T>(_key: string, load: () => T | Promise<T>, _options: GetOrSetOptions): Promise<T> {
    return load();
  }
  async lock(key: string): Promise<Lock> {
    const release = async (): Promise<boolean> => true;
    const signal = new AbortController().signal;
    return { key, token: 1, signal, extend: async () => {}, release, [Symbol.asyncDispose]: async () => void release() };
  }
}

export class Bus implements IMessageBus {
  async ready(): Promise<void> {}
  async publish<T>(_topic: string, _message: Envelope<T> | T, _options?: PublishOptions): Promise<number> {
    return 0;
  }
  async subscribe<T>(
    _topic: string,
    _handler: (message: Envelope<T>, context: MessageContext) => unknown,
    _options?: SubscribeOptions,
  ): Promise<Unsubscribe> {
    return Object.assign(async () => {}, { [Symbol.asyncDispose]: async () => {} });
  }
  psubscribe<T>(_pattern: string, _handler: (message: Envelope<T>, context: MessageContext) => unknown): Promise<Unsubscribe> {
    return unused();
  }
  messages<T>(_topic: string): AsyncIterable<Envelope<T>> {
    return unused();
  }
  request<Q, R>(_topic: string, _payload: Q, _options?: RequestOptions): Promise<R> {
    return unused();
  }
  respond<Q, R>(_topic: string, _handler: (payload: Q, envelope: Envelope<Q>) => R | Promise<R>): Promise<Unsubscribe> {
    return unused();
  }
  deadLetters(_topic: string, _group: string): DeadLetters {
    return { count: async () => 0, list: async () => [], redrive: async () => 0, purge: async () => 0 };
  }
  async groups(_topic: string): Promise<TopicGroup[]> {
    return [];
  }
  async removeGroup(_topic: string, _group: string): Promise<boolean> {
    return false;
  }
  on<E extends keyof BusEvents>(_event: E, _listener: (event: BusEvents[E]) => unknown): this {
    return this;
  }
  off<E extends keyof BusEvents>(_event: E, _listener: (event: BusEvents[E]) => unknown): this {
    return this;
  }
  async close(): Promise<void> {}
  async [Symbol.asyncDispose](): Promise<void> {}
}

export class Queue<T, R> implements ITaskQueue<T, R> {
  readonly name = 'double';
  add(_name: string, _data: T): Promise<Job<T, R>> {
    return unused();
  }
  addAndWait(_name: string, _data: T): Promise<R> {
    return unused();
  }
  addBulk(_jobs: { name: string; data: T }[]): Promise<Job<T, R>[]> {
    return unused();
  }
  async getJob(_id: string): Promise<Job<T, R> | null> {
    return null;
  }
  async list(_state: JobState | JobState[]): Promise<Job<T, R>[]> {
    return [];
  }
  counts(): Promise<Record<JobState, number>> {
    return unused();
  }
  async pause(): Promise<void> {}
  async resume(): Promise<void> {}
  async isPaused(): Promise<boolean> {
    return false;
  }
  async drain(): Promise<number> {
    return 0;
  }
  async clean(_state: 'completed' | 'failed'): Promise<number> {
    return 0;
  }
  async retryFailed(): Promise<number> {
    return 0;
  }
  async obliterate(): Promise<void> {}
  async schedule(): Promise<void> {}
  async schedules(): Promise<Schedule<T>[]> {
    return [];
  }
  async unschedule(_id: string): Promise<boolean> {
    return false;
  }
  process(_processor: Processor<T, R>, _options?: WorkerOptions): TaskWorker<T, R> {
    return unused();
  }
  on<E extends keyof TaskQueueEvents<R>>(_event: E, _listener: (...args: TaskQueueEvents<R>[E]) => unknown): this {
    return this;
  }
  off<E extends keyof TaskQueueEvents<R>>(_event: E, _listener: (...args: TaskQueueEvents<R>[E]) => unknown): this {
    return this;
  }
  async ready(): Promise<void> {}
  async close(): Promise<void> {}
  async cleanup(): Promise<void> {}
  async [Symbol.asyncDispose](): Promise<void> {}
}

export class Registry implements IWorkerRegistry {
  register(_worker?: WorkerRegistration): Promise<WorkerInfo> {
    return unused();
  }
  async heartbeat(_id: string, _update?: HeartbeatUpdate): Promise<boolean> {
    return true;
  }
  report(_id: string, _now: { load?: number | undefined }): void {}
  async setStatus(_id: string, _status: WorkerStatus): Promise<boolean> {
    return true;
  }
  async get(_id: string): Promise<WorkerInfo | null> {
    return null;
  }
  async health(_id: string): Promise<WorkerHealth> {
    return 'unknown';
  }
  async list(_filter?: WorkerFilter): Promise<WorkerInfo[]> {
    return [];
  }
  async snapshot(): Promise<{ workers: WorkerInfo[]; position: string }> {
    return { workers: [], position: '0-0' };
  }
  async readEvents(position: string): Promise<{ events: WorkerEvent[]; position: string; complete: boolean }> {
    return { events: [], position, complete: true };
  }
  count(): Promise<WorkerCount> {
    return unused();
  }
  async claim(): Promise<WorkerClaim | null> {
    return null;
  }
  async unregister(_id: string): Promise<boolean> {
    return true;
  }
  async reap(): Promise<WorkerInfo[]> {
    return [];
  }
  async send(_id: string, _command: WorkerCommand | WorkerCommand['name']): Promise<boolean> {
    return true;
  }
  elect(_role: string, _options?: ElectOptions): Promise<Leadership> {
    return unused();
  }
  on<E extends keyof RegistryEvents>(_event: E, _listener: (...args: RegistryEvents[E]) => unknown): this {
    return this;
  }
  off<E extends keyof RegistryEvents>(_event: E, _listener: (...args: RegistryEvents[E]) => unknown): this {
    return this;
  }
  once<E extends keyof RegistryEvents>(_event: E, _listener: (...args: RegistryEvents[E]) => unknown): this {
    return this;
  }
  async ready(): Promise<void> {}
  async cleanup(): Promise<void> {}
  async [Symbol.asyncDispose](): Promise<void> {}
}

export class Sessions<T extends object> implements ISessionStore<T> {
  async create(data: T): Promise<Session<T>> {
    return { id: 's', version: 1, data, createdAt: 0, expiresAt: 1, from: 'redis' };
  }
  async load(_id: string): Promise<Session<T> | null> {
    return null;
  }
  async save(session: Session<T>, data: T): Promise<Session<T>> {
    return { ...session, data };
  }
  async update(_id: string, _change: (data: T) => T | null): Promise<Session<T> | null> {
    return null;
  }
  async touch(_id: string): Promise<boolean> {
    return false;
  }
  async destroy(_id: string): Promise<boolean> {
    return false;
  }
  async regenerate(_id: string): Promise<Session<T> | null> {
    return null;
  }
  async append<M>(_id: string, _message: M): Promise<number> {
    return 0;
  }
  async recent<M>(_id: string, _limit: number): Promise<M[]> {
    return [];
  }
  async ofUser(_user: string): Promise<SessionInfo[]> {
    return [];
  }
  async destroyOfUser(_user: string): Promise<number> {
    return 0;
  }
  on(): this {
    return this;
  }
  off(): this {
    return this;
  }
}

export class Checkpoints implements ICheckpointStore {
  async save<S>(thread: string, _state: S): Promise<CheckpointInfo> {
    return { thread, scope: '', id: '1', parent: null, at: 0, bytes: 2, meta: {}, pinned: false };
  }
  async latest<S>(_thread: string): Promise<Checkpoint<S> | null> {
    return null;
  }
  async get<S>(_thread: string, _id: string): Promise<Checkpoint<S> | null> {
    return null;
  }
  async *history(_thread: string): AsyncGenerator<CheckpointInfo> {}
  fork(_thread: string, _id: string, into: string): Promise<CheckpointInfo> {
    return this.save(into, null);
  }
  async addPending(_thread: string, _id: string, _task: string, _writes: [string, unknown][]): Promise<void> {}
  async pin(_thread: string, _id: string): Promise<boolean> {
    return false;
  }
  async prune(_thread: string): Promise<number> {
    return 0;
  }
  async remove(_thread: string): Promise<boolean> {
    return false;
  }
  async *threads(): AsyncGenerator<string> {}
  async acquire<S>(_thread: string): Promise<CheckpointRun<S> | null> {
    return null;
  }
  async interrupted(): Promise<InterruptedThread[]> {
    return [];
  }
  resume(): Resumer {
    return unused();
  }
  async watch(_thread: string, _handler: (info: CheckpointInfo) => void): Promise<Unsubscribe> {
    return Object.assign(async () => {}, { [Symbol.asyncDispose]: async () => {} });
  }
}

export class Parts implements Container {
  readonly manager = new Connection();
  getBus(): Bus {
    return new Bus();
  }
  getKV(): Store {
    return new Store();
  }
  getRegistry(): Registry {
    return new Registry();
  }
  getSessions<T extends object>(): Sessions<T> {
    return new Sessions<T>();
  }
  getCheckpoints(): Checkpoints {
    return new Checkpoints();
  }
  getQueue<T, R>(_name: string): Queue<T, R> {
    return new Queue<T, R>();
  }
  async health(): Promise<ContainerHealth> {
    return { ok: true, redis: true, bus: true, kv: true, registry: true, checkpoints: true };
  }
  async shutdown(): Promise<void> {}
  async [Symbol.asyncDispose](): Promise<void> {}
}

/** A service of the user's own. */
export class Orders {
  constructor(
    readonly kv: IKVStore,
    readonly bus: IMessageBus,
    readonly queue: ITaskQueue<{ id: number }>,
    readonly registry: IWorkerRegistry,
  ) {}
}

/** The real ones and the doubles fit everywhere, the classes as each other's types too. */
export async function everywhere(manager: IRedisConnection, container: Container): Promise<void> {
  const kv: KVStore = new KVStore(manager, { namespace: undefined });
  const bus: MessageBus = new MessageBus(manager, { subscriber: new Connection(), namespace: undefined });
  const queue = new TaskQueue<{ id: number }>('orders', manager);
  const registry: WorkerRegistry = new WorkerRegistry(manager);
  const real = new Orders(kv, bus, queue, registry);
  const doubles = new Orders(new Store(), new Bus(), new Queue<{ id: number }, unknown>(), new Registry());
  const built = new Orders(container.getBus() && container.getKV(), container.getBus(), container.getQueue('q'), container.getRegistry());
  const asClass: KVStore = new Store();
  const checkpoints: CheckpointStore = container.getCheckpoints() && new CheckpointStore(manager);
  const fromContainer: MessageBus = container.getBus();
  await once(new Store(), 'k', () => 1, 1);
  makeRedisKV(new Connection());
  makeRedisBus(new Connection(), undefined, { sharded: undefined });
  shutdownOnSignals(container, { onError: (error) => error, signals: undefined });
  shutdownOnSignals({ shutdown: async () => 'done' });
  void [real, doubles, built, asClass, fromContainer, checkpoints];
}

/** What is optional takes `undefined`, and what a callback gives is its own matter. */
export async function undefinedIsNotGiven(bus: IMessageBus, kv: IKVStore, queue: ITaskQueue<number, number>): Promise<void> {
  const maybe: number | undefined = undefined;
  const signal: AbortSignal | undefined = undefined;
  const got: number[] = [];
  await bus.subscribe<number>('t', ({ payload }) => got.push(payload), { concurrency: maybe, group: undefined, signal });
  await bus.psubscribe<number>('t*', async ({ payload }) => got.push(payload), { maxPending: maybe });
  bus.on('gap', async () => 1).on('slow', ({ dropped }) => dropped);
  await bus.publish('t', 1, { key: undefined, durable: undefined });
  const { release, extend } = await kv.lock('k', { leaseMs: maybe, waitMs: maybe, signal });
  await extend(maybe);
  await release();
  await kv.getOrSet('k', () => 1, { ttlSec: 1, staleSec: maybe });
  await queue.add('x', 1, { delayMs: maybe, backoff: undefined, dedupe: { id: 'd', ttlMs: maybe, replace: undefined } });
  queue.process(
    async (job, { signal: ended, children, attempt }) => {
      await children();
      return ended.aborted ? 0 : job.data + attempt;
    },
    { rateLimit: undefined },
  );
  const info: Pick<WorkerInfo, 'id' | 'capacity' | 'degradedBecause'> = { id: 'w', capacity: 1, degradedBecause: undefined };
  const id: string = info.id;
  void id;
}

/** Every method of the worker registry and of the container, as a strict user writes them. */
import {
  type ClaimRequest,
  type Container,
  type Coordinator,
  createContainer,
  type Leadership,
  type MessageBus,
  type RedisConnectionManager,
  type RedisError,
  shutdownOnSignals,
  type TaskQueue,
  type WorkerClaim,
  type WorkerCommand,
  type WorkerCount,
  type WorkerEvent,
  type WorkerHealth,
  type WorkerInfo,
  WorkerRegistry,
  type WorkerStatus,
} from 'redis-backplane';

export async function work(redis: RedisConnectionManager): Promise<void> {
  await using registry = new WorkerRegistry(redis, {
    namespace: 'render',
    heartbeatIntervalMs: 1_000,
    degradedAfterMs: 2_500,
    crashedAfterMs: 6_000,
    forgetAfterMs: 60_000,
    stalledAfterMs: 1_000,
    autoHeartbeat: true,
    stormShare: 0.5,
    stormMinimum: 10,
  });
  const worker: WorkerInfo = await registry.register({
    id: 'a',
    type: 'gpu',
    capabilities: ['cuda'],
    metadata: { zone: 'b' },
    capacity: 4,
  });
  const beaten: boolean = await registry.heartbeat(worker.id, { status: 'busy', load: 0.5, metadata: { zone: 'c' }, degraded: false });
  registry.report('a', { load: 0.7 });
  const status: WorkerStatus = worker.status;
  const changed: boolean[] = [await registry.setStatus('a', status), await registry.send('a', 'drain'), await registry.unregister('a')];
  const sent: boolean = await registry.send('a', { name: 'pause', data: { until: 5 } });
  const found: WorkerInfo | null = await registry.get('a');
  const health: WorkerHealth = await registry.health('a');
  const listed: WorkerInfo[] = await registry.list({ type: 'gpu', capabilities: ['cuda'], status: 'idle', health: 'healthy', limit: 10 });
  const { workers, position } = await registry.snapshot({ type: 'gpu' });
  const read: { events: WorkerEvent[]; position: string; complete: boolean } = await registry.readEvents(position, { limit: 5 });
  const count: WorkerCount = await registry.count();
  const reaped: WorkerInfo[] = await registry.reap();
  console.log(
    beaten,
    changed,
    sent,
    found?.degradedBecause,
    health,
    listed.length,
    workers.length,
    read.complete,
    count.total,
    reaped.length,
  );

  const request: ClaimRequest = { capabilities: ['cuda'], type: 'gpu', leaseMs: 5_000 };
  const claim: WorkerClaim | null = await registry.claim(request);
  if (claim !== null) {
    await using slot = claim;
    const held: boolean = (await slot.renew(5_000)) || (await slot.release());
    console.log(slot.workerId, slot.worker.capacity, slot.token + 1, held);
  }
  await using leader: Leadership = await registry.elect('planner', { leaseMs: 5_000, waitMs: 100, signal: new AbortController().signal });
  leader.signal.addEventListener('abort', () => console.log(leader.role, leader.token));
  await leader.resign();

  const joined = (info: WorkerInfo): void => console.log(info.epoch);
  registry
    .on('joined', joined)
    .on('crashed', ({ id, hostname, pid }) => console.log(id, hostname, pid))
    .on('fenced', (info, next) => console.log(info.id, next?.epoch))
    .on('command', ({ name, data }: WorkerCommand, info) => console.log(name, data, info.id))
    .on('gap', ({ missed }) => console.log(missed + 1))
    .on('error', (error: RedisError) => console.log(error.redisErrorKind))
    .once('recovered', joined)
    .off('joined', joined);
  await registry.ready();
  await registry.cleanup();
}

export async function serve(): Promise<void> {
  const ticker: Coordinator = async (container) => {
    await container.getKV().set('started', true);
    return async () => {};
  };
  await using container: Container = await createContainer({
    redisUrl: 'memory://types',
    redis: { commandTimeoutMs: 1_000 },
    redisNamespace: 'shop',
    bus: { maxPending: 100 },
    registry: { heartbeatIntervalMs: 1_000 },
    queue: { defaultJobOptions: { attempts: 2 } },
    coordinators: { sweeper: true, idle: false, ticker },
    shutdownTimeoutMs: 1_000,
  });
  const stop: () => void = shutdownOnSignals(container);
  const bus: MessageBus = container.getBus();
  const queue: TaskQueue<{ to: string }, number> = container.getQueue<{ to: string }, number>('mails');
  const registry: WorkerRegistry = container.getRegistry();
  const { ok, bus: isBusUp, 'queue:mails': isQueueUp } = await container.health();
  console.log(bus, queue.name, registry, ok, isBusUp, isQueueUp, container.manager.state);
  stop();
  await container.shutdown();
}

/**
 * Producers and workers in processes of their own, killed, stopped and blocked at random; then the books are compared.
 *
 * `QUEUE_SOAK_MS` is how long faults are injected (default 20 000), `QUEUE_SOAK_SEED` what chooses them (default 20 262).
 */
import { type RedisConnectionManager, TaskQueue, type TaskQueueEvents } from 'redis-backplane';
import { expect, it } from 'vitest';
import { type Child, startProcess } from '../support/process.ts';
import { linesWith, startWorker } from '../support/queue-processes.ts';
import { Random } from '../support/random.ts';
import { useRig } from '../support/rig.ts';
import { until } from '../support/until.ts';

const rig = useRig();
const SOAK_MS = Number(process.env.QUEUE_SOAK_MS ?? 20_000);
const SEED = Number(process.env.QUEUE_SOAK_SEED ?? 20_262);
const LEASE_MS = 1_000;
const WORKERS = 4;
const PRODUCERS = 2;
const LIFETIME_MS = SOAK_MS + 150_000;

interface ProducerArgs {
  url: string;
  name: string;
  seed: number;
  leaseMs: number;
}

/** Adds jobs, a few at a time, each until it is said to be there; tells of each one first that it will and then that it did. */
function startProducer(args: ProducerArgs): Child {
  return startProcess<ProducerArgs>(
    async ({ redis, emit, args: { url, name, seed, leaseMs } }) => {
      const manager = new redis.RedisConnectionManager({ url, connectRetries: 1_000_000, reconnect: { minDelayMs: 5, maxDelayMs: 100 } });
      const queue = new redis.TaskQueue('soak', manager, { defaultJobOptions: { keepCompleted: true, keepFailed: true } });
      let state = seed;
      const random = (most: number) => {
        state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
        return Math.floor((state / 4_294_967_296) * most);
      };
      let stopped = false;
      process.once('SIGTERM', () => {
        stopped = true;
      });
      for (let n = 0; !stopped; n++) {
        const jobs = Array.from({ length: 1 + random(8) }, (_, i) => {
          const id = `${name}:${n}:${i}`;
          const data = {
            sleepMs: random(3) === 0 ? random(150) : 0,
            // One in some hundreds holds the event loop for longer than a lease.
            blockMs: random(400) === 0 ? Math.floor(leaseMs * 1.3) : 0,
            failures: random(10) === 0 ? 1 + random(3) : 0,
          };
          const options = {
            id,
            attempts: 2,
            ...(random(8) === 0 ? { delayMs: random(500) } : {}),
            ...(random(8) === 0 ? { priority: 1 + random(5) } : {}),
            ...(random(8) === 0 ? { backoff: { type: 'fixed' as const, delayMs: random(100) } } : {}),
            ...(random(8) === 0 ? { group: `g${random(3)}` } : {}),
          };
          return { name: 'x', data, options };
        });
        emit({ will: jobs.map(({ options }) => options.id) });
        while (!stopped) {
          try {
            await queue.addBulk(jobs);
            emit({ did: jobs.map(({ options }) => options.id) });
            break;
          } catch {
            // Ids make it safe to add again.
            await new Promise((resolve) => setTimeout(resolve, 20));
          }
        }
        await new Promise((resolve) => setTimeout(resolve, 20 + random(40)));
      }
      await queue.close();
      await manager.disconnect();
    },
    { args, timeoutMs: LIFETIME_MS },
  );
}

/** What may follow what in the life of a job; every event is written by the very script that does what it tells. */
const FOLLOWS: Record<string, string[]> = {
  added: ['active'],
  active: ['completed', 'failed', 'retrying', 'stalled'],
  retrying: ['active'],
  stalled: ['active', 'failed'],
  completed: [],
  failed: [],
};

it('a soak of killed, stopped and blocked processes loses no job, and no two leases of one are valid at once', {
  timeout: SOAK_MS + 180_000,
}, async () => {
  const server = await rig.server();
  const { url } = server;
  const random = new Random(SEED);
  const manager: RedisConnectionManager = rig.manager({ url });
  const queue = new TaskQueue('soak', manager);

  /** The last event of each job, and everything that may not be. */
  const last = new Map<string, string>();
  const wrong: string[] = [];
  const counts: Record<string, number> = {};
  let gaps = 0;
  for (const type of ['added', 'active', 'completed', 'failed', 'retrying', 'stalled'] as const) {
    queue.on(type, ({ jobId }: TaskQueueEvents[typeof type][0]) => {
      counts[type] = (counts[type] ?? 0) + 1;
      const before = last.get(jobId);
      const may = before === undefined ? type === 'added' : FOLLOWS[before]?.includes(type);
      if (!may) wrong.push(`${jobId}: ${before ?? 'nothing'}, then ${type}`);
      last.set(jobId, type);
    });
  }
  queue.on('gap', () => {
    gaps += 1;
  });
  await queue.ready();

  const workerArgs = { url, queue: 'soak', concurrency: 8, leaseMs: LEASE_MS, maxStalls: 1_000 };
  const workers = Array.from({ length: WORKERS }, () => startWorker(workerArgs, LIFETIME_MS));
  let serial = 0;
  const newProducer = () => {
    serial += 1;
    return startProducer({ url, name: `p${serial}`, seed: SEED + serial, leaseMs: LEASE_MS });
  };
  const producers = Array.from({ length: PRODUCERS }, newProducer);
  const all: Child[] = [...workers, ...producers];
  await Promise.all(workers.map((worker) => worker.line((line: object) => 'up' in line, 20_000)));

  const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
  const faults: Record<string, () => Promise<void>> = {
    'kill a worker': async () => {
      const at = random.between(0, WORKERS - 1);
      await workers[at]?.kill9();
      workers[at] = startWorker(workerArgs, LIFETIME_MS);
      all.push(workers[at]);
    },
    'kill a producer': async () => {
      const at = random.between(0, PRODUCERS - 1);
      await producers[at]?.kill9();
      producers[at] = newProducer();
      all.push(producers[at]);
    },
    'stop a worker for less than its lease': async () => {
      const worker = random.pick(workers);
      await worker.freeze();
      await pause(random.between(50, LEASE_MS / 2));
      worker.thaw();
    },
    'stop a worker for longer than its lease': async () => {
      const worker = random.pick(workers);
      await worker.freeze();
      await pause(random.between(Math.round(LEASE_MS * 1.5), LEASE_MS * 3));
      worker.thaw();
    },
    'cut connections': async () => {
      await server.cli('CLIENT', 'KILL', 'TYPE', 'normal');
    },
    'forget scripts': async () => {
      await server.cli('SCRIPT', 'FLUSH');
    },
  };
  const injected: Record<string, number> = Object.fromEntries(Object.keys(faults).map((name) => [name, 0]));
  for (const end = performance.now() + SOAK_MS; performance.now() < end; ) {
    const name = random.pick(Object.keys(faults));
    await faults[name]?.();
    injected[name] = (injected[name] ?? 0) + 1;
    await pause(random.between(100, 700));
  }

  for (const producer of producers) process.kill(producer.pid, 'SIGTERM');
  await Promise.all(producers.map((producer) => producer.ended));
  let open: unknown;
  await until(
    async () => {
      const { waiting, active, delayed } = await queue.counts();
      open = { waiting, active, delayed };
      return waiting + active + delayed === 0;
    },
    { timeoutMs: 90_000, what: () => `every job to be over; open: ${JSON.stringify(open)}` },
  );
  for (const worker of workers) process.kill(worker.pid, 'SIGTERM');
  await Promise.all(workers.map((worker) => worker.ended));

  const producing = all.flatMap((child) => child.lines as { will?: string[]; did?: string[] }[]);
  const willed = new Set(producing.flatMap(({ will }) => will ?? []));
  const did = new Set(producing.flatMap(({ did }) => did ?? []));
  const begun = all.flatMap((child) => linesWith(child, 'begun'));
  const ran = new Set(begun.map((line) => line.begun));
  const ended = new Map<string, number>();
  for (const child of all) for (const line of linesWith(child, 'ended')) ended.set(line.ended, (ended.get(line.ended) ?? 0) + 1);
  const books = new Map<string, string[]>();
  for (const state of ['completed', 'failed'] as const) {
    for (let start = 0; ; start += 1_000) {
      const page = await queue.list(state, { start, limit: 1_000 });
      for (const job of page) books.set(job.id, [...(books.get(job.id) ?? []), state]);
      if (page.length < 1_000) break;
    }
  }
  await until(() => (counts.completed ?? 0) + (counts.failed ?? 0) >= books.size || gaps > 0, { what: 'the last events' });

  const lost = [...did].filter((id) => !books.has(id));
  const foreign = [...books.keys()].filter((id) => !willed.has(id));
  const twice = [...books].filter(([, states]) => states.length > 1).map(([id]) => id);
  const neverRun = [...books.keys()].filter((id) => !ran.has(id));
  const report = {
    seed: SEED,
    seconds: SOAK_MS / 1_000,
    faults: injected,
    added: did.size,
    completed: [...books.values()].filter(([state]) => state === 'completed').length,
    failed: [...books.values()].filter(([state]) => state === 'failed').length,
    attempts: begun.length,
    'ended more than once': [...ended.values()].filter((n) => n > 1).length,
    events: counts,
    gaps,
    lost: lost.length,
    'in the books twice': twice.length,
    'never run': neverRun.length,
    'against the order': wrong.length,
  };
  console.log(`queue soak: ${JSON.stringify(report)}`);
  // With a gap the listener has not heard everything, and cannot judge the order.
  expect({ lost, foreign, twice, neverRun, wrong: gaps > 0 ? [] : wrong }).toEqual({
    lost: [],
    foreign: [],
    twice: [],
    neverRun: [],
    wrong: [],
  });
  expect(did.size).toBeGreaterThan(SOAK_MS / 200);
  await queue.close();
});

/**
 * No script of the package holds a server up for long, whatever is stored and whatever falls due.
 *
 * A server is filled with many of everything, and every operation runs. `SCRIPT_TIMES_SIZE=100000` is the full size;
 * without it sizes are moderate. The bound is the same, so that what grows with what is stored is found by the one or the other.
 */
import {
  CheckpointStore,
  type Job,
  KVStore,
  MessageBus,
  once,
  type RedisConnectionManager,
  SessionStore,
  TaskQueue,
  type TaskWorker,
  WorkerRegistry,
} from 'redis-backplane';
import { beforeAll, describe, expect, test } from 'vitest';
import type { RedisServer } from '../support/redis-server.ts';
import { useRig } from '../support/rig.ts';
import { kept, longestCalls, scriptNames, type Times, watchTimes } from '../support/script-times.ts';
import { until } from '../support/until.ts';

const FULL = Number(process.env.SCRIPT_TIMES_SIZE ?? 0);
const SIZE = FULL || 2_000;
/** As many as one worker may hold, at most. */
const ACTIVE = Math.min(SIZE, 10_000);
/** Milliseconds that one script may take besides those for which the server was kept from the processor, and all in all where nobody knows of those. */
const BOUND_MS = 10;
const BOUND_INTERRUPTED_MS = 250;
const ROUNDS = 3;
const PATIENCE_MS = FULL ? 1_200_000 : 240_000;

interface Found {
  what: string;
  script: string;
  ms: number;
  bound: number;
}

interface Yard {
  server: RedisServer;
  manager: RedisConnectionManager;
  /** Runs `operation` once for each round; what counts is the best of the rounds. */
  measure(what: string, operation: (round: number) => Promise<unknown>, rounds?: number): Promise<void>;
}

const seen = new Set<string>();
/** Scripts that this file does not have run: they need damage, a crash or a failure on the way, and give or take one thing or one page of fixed size. */
const NOT_TRIED = [
  ...['RECOVER', 'CHECK_CHILDREN', 'SET_ASIDE', 'HELD'].map((name) => `queue: ${name}`),
  ...['DISCARD', 'SEARCH', 'SWEEP'].map((name) => `registry: ${name}`),
  ...['INTERRUPT_OWNED', 'LAPSE', 'RELIST'].map((name) => `checkpoints: ${name}`),
];
const found: Found[] = [];
const isSlow = ({ ms, bound }: Found) => ms > bound;

function range<T>(count: number, make: (at: number) => T): T[] {
  return Array.from({ length: count }, (_, at) => make(at));
}

/** Calls `make` for each number below `count`, a thousand at a time. */
async function many(count: number, make: (at: number) => Promise<unknown>): Promise<void> {
  for (let from = 0; from < count; from += 1_000) {
    await Promise.all(range(Math.min(1_000, count - from), (at) => make(from + at)));
  }
}

describe('scripts that hold a server up', () => {
  const rig = useRig();
  const names = scriptNames();

  /**
   * Does `work` on a new server, and again on another, up to the number of rounds, where something took too long: what a script takes by itself
   * it takes each time.
   */
  function measured(name: string, work: (yard: Yard) => Promise<void>): void {
    test(name, { timeout: ROUNDS * PATIENCE_MS }, async () => {
      const best = new Map<string, Found>();
      for (let round = 0; round < ROUNDS && (round === 0 || [...best.values()].some(isSlow)); round += 1) {
        const note = (one: Found) => {
          const key = `${one.what}: ${one.script}`;
          const known = best.get(key);
          if (!known || one.ms - one.bound < known.ms - known.bound) best.set(key, one);
        };
        await work(await yard(note));
      }
      found.push(...best.values());
    });
  }

  async function yard(note: (one: Found) => void): Promise<Yard> {
    const server = await rig.server();
    const manager = rig.manager({ url: server.url, namespace: 'yard', maxPendingCommands: 1_000_000 });
    const reader = rig.manager({ url: server.url, maxReplyBytes: 1_000_000_000 });
    await watchTimes(server);
    return {
      server,
      manager,
      async measure(what, operation, rounds = ROUNDS) {
        const best: Times = new Map();
        const all: Times[] = [];
        await longestCalls(reader, names);
        const before = kept(server);
        for (let round = 0; round < rounds; round += 1) {
          await operation(round);
          all.push(await longestCalls(reader, names));
        }
        for (const times of all) {
          for (const [script, ms] of times) best.set(script, Math.min(ms, best.get(script) ?? Number.POSITIVE_INFINITY));
        }
        const interrupted = kept(server);
        const bound = before === undefined || interrupted === undefined ? BOUND_INTERRUPTED_MS : BOUND_MS + interrupted - before;
        for (const [script, ms] of best) {
          seen.add(script);
          note({ what, script, ms, bound });
        }
      },
    };
  }

  beforeAll(() => {
    seen.clear();
    found.length = 0;
  });

  measured('of a queue: many jobs in every state, groups, children, schedules', async ({ manager, measure }) => {
    const queue = new TaskQueue<number>('jobs', manager);
    const add = (count: number, options: (at: number) => object) => {
      return queue.addBulk(range(count, (at) => ({ name: 'j', data: at, options: options(at) })));
    };
    let workers: TaskWorker<number>[] = [];
    const working = (concurrency: number, processor: (job: Job) => Promise<unknown>, options = {}) => {
      const worker = queue.process(processor, { concurrency, ...options });
      worker.on('error', () => {});
      workers.push(worker);
      return worker;
    };
    const rest = async () => {
      await Promise.all(workers.map((worker) => worker.close({ graceMs: 10_000 })));
      workers = [];
    };
    const drained = () => until(async () => (await queue.counts()).waiting === 0, { what: 'no job to wait', timeoutMs: PATIENCE_MS });

    await measure('add, plain', () => add(SIZE, () => ({})), 1);
    await measure('add one', () => queue.add('j', 1));
    await measure('add, prioritized', () => add(SIZE, (at) => ({ priority: 1 + (at % 100) })), 1);
    await measure('add, groups', () => add(SIZE, (at) => ({ group: `g${at}` })), 1);
    await measure('add, delayed', () => add(SIZE, () => ({ delayMs: 3_600_000 })), 1);
    await measure('add, deduplicated', () => add(SIZE / 10, (at) => ({ dedupe: { id: `d${at}`, replace: true } })), 2);
    await measure('add, delayed, due soon', () => add(SIZE, () => ({ delayMs: 1 })), 1);
    const elsewhere = new TaskQueue<number>('elsewhere', manager);
    await measure('children in another queue', async (round) => {
      const child = { name: 'child', data: 1, queue: 'elsewhere' };
      await queue.add('p', 1, { children: [child] });
      const worker = elsewhere.process(async () => round);
      await until(async () => (await elsewhere.counts()).completed === round + 1, { what: 'the child to end', timeoutMs: PATIENCE_MS });
      await worker.close();
    });
    await measure('children', (round) => queue.add('p', 1, { children: range(100, (at) => ({ name: `c${round}-${at}`, data: at })) }));
    await measure('counts', () => queue.counts());
    for (const state of ['waiting', 'delayed', 'waiting-children'] as const) {
      await measure(`list ${state}`, () => queue.list(state, { limit: 100 }));
    }
    const ghosts = await add(SIZE, () => ({}));
    await many(SIZE, (at) => (ghosts[at] as Job).remove());
    await measure('list waiting, far', () => queue.list('waiting', { start: SIZE - 100, limit: 100 }));
    await measure('list waiting, behind all', () => queue.list('waiting', { start: 100 * SIZE, limit: 100 }));
    await measure('list waiting, last first', () => queue.list('waiting', { start: SIZE - 100, limit: 1_000, newestFirst: true }));
    await measure('schedule', (round) => queue.schedule(`s${round}`, { everyMs: 3_600_000 }, { name: 's', data: 1 }));
    await many(SIZE / 10, (at) => queue.schedule(`t${at}`, { everyMs: at < 100 ? 1_000 : 3_600_000 }, { name: 's', data: 1 }));
    await measure('pause, resume', async () => {
      await queue.pause();
      await queue.resume();
    });
    const job = await queue.add('j', 1, { id: 'one' });
    await measure('end of a job', async () => {
      const worker = elsewhere.process(async () => 1);
      await (await elsewhere.add('j', 1)).waitUntilFinished();
      await worker.close();
    });
    await elsewhere.close();
    await measure('notes of a job', async (round) => {
      await job.updateData(round);
      await job.updateProgress(round);
      await job.log('line');
      await job.refresh();
      await job.changePriority(5 + round);
      await job.changeDelay(1_000_000);
      await job.promote();
    });
    await measure('remove', async () => (await queue.add('j', 1, { group: 'gone' })).remove());
    await measure('events', async () => {
      queue.on('completed', () => {});
      await queue.ready();
    });
    await measure(
      'work',
      async () => {
        let ticked = false;
        working(1_000, async (job) => {
          ticked ||= job.name === 's';
        });
        await until(() => ticked, { what: 'a schedule to tick', timeoutMs: PATIENCE_MS });
        await drained();
        await until(async () => (await queue.counts()).active === 0, { what: 'no job to be active', timeoutMs: PATIENCE_MS });
        await rest();
      },
      1,
    );
    await add(SIZE, () => ({ attempts: 1, keepFailed: true }));
    await measure(
      'work that fails',
      async () => {
        working(1_000, async () => Promise.reject(new Error('no')));
        await drained();
        await rest();
      },
      1,
    );
    await measure('list failed', () => queue.list('failed', { limit: 100 }));
    await measure('retry one', async () => (await queue.list('failed', { limit: 1 }))[0]?.retry());
    await measure('retryFailed', () => queue.retryFailed({ limit: SIZE / 10 }));
    await measure('clean failed', () => queue.clean('failed', { limit: SIZE / 10 }));
    await measure('clean completed', () => queue.clean('completed'), 1);
    await add(SIZE, () => ({}));
    await measure(
      'very many active',
      async () => {
        const held: (() => void)[] = [];
        working(ACTIVE, () => new Promise<void>((resolve) => held.push(resolve)));
        await until(() => held.length === ACTIVE, { what: 'all jobs in hand', timeoutMs: PATIENCE_MS });
        await queue.list('active', { start: ACTIVE - 100, limit: 100 });
        for (const resolve of held) resolve();
        await rest();
      },
      1,
    );
    await add(SIZE, () => ({}));
    await measure(
      'groups that may not run',
      async () => {
        await add(SIZE, (at) => ({ group: `h${at % 10}` }));
        await add(SIZE, (at) => ({ group: `i${at % (SIZE / 2)}` }));
        const held: (() => void)[] = [];
        working(200, () => new Promise<void>((resolve) => held.push(resolve)), { groupConcurrency: 1 });
        await until(() => held.length >= 200, { what: 'jobs in hand', timeoutMs: PATIENCE_MS });
        await queue.counts();
        await queue.list('waiting', { start: SIZE, limit: 100 });
        const active = await queue.list('active', { limit: 100 });
        await Promise.all(active.map((one) => one.cancel('enough')));
        for (const resolve of held) resolve();
        await Promise.all(workers.map((worker) => worker.close({ graceMs: 0 })));
        workers = [];
      },
      1,
    );
    await measure('drain', () => queue.drain({ delayed: true }), 1);
    await add(SIZE, () => ({}));
    await measure('obliterate', () => queue.obliterate({ force: true }), 1);
    await queue.close({ graceMs: 0 });
  });

  measured('of the end of a job that very many wait for', async ({ server, manager, measure }) => {
    const queue = new TaskQueue<number>('flow', manager);
    await queue.pause();
    await queue.add('child', 1, { id: 'child' });
    const children = [{ name: 'child', data: 1, options: { id: 'child' } }];
    await queue.addBulk(range(SIZE, (at) => ({ name: 'p', data: at, options: { id: `p${at}`, children } })));
    expect((await queue.counts())['waiting-children']).toBe(SIZE);
    let done = 0;
    const worker = queue.process(
      async () => {
        done += 1;
      },
      { concurrency: 100 },
    );
    await measure(
      'the look at parents',
      async () => {
        const [meta] = (await server.keys()).filter(({ key }) => key.endsWith(':meta'));
        const looked = async () => Number(await server.cli('HEXISTS', String(meta?.key), 'look')) === 1;
        await until(looked, { what: 'a page of parents to be looked at', timeoutMs: PATIENCE_MS });
      },
      1,
    );
    await measure(
      'the end of a child',
      async () => {
        await queue.resume();
        await until(() => done === SIZE + 1, { what: () => `all parents to run; ${done} have`, timeoutMs: PATIENCE_MS });
      },
      1,
    );
    await worker.close();
    await queue.close();
    expect((await server.keys()).filter(({ key }) => key.includes('kids:\x01') || key.includes('kids:\x04'))).toEqual([]);
  });

  measured('of a registry: many workers and claims', async ({ server, manager, measure }) => {
    const beat = FULL ? 1_000 : 500;
    const options = {
      heartbeatIntervalMs: beat,
      degradedAfterMs: 3 * beat,
      crashedAfterMs: 6 * beat,
      forgetAfterMs: 3 * beat,
      stormShare: 1,
    };
    const registry = new WorkerRegistry(manager, options);
    const crowd = { capacity: 4, capabilities: ['a', 'b'] };
    await measure('register', () => many(SIZE, (at) => registry.register({ id: `w${at}`, type: `t${at % 50}`, ...crowd })), 1);
    await measure('heartbeat', () => registry.heartbeat('w1'));
    await measure('status', async () => {
      await registry.setStatus('w1', 'busy');
      await registry.send('w1', 'drain');
      await registry.get('w1');
      await registry.count();
    });
    await measure('list', () => registry.list({ capabilities: ['a'] }), 1);
    await measure('list, two labels', () => registry.list({ type: 't1', capabilities: ['a'] }), 1);
    await measure('claim', async (round) => {
      const claim = await registry.claim({ capabilities: ['a', 'b'], type: `t${round}`, leaseMs: 60_000 });
      await claim?.renew();
      await claim?.release();
    });
    await measure('many claims', () => many(SIZE, () => registry.claim({ leaseMs: 1_000 })), 1);
    await measure('elect', async (round) => {
      const leader = await registry.elect(`role${round}`, { leaseMs: 1_000 });
      await new Promise((resolve) => setTimeout(resolve, 500));
      await leader.resign();
    });
    await measure('unregister', (round) => registry.unregister(`w${round}`));
    await measure('damage', async () => {
      await server.cli('HSET', 'yard:~registry:{~yard:}:state', 'nobody', 'nonsense');
      await registry.get('nobody');
    });
    const other = rig.manager({ url: server.url, namespace: 'yard' });
    const watcher = new WorkerRegistry(other, options);
    await watcher.ready();
    // As where the process is killed: all its workers fall due together.
    await manager.disconnect();
    let crashes = 0;
    await measure(
      'all workers of a process fall due',
      () => {
        const reaped = async () => {
          crashes += (await watcher.reap()).length;
          return crashes >= SIZE - ROUNDS;
        };
        return until(reaped, { what: () => `${SIZE - ROUNDS} crashes; there were ${crashes}`, timeoutMs: PATIENCE_MS });
      },
      1,
    );
    await measure(
      'all crashed workers are forgotten',
      () => {
        return until(async () => (await watcher.count()).total === 0, { what: 'no worker to be listed', timeoutMs: PATIENCE_MS });
      },
      1,
    );
    await many(SIZE, (at) => watcher.register({ id: `x${at}`, type: 't', ...crowd }));
    await measure('cleanup', () => watcher.cleanup(), 1);
  });

  measured('of a store: many keys and locks', async ({ manager, measure }) => {
    const kv = new KVStore(manager);
    // One command of as many keys as its caller gives, all of them or none: how long it takes is the caller's to say.
    const page = Math.min(SIZE, 10_000);
    const pages = range(SIZE / page, (at) => range(page, (n) => [`k${at * page + n}`, n]));
    await measure('mset', () => Promise.all(pages.map((entries) => kv.mset(Object.fromEntries(entries)))), 1);
    await measure('values', async (round) => {
      await kv.cas(`k${round}`, round, -1);
      await kv.incr(`counter${round}`, 1, 60);
      await kv.lpushRecent('recent', round, 1_000);
      await kv.getOrSet('cached', () => 1, { ttlSec: 60, staleSec: 59 });
      await kv.getOrSet(`lost${round}`, () => 1, { ttlSec: 60 });
      await kv.getOrSet(`bad${round}`, () => Promise.reject(new Error('no')), { ttlSec: 60 }).catch(() => {});
      await once(kv, `once${round}`, async () => 1, 1);
      await once(kv, `fails${round}`, () => Promise.reject(new Error('no')), 1).catch(() => {});
    });
    await measure(
      'a lock of many waiters',
      async () => {
        const first = await kv.lock('lock');
        await first.extend();
        const waiting = range(SIZE / 10, async () => (await kv.lock('lock', { waitMs: PATIENCE_MS })).release());
        await first.release();
        await Promise.all(waiting);
      },
      1,
    );
    await measure(
      'what runs long is renewed',
      async (round) => {
        const long = () => new Promise((resolve) => setTimeout(resolve, 1_500, 1));
        await Promise.all([once(kv, `long${round}`, long, 1), kv.getOrSet(`slow${round}`, long, { ttlSec: 60 })]);
      },
      1,
    );
    await measure(
      'scan',
      async () => {
        for await (const key of kv.scan()) void key;
      },
      1,
    );
    await measure('clear', () => kv.clear(), 1);
  });

  measured('of a bus: many messages, retries and dead letters', async ({ server, manager, measure }) => {
    const bus = new MessageBus(manager, { retention: { maxLength: 1_000, maxAgeMs: 1_000 } });
    bus.on('error', () => {});
    let handled = 0;
    const subscription = await bus.subscribe(
      'topic',
      async (envelope) => {
        handled += 1;
        if (Number((envelope.payload as { at: number }).at) % 2 === 0) throw new Error('no');
      },
      { group: 'g', concurrency: 100, retry: { maxAttempts: 1 } },
    );
    await measure('publish', () => many(SIZE, (at) => bus.publish('topic', { at }, { durable: true, key: `key${at % 100}` })), 1);
    await measure('publish once', (round) => bus.publish('topic', { at: 1 }, { durable: true, id: `id${round}`, dedupeMs: 60_000 }));
    await until(() => handled >= SIZE + ROUNDS, { what: () => `all messages to be handled; ${handled} were`, timeoutMs: PATIENCE_MS });
    const letters = bus.deadLetters('topic', 'g');
    await measure('dead letters', () => letters.list({ limit: 100 }));
    await measure('redrive', () => letters.redrive({ limit: SIZE / 4 }), 1);
    await measure('groups', () => bus.groups('topic'));
    await measure('subscribe', async (round) => (await bus.subscribe('topic', () => {}, { group: `h${round}` }))());
    await measure('purge', () => letters.purge(), 1);
    const retry = { maxAttempts: 5, minDelayMs: 600_000, maxDelayMs: 600_000 };
    const failing = await bus.subscribe('topic', () => Promise.reject(new Error('no')), { group: 'waits', concurrency: 100, retry });
    await measure(
      'publish and trim',
      async () => {
        const trims = () =>
          Number(/^redis_operation_duration_ms_count\{operation="bus\.trim"\} (\d+)/m.exec(manager.prometheus())?.[1] ?? 0);
        const before = trims();
        // A topic is trimmed once a second at most, when something is published.
        do await many(SIZE, (at) => bus.publish('topic', { at: 1 }, { durable: true, key: `key${at}` }));
        while (trims() === before);
      },
      1,
    );
    const due = 'yard:~due:{yard:topic}:waits';
    await until(async () => Number(await server.cli('ZCARD', due)) >= Math.min(SIZE, 900), {
      what: 'retries to wait',
      timeoutMs: PATIENCE_MS,
    });
    await measure(
      'the consumer puts right what is lost',
      async () => {
        await server.cli('DEL', due);
        await until(async () => Number(await server.cli('ZCARD', due)) >= Math.min(SIZE, 900), {
          what: 'retries to wait again',
          timeoutMs: PATIENCE_MS,
        });
      },
      1,
    );
    await failing();
    await measure('unsubscribe', () => subscription(), 1);
    await measure('removeGroup', () => bus.removeGroup('topic', 'g'), 1);
    await bus.close();
  });

  measured('of sessions: many of one user, one with the most messages', async ({ manager, measure }) => {
    const sessions = new SessionStore<{ n: number; text?: string }>(manager, { touchEverySec: 0 });
    let session = await sessions.create({ n: 0, text: 'x'.repeat(250_000) }, { user: 'ann' });
    await many(SIZE, (n) => sessions.create({ n }, { user: 'ann' }));
    await many(10_000, () => sessions.append(session.id, { text: 'a message' }, { limit: 10_000 }));
    await measure('create', (n) => sessions.create({ n }, { user: 'ann' }));
    await measure('load', () => sessions.load(session.id));
    await measure('save', async (n) => {
      session = await sessions.save(session, { n, text: 'y'.repeat(250_000) });
    });
    await measure('update', (n) => sessions.update(session.id, (data) => ({ ...data, n: -n - 1 })));
    await measure('touch', () => sessions.touch(session.id));
    await measure('append', () => sessions.append(session.id, { text: 'a message' }, { limit: 10_000 }));
    await measure('recent', () => sessions.recent(session.id, 10_000));
    await measure('regenerate', async () => {
      session = (await sessions.regenerate(session.id)) ?? session;
    });
    await measure('ofUser', () => sessions.ofUser('ann'));
    await measure('destroy', () => sessions.destroy(session.id), 1);
    await measure('destroyOfUser', () => sessions.destroyOfUser('ann'), 1);
  });

  /** Many threads whose owner is gone. */
  async function measureOverdue({ server, measure }: Yard, store: CheckpointStore): Promise<void> {
    const gone = rig.manager({ url: server.url, namespace: 'yard', maxPendingCommands: 1_000_000 });
    const theirs = new CheckpointStore(gone);
    const count = SIZE / 10;
    await many(count, (n) => theirs.acquire(`thread-${n}`, { leaseMs: 5_000, worker: { id: 'gone', epoch: 1 } }));
    await gone.disconnect();
    await until(async () => (await store.interrupted({ limit: count })).length === count, {
      what: 'all to be interrupted',
      timeoutMs: PATIENCE_MS,
    });
    await measure('interrupted', () => store.interrupted());
    await measure('resume', async (round) => {
      const taken: string[] = [];
      const resumer = store.resume(async (run) => {
        taken.push(run.thread);
        await run.finish();
      });
      await until(() => taken.length > 0, { what: `a thread in round ${round}`, timeoutMs: PATIENCE_MS });
      await resumer.close();
    });
  }

  measured('of checkpoints: a thread with many, one of them with many pending writes, and many threads', async (yard) => {
    const { manager, measure } = yard;
    const store = new CheckpointStore(manager, { keep: { last: 2 * SIZE }, maxThreadBytes: 2 ** 40 });
    const state = { text: 'x'.repeat(250_000) };
    await many(SIZE, (n) => store.save('t', { n }, { meta: { n } }));
    await many(SIZE, (n) => store.save(`thread-${n}`, n));
    const writes = range(100, (at): [string, number] => [`w${at}`, at]);
    const { id } = await store.save('pending', 1);
    await many(100, (task) => store.addPending('pending', id, `task-${task}`, writes));
    const last = await store.save('pending', 2);

    await measure('save', () => store.save('t', state));
    await measure('save again', (round) => store.save('again', state, { id: `${Math.floor(round / 2)}` }));
    await measure('save, with much to trim', (round) => new CheckpointStore(manager, { keep: { last: 10 } }).save('t', round));
    await measure('latest', () => store.latest('t'));
    await measure('history', async () => {
      for await (const { meta } of store.history('t', { where: { n: 1 } })) expect(meta).toEqual({ n: 1 });
    });
    await measure('fork', (round) => store.fork('pending', last.id, `copy-${round}`));
    await measure('addPending', (round) => store.addPending('pending', last.id, `late-${round}`, writes));
    await measure('pin', (round) => store.pin('pending', last.id, round % 2 === 0));
    await measure('watch', async (round) => {
      let seen = 0;
      const unwatch = await store.watch('t', () => void seen++, { after: 'none' });
      await until(() => seen >= 100, { what: `round ${round} to be told of`, timeoutMs: PATIENCE_MS });
      await unwatch();
    });
    await measure('prune, a checkpoint with many pending writes', () => store.prune('pending', { last: 1 }), 1);
    await measure('threads', async () => {
      let count = 0;
      for await (const thread of store.threads({ prefix: 'thread-' })) count += thread.length > 0 ? 1 : 0;
      expect(count).toBeGreaterThanOrEqual(SIZE);
    });
    await measure('acquire, save, renew, pause', async (round) => {
      const run = await store.acquire('t', { leaseMs: 300, worker: { id: 'w', epoch: 1 } });
      await run?.save(round);
      const { redis_sent_bytes_total: sent } = manager.metrics();
      await until(() => manager.metrics().redis_sent_bytes_total > sent, { what: 'a renewal', timeoutMs: PATIENCE_MS });
      await run?.pause();
    });
    await measureOverdue(yard, store);
    await measure('prune', () => store.prune('t', { last: 1 }), 1);
    await many(SIZE, (n) => store.save('t', n));
    await measure('remove', () => store.remove('t'), 1);
  });

  test('are none, and every script was tried', () => {
    const slow = found.filter(isSlow).map(({ what, script, ms, bound }) => `${what}: ${script} ${ms} ms, of ${bound.toFixed(1)}`);
    if (FULL)
      for (const { what, script, ms, bound } of found.filter(({ ms }) => ms > 2).sort((a, b) => b.ms - a.ms))
        console.log(`${ms} ms of ${bound.toFixed(1)} ${script}: ${what}`);
    expect(slow).toEqual([]);
    expect([...names.values()].filter((name) => !seen.has(name) && !NOT_TRIED.includes(name))).toEqual([]);
    expect([...seen].filter((name) => name.startsWith('unknown'))).toEqual([]);
  });
});

/**
 * A load of every feature on a topology, with a record of every acknowledged operation, which is compared with Redis at the end.
 *
 * Redis replicates asynchronously: writes that a master acknowledged and its replica does not have yet are lost with the master. A fault that promotes
 * a replica without the master's help (killed, frozen, cut off) may lose only such writes: those that were acknowledged after the replica was last seen
 * to have all, and before the old master became a replica of the new master. Such a time is a {@link Window}. A loss outside of every window is a defect
 * of this package.
 */
import {
  KVStore,
  MessageBus,
  type RedisConfig,
  type RedisConnectionManager,
  type RedisError,
  TaskQueue,
  WorkerRegistry,
} from 'redis-backplane';
import type { Random } from './random.ts';
import { slotOf } from './topology.ts';
import { until, within } from './until.ts';

/** The time of a fault, by `performance.now()`. */
export interface Window {
  fault: string;
  from: number;
  to: number;
  /** Says for a slot whether the fault may lose its unreplicated writes. */
  takes: (slot: number) => boolean;
}

/** Injects a fault, and resolves when it is over. It calls `took` if unreplicated writes may be lost. */
export type Fault = (took: (from: number, takes: Window['takes']) => void) => Promise<unknown>;

interface Entry {
  from: number;
  to: number;
  fate: 'resolved' | RedisError['delivery'];
}

interface Hold {
  from: number;
  to: number;
  token: number;
}

interface Sent {
  n: number;
  from: number;
  to: number;
}

const NAMESPACE = 'soak';
const KV_WORKERS = 8;
const LOCKS = 3;
const LIVE = ['a', 'b', 'c'];
const DURABLE = ['d', 'e'];
const QUEUE = 'q';
const FLEET = 8;
/** The tolerance when two measured times are compared, on a busy machine. */
const SLACK_MS = 250;

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

export class FeatureLoad {
  readonly windows: Window[] = [];
  readonly wrong: string[] = [];
  readonly counts: Record<string, number> = {};
  readonly #managers: RedisConnectionManager[];
  readonly #random: Random;
  readonly #kv: KVStore[];
  readonly #buses: MessageBus[];
  readonly #registries: WorkerRegistry[];
  readonly #queues: TaskQueue<{ fails: number }, number>[];
  readonly #work: Promise<unknown>[] = [];
  #running = true;
  #failed: unknown;

  readonly #entries = new Map<string, Entry>();
  readonly #holds = new Map<string, Hold[]>();
  readonly #live = new Map<string, Sent[]>(LIVE.map((topic) => [topic, []]));
  readonly #heard: Map<string, Set<number>>[] = [];
  readonly #gaps: { topic: string; from: number; to: number }[][] = [];
  readonly #durable = new Map<string, Sent[]>(DURABLE.map((topic) => [topic, []]));
  readonly #handled = new Map<string, Map<number, number>>(DURABLE.map((topic) => [topic, new Map()]));
  readonly #jobs = new Map<string, Entry>();
  readonly #ran = new Map<string, number>();

  constructor(manager: (config: RedisConfig) => RedisConnectionManager, url: string, random: Random) {
    this.#random = random;
    this.#managers = Array.from({ length: 2 }, (_, at) =>
      manager({
        url,
        namespace: NAMESPACE,
        clientName: `soak-${at}`,
        commandTimeoutMs: 3_000,
        connectTimeoutMs: 1_000,
        connectRetries: 1_000,
        keepAliveMs: 400,
        closeTimeoutMs: 5_000,
        reconnect: { minDelayMs: 5, maxDelayMs: 100 },
      }),
    );
    this.#kv = this.#managers.map((one) => new KVStore(one));
    this.#buses = this.#managers.map((one) => new MessageBus(one));
    this.#registries = this.#managers.map(
      (one) => new WorkerRegistry(one, { heartbeatIntervalMs: 250, degradedAfterMs: 2_000, crashedAfterMs: 3_500, stalledAfterMs: 2_000 }),
    );
    this.#queues = this.#managers.map((one) => new TaskQueue(QUEUE, one, { defaultJobOptions: { keepCompleted: true, keepFailed: true } }));
  }

  /** Connects, and starts the load of every feature. */
  async start(): Promise<void> {
    await Promise.all(this.#managers.map((one) => one.connect()));
    for (const [at, registry] of this.#registries.entries()) {
      registry.on('crashed', ({ id }) => void this.#crashes.push({ id, at: performance.now() }));
      for (let n = 0; n < FLEET / 2; n += 1) await registry.register({ id: `w${at}.${n}`, type: 't', capabilities: [] });
    }
    for (const [at, bus] of this.#buses.entries()) await this.#listen(bus, at);
    for (const queue of this.#queues) this.#process(queue);
    const loops = [
      ...Array.from({ length: KV_WORKERS }, (_, at) => this.#writes(`${at}`, this.#managers[at % 2] as RedisConnectionManager)),
      ...Array.from({ length: LOCKS * 4 }, (_, at) => this.#locks(`l${at % LOCKS}`, this.#kv[at % 2] as KVStore)),
      ...LIVE.map((topic, at) => this.#publishes(topic, this.#live, this.#buses[at % 2] as MessageBus, false)),
      ...DURABLE.map((topic, at) => this.#publishes(topic, this.#durable, this.#buses[at % 2] as MessageBus, true)),
      ...this.#queues.map((queue, at) => this.#adds(`p${at}`, queue)),
    ];
    for (const loop of loops) {
      this.#work.push(
        loop.catch((error: unknown) => {
          this.#failed ??= error;
          this.#running = false;
        }),
      );
    }
  }

  get running(): boolean {
    return this.#running;
  }

  /** Injects a fault, and records its window. */
  async fault(name: string, inject: Fault): Promise<void> {
    const window: Window = { fault: name, from: performance.now(), to: 0, takes: () => false };
    await inject((from, takes) => Object.assign(window, { from, takes }));
    window.to = performance.now();
    this.windows.push(window);
    this.#count(`fault: ${name}`);
  }

  /** Waits until Redis has recovered, ends the load, and compares the records with Redis. */
  async end(): Promise<void> {
    for (const manager of this.#managers) {
      const well = async () => {
        const { ok, writable } = await manager.health();
        return ok && writable;
      };
      await until(well, { timeoutMs: 30_000, what: () => `a manager to recover; it is ${manager.state}` });
    }
    for (const bus of this.#buses)
      await until(() => bus.ready().then(() => true), { timeoutMs: 20_000, what: 'subscriptions to be confirmed' });
    this.#running = false;
    await within(40_000, Promise.all(this.#work), 'the work to end');
    if (this.#failed) throw this.#failed;
    await this.#compareEntries();
    this.#compareHolds();
    await this.#compareLive();
    await this.#compareDurable();
    await this.#compareJobs();
    await this.#compareFleet();
    for (const bus of this.#buses) await bus.close();
    for (const queue of this.#queues) await queue.close();
    for (const registry of this.#registries) await registry.cleanup();
  }

  #count(what: string, by = 1): void {
    this.counts[what] = (this.counts[what] ?? 0) + by;
  }

  /** May a write to the slot in this time be lost? */
  #mayBeGone(slot: number, from: number, to: number): boolean {
    return this.windows.some((window) => window.takes(slot) && window.from <= to && from <= window.to);
  }

  async #attempt<T>(call: Promise<T>): Promise<{ value: T; entry: Entry } | { error: RedisError; entry: Entry }> {
    const from = performance.now();
    this.#count('operations');
    try {
      const value = await within(20_000, call, 'an operation to settle');
      this.#count('resolved');
      return { value, entry: { from, to: performance.now(), fate: 'resolved' } };
    } catch (error) {
      const { redisErrorKind, delivery } = error as RedisError;
      if (redisErrorKind === undefined || redisErrorKind === 'config') throw error;
      this.#count(delivery);
      return { error: error as RedisError, entry: { from, to: performance.now(), fate: delivery } };
    }
  }

  async #writes(worker: string, manager: RedisConnectionManager): Promise<void> {
    for (let n = 0; this.#running; n += 1) {
      const id = `${worker}:${n}`;
      const [counter, key] = [`count:${id}`, `value:${id}`];
      const [counted, set, echo] = await Promise.all([
        this.#attempt(manager.command<number>('INCR', counter)),
        this.#attempt(manager.command<string>('SET', key, id)),
        this.#attempt(manager.command<string>('ECHO', id)),
      ]);
      this.#entries.set(counter, counted.entry);
      this.#entries.set(key, set.entry);
      if ('value' in counted && counted.value !== 1) this.wrong.push(`INCR ${counter} gave ${counted.value}`);
      if ('value' in echo && echo.value !== id) this.wrong.push(`ECHO ${id} gave ${echo.value}`);
      if ('value' in set) {
        const got = await this.#attempt(manager.command<string | null>('GET', key));
        if ('value' in got && got.value !== id)
          this.#wrongReads.push({ key, slot: slotOf(key), from: set.entry.to, to: got.entry.to, got: got.value });
      }
      await pause(5);
    }
  }

  /** Reads that returned another value than the written value. They are checked at the end, when every window is known. */
  readonly #wrongReads: { key: string; slot: number; from: number; to: number; got: unknown }[] = [];

  async #locks(key: string, kv: KVStore): Promise<void> {
    const holds = this.#holds.get(key) ?? [];
    this.#holds.set(key, holds);
    while (this.#running) {
      const got = await this.#attempt(kv.lock(key, { leaseMs: 2_000, waitMs: 1_000 }));
      if ('error' in got) continue;
      const hold: Hold = { from: performance.now(), to: Number.POSITIVE_INFINITY, token: got.value.token };
      holds.push(hold);
      got.value.signal.addEventListener('abort', () => {
        hold.to = Math.min(hold.to, performance.now());
      });
      await pause(this.#random.between(1, 10));
      hold.to = Math.min(hold.to, performance.now());
      await this.#attempt(got.value.release());
      this.#count('locks held');
      await pause(this.#random.between(5, 30));
    }
  }

  async #listen(bus: MessageBus, at: number): Promise<void> {
    const heard = new Map(LIVE.map((topic) => [topic, new Set<number>()]));
    const gaps: { topic: string; from: number; to: number }[] = [];
    this.#heard.push(heard);
    this.#gaps.push(gaps);
    bus.on('gap', ({ topic, durationMs }) => {
      const to = performance.now();
      gaps.push({ topic, from: to - durationMs - SLACK_MS, to: to + SLACK_MS });
    });
    for (const topic of LIVE) {
      await bus.subscribe<{ n: number }>(topic, ({ payload: { n } }) => {
        if (heard.get(topic)?.has(n)) this.#twice.push({ bus: at, topic, n, at: performance.now() });
        heard.get(topic)?.add(n);
      });
    }
    for (const topic of DURABLE) {
      const handled = this.#handled.get(topic) as Map<number, number>;
      await bus.subscribe<{ n: number }>(topic, ({ payload: { n } }) => void handled.set(n, (handled.get(n) ?? 0) + 1), {
        group: 'g',
        from: 'start',
        claimAfterMs: 2_000,
      });
    }
  }

  async #publishes(topic: string, books: Map<string, Sent[]>, bus: MessageBus, durable: boolean): Promise<void> {
    for (let n = 0; this.#running; n += 1) {
      const published = await this.#attempt(bus.publish(topic, { n }, { durable }));
      if ('value' in published) books.get(topic)?.push({ n, ...published.entry });
      this.#count(durable ? 'durable messages' : 'live messages');
      await pause(5);
    }
  }

  #process(queue: TaskQueue<{ fails: number }, number>): void {
    queue.process(
      async (job, { attempt }) => {
        this.#ran.set(job.id, (this.#ran.get(job.id) ?? 0) + 1);
        await pause(this.#random.between(0, 10));
        if (attempt <= job.data.fails) throw new Error(`attempt ${attempt}`);
        return attempt;
      },
      { concurrency: 8, leaseMs: 2_000, maxStalls: 1_000 },
    );
  }

  async #adds(name: string, queue: TaskQueue<{ fails: number }, number>): Promise<void> {
    for (let n = 0; this.#running; n += 1) {
      const id = `${name}:${n}`;
      const options = { id, attempts: 3, backoff: { type: 'fixed' as const, delayMs: 20 } };
      const added = await this.#attempt(queue.add('x', { fails: this.#random.between(0, 9) === 0 ? 1 : 0 }, options));
      this.#jobs.set(id, added.entry);
      this.#count('jobs');
      await pause(20);
    }
  }

  /** Counts a loss within a window; records any other loss as wrong. */
  #missing(what: string, slot: number, entry: { from: number; to: number }): void {
    if (this.#mayBeGone(slot, entry.from, entry.to)) this.#count('gone with a master');
    else this.wrong.push(`${what} is lost`);
  }

  async #compareEntries(): Promise<void> {
    for (const { key, slot, from, to, got } of this.#wrongReads) {
      if (got !== null || !this.#mayBeGone(slot, from, to)) this.wrong.push(`GET ${key} gave ${got}`);
    }
    const keys = [...this.#entries.keys()];
    const manager = this.#managers[0] as RedisConnectionManager;
    for (let at = 0; at < keys.length; at += 500) {
      const part = keys.slice(at, at + 500);
      const values = await manager.command<(string | null)[]>('MGET', ...part);
      for (const [n, key] of part.entries()) {
        const entry = this.#entries.get(key) as Entry;
        const value = values[n];
        if (value === null) {
          if (entry.fate === 'resolved') this.#missing(key, slotOf(key), entry);
        } else if (entry.fate === 'not-sent' || entry.fate === 'rejected') {
          this.wrong.push(`${key} is ${value}, though ${entry.fate}`);
        } else if (value !== (key.startsWith('count:') ? '1' : key.slice('value:'.length))) {
          this.wrong.push(`${key} is ${value}`);
        }
      }
    }
  }

  #compareHolds(): void {
    for (const [key, holds] of this.#holds) {
      const slot = slotOf(`${NAMESPACE}:~lock:${key}`);
      holds.sort((a, b) => a.from - b.from);
      for (const [at, hold] of holds.entries()) {
        const next = holds[at + 1];
        if (next === undefined || (next.from >= hold.to && next.token > hold.token)) continue;
        if (this.#mayBeGone(slot, hold.from, next.from)) this.#count('locks gone with a master');
        else this.wrong.push(`lock ${key}: ${JSON.stringify(hold)}, then ${JSON.stringify(next)}`);
      }
    }
  }

  readonly #crashes: { id: string; at: number }[] = [];

  /** Live messages that arrived a second time. They are checked at the end, when every window and gap is known. */
  readonly #twice: { bus: number; topic: string; n: number; at: number }[] = [];

  /**
   * Each node of a cluster forwards messages at its own pace. So a subscriber that moved to another node may receive there a message that it has
   * received before. Only a subscriber whose move was reported by `gap` may receive a message twice.
   */
  #compareTwice(): void {
    for (const { bus, topic, n, at } of this.#twice) {
      const from = this.#live.get(topic)?.find((one) => one.n === n)?.from ?? at;
      const moved = this.#gaps[bus]?.some((gap) => gap.topic === topic && gap.from <= at && from <= gap.to);
      if (moved) this.#count('live messages heard again after a gap');
      else
        this.wrong.push(
          `bus ${bus} heard ${topic} ${n} twice, ${Math.round(at - from)} ms after it was published; ${this.#around(from, at)}`,
        );
    }
  }

  /** The names of the faults in this time. */
  #around(from: number, to: number): string {
    const at = this.windows.filter((window) => window.from - SLACK_MS <= to && from <= window.to + SLACK_MS);
    return at.length === 0 ? 'no fault' : at.map(({ fault }) => fault).join(', ');
  }

  async #compareLive(): Promise<void> {
    this.#compareTwice();
    for (const topic of LIVE) {
      const end = async () => {
        await this.#buses[0]?.publish(topic, { n: 1e9 + this.#random.between(1, 1e9) });
        return this.#heard.every((heard) => ([...(heard.get(topic) ?? [])].at(-1) as number) > 1e9);
      };
      await until(end, { timeoutMs: 10_000, what: 'the last message' });
      for (const [at, heard] of this.#heard.entries()) {
        for (const { n, from, to } of this.#live.get(topic) ?? []) {
          if (heard.get(topic)?.has(n)) continue;
          this.#count('live messages missed');
          if (this.#gaps[at]?.some((gap) => gap.topic === topic && gap.from <= to && from <= gap.to)) continue;
          // Redis does not guarantee live messages between the nodes of a cluster, nor on a master that is being replaced.
          if (this.windows.some((window) => window.from - SLACK_MS <= to && from <= window.to + SLACK_MS))
            this.#count('… and not told, in a fault');
          else this.wrong.push(`bus ${at} missed ${topic} ${n} outside of every gap`);
        }
      }
    }
  }

  async #compareDurable(): Promise<void> {
    for (const topic of DURABLE) {
      const handled = this.#handled.get(topic) as Map<number, number>;
      const slot = slotOf(`${NAMESPACE}:${topic}`);
      const open = () => (this.#durable.get(topic) ?? []).filter(({ n }) => !handled.has(n));
      await until(() => open().every(({ from, to }) => this.#mayBeGone(slot, from, to)), {
        timeoutMs: 40_000,
        what: () => `${topic} to be handled; open: ${open().length}`,
      });
      for (const entry of open()) this.#missing(`${topic} ${entry.n}`, slot, entry);
      this.#count(
        'durable messages handled again',
        [...handled.values()].reduce((sum, times) => sum + times - 1, 0),
      );
    }
  }

  async #compareJobs(): Promise<void> {
    const queue = this.#queues[0] as TaskQueue<{ fails: number }, number>;
    let counts: unknown;
    const over = async () => {
      const { waiting, active, delayed } = await queue.counts();
      counts = { waiting, active, delayed };
      return waiting + active + delayed === 0;
    };
    await until(over, { timeoutMs: 40_000, what: () => `every job to be over; ${JSON.stringify(counts)}` });
    const books = new Map<string, number>();
    for (const state of ['completed', 'failed'] as const) {
      for (let start = 0; ; start += 1_000) {
        const page = await queue.list(state, { start, limit: 1_000 });
        for (const { id } of page) books.set(id, (books.get(id) ?? 0) + 1);
        if (page.length < 1_000) break;
      }
    }
    for (const [id, entry] of this.#jobs) {
      const times = books.get(id) ?? 0;
      if (times > 1) this.wrong.push(`job ${id} is in the books ${times} times`);
      if (times === 1 && !this.#ran.has(id)) this.wrong.push(`job ${id} is over and never ran`);
      if (times === 1 && entry.fate === 'not-sent') this.wrong.push(`job ${id} is there, though not-sent`);
      if (times === 0 && entry.fate === 'resolved') this.#missing(`job ${id}`, slotOf(QUEUE), entry);
    }
  }

  async #compareFleet(): Promise<void> {
    for (const { id, at } of this.#crashes) this.wrong.push(`${id} lives and was declared crashed; ${this.#around(at - 5_000, at)}`);
    const registry = this.#registries[0] as WorkerRegistry;
    let health: string[] = [];
    const well = async () => {
      health = (await registry.list()).map(({ id, health }) => `${id} ${health}`);
      return health.filter((one) => one.endsWith(' healthy')).length === FLEET;
    };
    await until(well, { timeoutMs: 30_000, what: () => `the whole fleet to be well; ${health.join(', ')}` });
  }
}

/**
 * BullMQ's own classes over two managers at once. Each command and script of these classes runs on both managers; the caller's function compares the
 * two replies.
 */
import { EventEmitter } from 'node:events';
import { createRequire } from 'node:module';
import type { CommandArgument, RedisConnectionManager } from 'redis-backplane';

interface Script {
  name: string;
  content: string;
  keys: number;
}

type Command = [string, ...CommandArgument[]];
/** Makes a call on both managers. `seen` removes from a reply the parts that may differ. */
type Same = <T>(what: string, call: (manager: RedisConnectionManager) => Promise<T>, seen?: (reply: T) => unknown) => Promise<T>;
type Options = Record<string, unknown>;
type Factory = (name: string, options: Options) => object;

interface BullFlowProducer {
  add(flow: object): Promise<unknown>;
  addBulk(flows: object[]): Promise<unknown>;
}

interface BullQueue {
  add(name: string, data: unknown, options: object): Promise<unknown>;
  addBulk(jobs: object[]): Promise<unknown>;
  pause(): Promise<void>;
  resume(): Promise<void>;
  isPaused(): Promise<boolean>;
  setGlobalConcurrency(concurrency: number): Promise<unknown>;
  upsertJobScheduler(id: string, repeat: object, template: object): Promise<unknown>;
  removeJobScheduler(id: string): Promise<boolean>;
  getJobScheduler(id: string): Promise<unknown>;
  getJobSchedulers(start: number, end: number, ascending: boolean): Promise<unknown[]>;
  getJobSchedulersCount(): Promise<number>;
}

const require = createRequire(import.meta.url);

/** Every script of BullMQ. */
export const scripts = Object.values(require('bullmq/dist/cjs/scripts/index.js') as Record<string, Script>);
const byName = new Map(scripts.map((script) => [script.name, script]));

const { RedisQueueBackend, QueueKeys, ...producers } = require('bullmq') as {
  RedisQueueBackend: new (...args: unknown[]) => object;
  QueueKeys: new (prefix: string) => { getKeys(queue: string): Record<string, string>; toKey(queue: string, type: string): string };
  FlowProducer: new (options: object, factory: Factory) => BullFlowProducer;
  Queue: new (name: string, options: object, factory: Factory) => BullQueue;
};
export const { FlowProducer, Queue } = producers;

/** The methods of a client that BullMQ calls, beside scripts, with the words of their commands. */
const COMMANDS: Record<string, (...args: never[]) => Command> = {
  set: (key: string, value: number, { PX }: { PX: number }) => ['SET', key, value, 'PX', PX],
  del: (...keys: string[]) => ['DEL', ...keys],
  hset: (key: string, values: Record<string, CommandArgument>) => ['HSET', key, ...Object.entries(values).flat()],
  hget: (key: string, field: string) => ['HGET', key, field],
  hmget: (key: string, ...fields: string[]) => ['HMGET', key, ...fields],
  hdel: (key: string, ...fields: string[]) => ['HDEL', key, ...fields],
  hexists: (key: string, field: string) => ['HEXISTS', key, field],
  hgetall: (key: string) => ['HGETALL', key],
  zcard: (key: string) => ['ZCARD', key],
  zscore: (key: string, member: string) => ['ZSCORE', key, member],
  zrange: (key: string, start: number, end: number) => ['ZRANGE', key, start, end, 'WITHSCORES'],
  zrevrange: (key: string, start: number, end: number) => ['ZREVRANGE', key, start, end, 'WITHSCORES'],
  lpos: (key: string, value: string) => ['LPOS', key, value],
  xadd: (key: string, id: string, fields: Record<string, CommandArgument>, { MAXLEN }: { MAXLEN: number }) => [
    'XADD',
    key,
    'MAXLEN',
    '~',
    MAXLEN,
    id,
    ...Object.entries(fields).flat(),
  ],
  xtrim: (key: string, strategy: string, count: number) => ['XTRIM', key, strategy, '~', count],
  xread: ([{ key, id }]: [{ key: string; id: string }], { BLOCK }: { BLOCK: number }) => ['XREAD', 'BLOCK', BLOCK, 'STREAMS', key, id],
};

/** A reply without the parts that depend on chance or time: the order of a job's fields, the ids of events, exact times to live. */
function settled(reply: unknown): unknown {
  if (Array.isArray(reply)) {
    const isJob = reply.includes('timestamp') && reply.every((part) => typeof part === 'string');
    return isJob ? Object.fromEntries(reply.flatMap((part, i) => (i % 2 === 0 ? [[part, reply[i + 1]]] : []))) : reply.map(settled);
  }
  if (typeof reply === 'string') return /^\d{13}-\d+$/.test(reply) ? '<id>' : reply;
  if (typeof reply === 'number') return reply > 1_000 && reply < 1_000_000 ? Math.round(reply / 5_000) : reply;
  if (reply === null || typeof reply !== 'object') return reply;
  return Object.fromEntries(Object.entries(reply).map(([name, value]) => [name, settled(value)]));
}

export class OnBoth {
  /** The names of the scripts that have run. */
  readonly called = new Set<string>();
  readonly #same: Same;

  constructor(same: Same) {
    this.#same = same;
  }

  /** The `EVAL` command for a script and its arguments, which BullMQ passes to its client. */
  #script(versioned: string, given: unknown[]): Command {
    const name = versioned.split(':')[0] as string;
    const script = byName.get(name);
    if (!script) throw new Error(`BullMQ has no script ${name}`);
    this.called.add(name);
    return ['EVAL', script.content, script.keys, ...given.flat().map((arg) => (Buffer.isBuffer(arg) ? arg : String(arg ?? '')))];
  }

  #client(): object {
    const run = (what: string, command: Command) => this.#same(what, (manager) => manager.command(...command), settled);
    const client: Record<string, unknown> = {
      status: 'ready',
      runCommand: (versioned: string, given: unknown[]) => run(versioned, this.#script(versioned, given)),
      multi: () => this.#transaction(),
      pipeline: () => this.#transaction(),
    };
    for (const [name, words] of Object.entries(COMMANDS)) {
      client[name] = (...args: never[]) => run(name, words(...args));
    }
    return client;
  }

  /** Collects scripts and runs them as one transaction. */
  #transaction(): object {
    const commands: Command[] = [];
    return {
      runCommand: async (versioned: string, given: unknown[]) => {
        commands.push(this.#script(versioned, given));
      },
      exec: async () => {
        const replies = await this.#same<unknown[]>('MULTI', (manager) => manager.transaction<unknown[]>(commands), settled);
        return replies.map((reply) => [null, reply]);
      },
    };
  }

  /** A backend for BullMQ's classes. */
  backend(queue: string, options: Options = {}): object {
    const keys = new QueueKeys('bull');
    const connection = Object.assign(new EventEmitter(), {
      client: Promise.resolve(this.#client()),
      redisVersion: '7.0.0',
      databaseType: 'redis',
      capabilities: { canDoubleTimeout: true },
    });
    const toKey = (type: string) => keys.toKey(queue, type);
    return new RedisQueueBackend(connection, queue, keys.getKeys(queue), toKey, {
      prefix: 'bull',
      lockDuration: 30_000,
      maxStalledCount: 1,
      stalledInterval: 30_000,
      ...options,
    });
  }

  /** The function with which `Queue` and `FlowProducer` make their backends. */
  factory(): Factory {
    return (name, options) => this.backend(name, options);
  }
}

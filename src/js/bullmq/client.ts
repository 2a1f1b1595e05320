/** A BullMQ client on the connections of a manager. */

import { EventEmitter } from 'node:events';
import { Readable } from 'node:stream';
import { setImmediate } from 'node:timers';
import { configError, RedisError, warnOfListener } from '../errors.js';
import { hide, internals } from '../internals.js';
import type { ConnectionState } from '../manager.js';
import { verbs } from '../native.js';
import type { EventHandler } from '../port.js';
import { type Channel, ended } from './channel.js';
import { addCommands } from './commands.js';
import type { BullMQClient, BullMQDuplicateOptions, BullMQFields, BullMQScript, BullMQStreams, BullMQTransaction } from './interface.js';
import { Transaction } from './transaction.js';
import { toRecord, toStreams, type Word, withScores, word, wordsOf } from './words.js';

const V = verbs('bullmq', 'connect', 'open', 'block', 'close');

/** A connection name that every server accepts: printable ASCII without spaces. */
const PLAIN_NAME = /^[!-~]*$/;

/** Node's `setImmediate`, taken from its module: not every test environment has the global function, and fake timers may replace it. */
const later = setImmediate;

/** BullMQ's options as an object, or the arguments of the command, as ioredis takes them. */
type Options<T> = [options?: T] | unknown[];

/** The private state of a client. */
class ClientInternals {
  readonly client: Client;
  readonly channel: Channel;
  /** The handle of the native target with a duplicate's own connection for blocking commands; `undefined` for the first client. */
  readonly blocking: number | undefined;
  ending: Promise<void> | undefined;
  restarting = false;
  readonly stateChanged = (to: ConnectionState): void => this.follow(to);
  readonly failed = (error: Error): void => this.fail(error);
  readonly onEvent: EventHandler = (event) => this.handleEvent(event);

  constructor(client: Client, channel: Channel, blocking: number | undefined) {
    this.client = client;
    this.channel = channel;
    this.blocking = blocking;
  }

  /** Connects without a call of `connect()`, as ioredis does: a user may only listen for `ready`. */
  connectUnasked(): void {
    if (this.client.status !== 'wait') return;
    const { handle } = this.channel;
    // The client may have ended meanwhile. A failure is emitted as `error`; calls that need the connection reject by themselves.
    const connected = (): void => {
      if (this.client.status === 'wait') this.follow('ready');
    };
    this.channel.connect(handle, V.connect, []).then(connected, (error: Error) => {
      if (this.client.status !== 'end') this.fail(error);
    });
  }

  command<T>(...words: Word[]): Promise<T> {
    if (this.client.status === 'end') return Promise.reject(ended());
    return this.channel.command(words) as Promise<T>;
  }

  /** Runs a blocking command: of a duplicate on its own connection; of the first client on a connection that the manager opens for this call. */
  async block(words: Word[]): Promise<unknown> {
    if (this.blocking === undefined) return this.command(...words);
    this.checkOpen();
    if (this.client.status === 'wait') await this.client.connect();
    return this.channel.call(this.blocking, V.block, words);
  }

  checkOpen(): void {
    if (this.client.status === 'end') throw ended();
  }

  /** Makes a script a method of the client, because BullMQ checks for the method before it defines the script. */
  expose(name: string): void {
    const run = (...args: unknown[]): Promise<unknown> =>
      this.client.runCommand(name, args.length === 1 && Array.isArray(args[0]) ? (args[0] as unknown[]) : args);
    Object.defineProperty(this.client, name, { value: run, configurable: true, writable: true });
  }

  attach(): void {
    this.channel.manager.on('state', this.stateChanged).on('error', this.failed);
  }

  async end(): Promise<void> {
    if (this.client.status === 'end') return;
    await this.close();
    this.emitEnd();
  }

  close(): Promise<void> {
    this.client.status = 'end';
    const { manager } = this.channel;
    manager.off('state', this.stateChanged).off('error', this.failed);
    const closed = this.blocking === undefined ? Promise.resolve() : this.channel.call(this.blocking, V.close, []);
    // `close` fails only if the native target is gone, and then the connection is closed too.
    const over = (): void => {};
    this.ending = closed.then(over, over);
    return this.ending;
  }

  async restart(blocking: number): Promise<void> {
    this.client.status = 'reconnecting';
    this.restarting = true;
    try {
      await this.channel.call(blocking, V.close, []);
      this.restarting = false;
      this.emit('close');
      if ((this.client.status as string) !== 'reconnecting') return;
      this.emit('reconnecting');
      await this.channel.connect(blocking, V.open, [false]);
    } catch (error) {
      this.restarting = false;
      this.fail(error as Error);
    }
  }

  /** Handles an event of a duplicate's own connection. */
  handleEvent(event: { event: string; message?: unknown }): void {
    // After `end()` the old connection no longer affects the state of the client.
    if (this.client.status === 'end') return;
    switch (event.event) {
      case 'ready':
        this.client.status = 'ready';
        this.emit('ready');
        break;
      case 'lost':
        this.client.status = 'reconnecting';
        this.emit('close');
        this.emit('reconnecting');
        break;
      case 'failed':
        this.fail(new RedisError('connection', String(event.message), { retryable: true }));
        break;
      case 'ended':
        if (this.restarting) break;
        this.client.status = 'end';
        this.emitEnd();
        break;
    }
  }

  /** Takes over the state of the manager. Only the first client does. */
  follow(to: ConnectionState): void {
    const from = this.client.status;
    this.client.status = statusOf(to);
    switch (to) {
      case 'ready':
        this.emit('ready');
        break;
      case 'reconnecting':
        this.emit('close');
        this.emit('reconnecting');
        break;
      case 'closed':
      case 'failed':
        if (from !== 'end' || to === 'closed') this.emitEnd();
        break;
    }
  }

  fail(error: Error): void {
    // An `EventEmitter` throws an `error` that has no listener.
    if (this.client.listenerCount('error') > 0) this.emit('error', error);
  }

  emitEnd(): void {
    this.emit('close');
    this.emit('end');
  }

  emit(event: string, ...args: unknown[]): void {
    try {
      this.client.emit(event, ...args);
    } catch (error) {
      warnOfListener(error);
    }
  }
}

/**
 * The client that {@link bullmqConnection} returns, and its duplicates.
 *
 * The status of the first client is that of the manager. The status of a duplicate is that of its own connection for blocking commands, which the
 * native side restores when it is lost. All commands that do not block use the manager's connection.
 */
export class Client extends EventEmitter implements BullMQClient {
  /** @internal */
  declare readonly [internals]: ClientInternals;
  status: string;
  readonly isCluster: boolean;
  options: Record<string, unknown>;
  /** Only in a cluster; BullMQ would take an empty list for a cluster without nodes. */
  readonly nodes?: (() => BullMQClient[]) | undefined;

  constructor(channel: Channel, duplicate?: BullMQDuplicateOptions) {
    super();
    addCommands(Client.prototype, (client, words) => client[internals].command(...words));
    const { manager, port } = channel;
    this.isCluster = manager[internals].isCluster;
    // For a cluster BullMQ reads `redisOptions`.
    const shown = { maxRetriesPerRequest: null, ...(duplicate?.connectionName ? { connectionName: duplicate.connectionName } : {}) };
    this.options = this.isCluster ? { redisOptions: shown } : shown;
    if (this.isCluster) this.nodes = () => [this];
    if (duplicate === undefined) {
      this.status = statusOf(manager.state);
      const own = new ClientInternals(this, channel, undefined);
      hide(this, own);
      own.attach();
      later(() => own.connectUnasked());
    } else {
      this.status = 'wait';
      const { connectionName } = duplicate;
      const blocking = port.open('bullmq', manager[internals].handle, { blocking: true, connectionName }, this);
      const own = new ClientInternals(this, channel, blocking);
      hide(this, own);
      port.listenWeakly(blocking, own.onEvent);
    }
    for (const name of channel.scripts.keys()) this[internals].expose(name);
  }

  async connect(): Promise<void> {
    if (this.status === 'ready') return;
    if (this[internals].blocking !== undefined) {
      // A closing worker may connect a client that it has just ended, and waits for the result. So an ended client makes a single attempt.
      const once = this.status === 'end';
      this.status = 'connecting';
      await this[internals].channel.connect(this[internals].blocking, V.open, [once]);
      return;
    }
    if (this.status === 'end') this[internals].attach();
    await this[internals].channel.connect(this[internals].channel.handle, V.connect, []);
    // If the manager was connected before, it emits no event.
    if ((this.status as string) !== 'ready') this[internals].follow('ready');
  }

  disconnect(reconnect = false): void {
    if (!reconnect) void this[internals].end();
    else if (this[internals].blocking !== undefined && this.status !== 'end') void this[internals].restart(this[internals].blocking);
  }

  async quit(): Promise<string> {
    if (this.status === 'end') await this[internals].ending;
    else {
      await this[internals].close();
      // As with ioredis, a caller that awaits `quit()` may listen for `end` afterwards.
      later(() => this[internals].emitEnd());
    }
    return 'OK';
  }

  duplicate(options: BullMQDuplicateOptions = {}): BullMQClient {
    return new Client(this[internals].channel, options ?? {});
  }

  defineCommand(name: string, definition: BullMQScript): void {
    if (typeof definition?.lua !== 'string') throw configError('defineCommand: lua', 'a string', definition?.lua);
    this[internals].channel.define(name, definition);
    this[internals].expose(name);
  }

  runCommand(name: string, args: readonly unknown[]): Promise<unknown> {
    if (this.status === 'end') return Promise.reject(ended());
    try {
      return this[internals].channel.run(this[internals].channel.script(name), args);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  multi(): BullMQTransaction {
    return new Transaction(this[internals].channel, true, () => this[internals].checkOpen());
  }

  pipeline(): BullMQTransaction {
    return new Transaction(this[internals].channel, false, () => this[internals].checkOpen());
  }

  async hgetall(key: string): Promise<Record<string, string>> {
    return toRecord(await this[internals].command('HGETALL', key));
  }

  hget(key: string, field: string): Promise<string | null> {
    return this[internals].command('HGET', key, field);
  }

  hmget(key: string, ...fields: string[]): Promise<(string | null)[]> {
    return this[internals].command('HMGET', key, ...fields);
  }

  hset(key: string, ...data: [BullMQFields] | unknown[]): Promise<number> {
    return this[internals].command('HSET', key, ...wordsOf(data));
  }

  hdel(key: string, ...fields: string[]): Promise<number> {
    return this[internals].command('HDEL', key, ...fields);
  }

  hexists(key: string, field: string): Promise<number> {
    return this[internals].command('HEXISTS', key, field);
  }

  get(key: string): Promise<string | null> {
    return this[internals].command('GET', key);
  }

  set(key: string, value: string | number, ...more: Options<{ PX?: number | undefined; EX?: number | undefined }>): Promise<string | null> {
    return this[internals].command('SET', key, word(value), ...words(more, expiry));
  }

  async del(...keys: string[]): Promise<number> {
    return keys.length === 0 ? 0 : this[internals].command('DEL', ...keys);
  }

  zrange(key: string, start: number, end: number, ...more: Options<{ WITHSCORES?: boolean | undefined }>): Promise<string[]> {
    return range(this, 'ZRANGE', key, start, end, more);
  }

  zrevrange(key: string, start: number, end: number, ...more: Options<{ WITHSCORES?: boolean | undefined }>): Promise<string[]> {
    return range(this, 'ZREVRANGE', key, start, end, more);
  }

  zcard(key: string): Promise<number> {
    return this[internals].command('ZCARD', key);
  }

  zscore(key: string, member: string): Promise<string | null> {
    return this[internals].command('ZSCORE', key, member);
  }

  lrange(key: string, start: number, end: number): Promise<string[]> {
    return this[internals].command('LRANGE', key, word(start), word(end));
  }

  llen(key: string): Promise<number> {
    return this[internals].command('LLEN', key);
  }

  ltrim(key: string, start: number, end: number): Promise<string> {
    return this[internals].command('LTRIM', key, word(start), word(end));
  }

  lpos(key: string, value: string): Promise<number | null> {
    return this[internals].command('LPOS', key, value);
  }

  smembers(key: string): Promise<string[]> {
    return this[internals].command('SMEMBERS', key);
  }

  xadd(
    key: string,
    id: string,
    ...more: [fields: BullMQFields, options?: { MAXLEN?: number | undefined; approximate?: boolean | undefined }] | unknown[]
  ): Promise<string> {
    const [fields, options] = more as [BullMQFields, { MAXLEN?: number | undefined; approximate?: boolean | undefined }?];
    // Without an object of fields, the arguments have the server's order: `MAXLEN ~ 10 * field value`.
    if (typeof fields !== 'object') return this[internals].command('XADD', key, id, ...wordsOf(more));
    const bound = options?.MAXLEN == null ? [] : ['MAXLEN', ...approximately(options), word(options.MAXLEN)];
    return this[internals].command('XADD', key, ...bound, id, ...wordsOf([fields]));
  }

  async xread(
    ...args: [streams: { key: string; id: string }[], options?: { BLOCK?: number | undefined; COUNT?: number | undefined }] | unknown[]
  ): Promise<BullMQStreams | null> {
    const [streams, options] = args as [{ key: string; id: string }[], { BLOCK?: number | undefined; COUNT?: number | undefined }?];
    if (!Array.isArray(streams)) return toStreams(await this[internals].command('XREAD', ...wordsOf(args)));
    const words: Word[] = ['XREAD'];
    if (options?.BLOCK != null) words.push('BLOCK', word(options.BLOCK));
    if (options?.COUNT != null) words.push('COUNT', word(options.COUNT));
    words.push('STREAMS', ...streams.map(({ key }) => key), ...streams.map(({ id }) => id));
    return toStreams(await (options?.BLOCK == null ? this[internals].command(...words) : this[internals].block(words)));
  }

  xtrim(
    key: string,
    strategy: string,
    ...more: [threshold: number, options?: { approximate?: boolean | undefined }] | unknown[]
  ): Promise<number> {
    const [threshold, options] = more as [number, { approximate?: boolean | undefined }?];
    if (more.length > 1 && typeof options !== 'object') return this[internals].command('XTRIM', key, strategy, ...wordsOf(more));
    return this[internals].command('XTRIM', key, strategy, ...approximately(options), word(threshold));
  }

  async bzpopmin(key: string, timeout: number): Promise<[key: string, member: string, score: string] | null> {
    return (await this[internals].block(['BZPOPMIN', key, word(timeout)])) as [string, string, string] | null;
  }

  call(name: string, ...args: unknown[]): Promise<unknown> {
    return this[internals].command(name, ...wordsOf(args));
  }

  info(): Promise<string> {
    return this[internals].command('INFO');
  }

  async clientSetName(name: string): Promise<string> {
    const { blocking, channel } = this[internals];
    this[internals].checkOpen();
    if (blocking === undefined) return 'OK';
    const named = channel.name(blocking, name);
    // A plain name cannot fail, so it is not awaited. `QueueEvents` awaits this call before its first XREAD, and misses the events before that XREAD:
    // a slow answer could make `waitUntilFinished()` wait in vain.
    if (!PLAIN_NAME.test(name)) await named;
    return 'OK';
  }

  async clientList(): Promise<string> {
    await this[internals].channel.named;
    return this[internals].command('CLIENT', 'LIST');
  }

  clientInfo(): Promise<string> {
    return this[internals].command('CLIENT', 'INFO');
  }

  scan(cursor: string | number, ...more: Options<{ MATCH?: string | undefined; COUNT?: number | undefined }>): Promise<[string, string[]]> {
    return this[internals].command('SCAN', word(cursor), ...words(more, page));
  }

  scanStream({ match, count }: { match: string; count?: number | undefined }): Readable {
    return Readable.from(batches(this, { MATCH: match, ...(count === undefined ? {} : { COUNT: count }) }));
  }
}

async function* batches(client: Client, options: { MATCH: string; COUNT?: number | undefined }): AsyncGenerator<string[]> {
  let cursor = '0';
  do {
    const [next, keys] = await client.scan(cursor, options);
    cursor = next;
    if (keys.length > 0) yield keys;
  } while (cursor !== '0');
}

async function range(
  client: Client,
  name: string,
  key: string,
  start: number,
  end: number,
  more: Options<{ WITHSCORES?: boolean | undefined }>,
): Promise<string[]> {
  const scores = words(more, (options) => (options.WITHSCORES ? ['WITHSCORES'] : []));
  const reply = await client[internals].command(name, key, word(start), word(end), ...scores);
  return scores.length === 0 ? (reply as string[]) : withScores(reply);
}

/**
 * The status for a state of the manager. A connecting manager has the status `wait`, because its first attempts may fail for good: BullMQ then calls
 * `connect()`, which tries until it succeeds.
 */
function statusOf(state: ConnectionState): string {
  switch (state) {
    case 'ready':
    case 'reconnecting':
      return state;
    case 'closing':
    case 'closed':
      return 'end';
    default:
      return 'wait';
  }
}

/** The words of BullMQ's options, or the given words themselves. */
function words<T extends object>(more: Options<T>, read: (options: T) => Word[]): Word[] {
  const [options] = more;
  const named = more.length < 2 && (options === undefined || (typeof options === 'object' && options !== null));
  return named ? read((options ?? {}) as T) : wordsOf(more);
}

function expiry({ PX, EX }: { PX?: number | undefined; EX?: number | undefined }): Word[] {
  return PX != null ? ['PX', word(PX)] : EX != null ? ['EX', word(EX)] : [];
}

function page({ MATCH, COUNT }: { MATCH?: string | undefined; COUNT?: number | undefined }): Word[] {
  return [...(MATCH == null ? [] : ['MATCH', MATCH]), ...(COUNT == null ? [] : ['COUNT', word(COUNT)])];
}

function approximately(options: { approximate?: boolean | undefined } | undefined): Word[] {
  return options?.approximate === false ? [] : ['~'];
}

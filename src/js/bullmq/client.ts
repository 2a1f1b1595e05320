/** A BullMQ client on the connections of a manager. */

import { EventEmitter } from 'node:events';
import { Readable } from 'node:stream';
import { setImmediate } from 'node:timers';
import { configError, RedisError, warnOfListener } from '../errors.js';
import { internals } from '../internals.js';
import type { ConnectionState } from '../manager.js';
import { verb } from '../native.js';
import { type Channel, ended } from './channel.js';
import { addCommands } from './commands.js';
import type { BullMQClient, BullMQDuplicateOptions, BullMQFields, BullMQScript, BullMQStreams, BullMQTransaction } from './interface.js';
import { Transaction } from './transaction.js';
import { toRecord, toStreams, type Word, withScores, word, wordsOf } from './words.js';

const CONNECT = verb('bullmq.connect');
const OPEN = verb('bullmq.open');
const BLOCK = verb('bullmq.block');
const NAME = verb('bullmq.name');
const CLOSE = verb('bullmq.close');

/** Node's own and kept: not every environment has a global one, and a test's fake timers are not waited for. */
const later = setImmediate;

/** BullMQ's options in an object, or the server's words, as the clients of ioredis take them. */
type Options<T> = [options?: T] | unknown[];

/**
 * The client that {@link bullmqConnection} gives, and its duplicates.
 *
 * The first follows the state of its manager. A duplicate follows that of its own connection for blocking commands, which the native
 * side restores when it is lost. Whichever it is, what does not block goes over the manager's connection.
 */
export class Client extends EventEmitter implements BullMQClient {
  status: string;
  readonly isCluster: boolean;
  options: Record<string, unknown>;
  /** Only in a cluster; BullMQ would take an empty list for a cluster without nodes. */
  readonly nodes?: () => BullMQClient[];
  readonly #channel: Channel;
  /** Of the native object with the connection for blocking commands. */
  readonly #blocking: number | undefined;
  #ending: Promise<void> | undefined;
  #restarting = false;
  readonly #stateChanged = (to: ConnectionState): void => this.#follow(to);
  readonly #failed = (error: Error): void => this.#fail(error);

  constructor(channel: Channel, duplicate?: BullMQDuplicateOptions) {
    super();
    addCommands(Client.prototype, (client, words) => client.#command(...words));
    const { manager, port } = channel;
    this.#channel = channel;
    this.isCluster = manager[internals].isCluster;
    // Of a cluster BullMQ looks at `redisOptions`.
    const shown = { maxRetriesPerRequest: null, ...(duplicate?.connectionName ? { connectionName: duplicate.connectionName } : {}) };
    this.options = this.isCluster ? { redisOptions: shown } : shown;
    if (this.isCluster) this.nodes = () => [this];
    for (const name of channel.scripts.keys()) this.#expose(name);
    if (duplicate === undefined) {
      this.status = statusOf(manager.state);
      this.#attach();
      later(() => this.#connectUnasked());
      return;
    }
    this.status = 'wait';
    const { connectionName } = duplicate;
    this.#blocking = port.open('bullmq', manager[internals].handle, { blocking: true, connectionName }, this);
    const weak = new WeakRef(this);
    port.listen(this.#blocking, (event) => {
      const client = weak.deref();
      if (client !== undefined) client.#notice(event);
    });
  }

  async connect(): Promise<void> {
    if (this.status === 'ready') return;
    if (this.#blocking !== undefined) {
      // A worker that closes may still ask for what it has just closed, and waits for the answer.
      const once = this.status === 'end';
      this.status = 'connecting';
      await this.#channel.connect(this.#blocking, OPEN, [once]);
      return;
    }
    if (this.status === 'end') this.#attach();
    await this.#channel.connect(this.#channel.handle, CONNECT, []);
    // Where the manager was connected before, it has nothing to tell.
    if ((this.status as string) !== 'ready') this.#follow('ready');
  }

  /** As the clients that BullMQ's users know: one that is listened to for `ready` need not be asked to connect. */
  #connectUnasked(): void {
    if (this.status !== 'wait') return;
    const { handle } = this.#channel;
    // The client may have ended meanwhile. Whoever needs the connection is told by their own call; a failure is the event 'error' besides.
    const connected = (): void => {
      if (this.status === 'wait') this.#follow('ready');
    };
    this.#channel.connect(handle, CONNECT, []).then(connected, (error: Error) => {
      if (this.status !== 'end') this.#fail(error);
    });
  }

  disconnect(reconnect = false): void {
    if (!reconnect) void this.#end();
    else if (this.#blocking !== undefined && this.status !== 'end') void this.#restart(this.#blocking);
  }

  async quit(): Promise<string> {
    if (this.status === 'end') await this.#ending;
    else {
      await this.#close();
      // As with ioredis, whoever waits for this may listen for `end` afterwards.
      later(() => this.#tellEnd());
    }
    return 'OK';
  }

  duplicate(options: BullMQDuplicateOptions = {}): BullMQClient {
    return new Client(this.#channel, options ?? {});
  }

  defineCommand(name: string, definition: BullMQScript): void {
    if (typeof definition?.lua !== 'string') throw configError('defineCommand: lua', 'a string', definition?.lua);
    this.#channel.define(name, definition);
    this.#expose(name);
  }

  runCommand(name: string, args: readonly unknown[]): Promise<unknown> {
    if (this.status === 'end') return Promise.reject(ended());
    try {
      return this.#channel.run(this.#channel.script(name), args);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  multi(): BullMQTransaction {
    return new Transaction(this.#channel, true, () => this.#checkOpen());
  }

  pipeline(): BullMQTransaction {
    return new Transaction(this.#channel, false, () => this.#checkOpen());
  }

  async hgetall(key: string): Promise<Record<string, string>> {
    return toRecord(await this.#command('HGETALL', key));
  }

  hget(key: string, field: string): Promise<string | null> {
    return this.#command('HGET', key, field);
  }

  hmget(key: string, ...fields: string[]): Promise<(string | null)[]> {
    return this.#command('HMGET', key, ...fields);
  }

  hset(key: string, ...data: [BullMQFields] | unknown[]): Promise<number> {
    return this.#command('HSET', key, ...wordsOf(data));
  }

  hdel(key: string, ...fields: string[]): Promise<number> {
    return this.#command('HDEL', key, ...fields);
  }

  hexists(key: string, field: string): Promise<number> {
    return this.#command('HEXISTS', key, field);
  }

  get(key: string): Promise<string | null> {
    return this.#command('GET', key);
  }

  set(key: string, value: string | number, ...more: Options<{ PX?: number; EX?: number }>): Promise<string | null> {
    return this.#command('SET', key, word(value), ...words(more, expiry));
  }

  async del(...keys: string[]): Promise<number> {
    return keys.length === 0 ? 0 : this.#command('DEL', ...keys);
  }

  zrange(key: string, start: number, end: number, ...more: Options<{ WITHSCORES?: boolean }>): Promise<string[]> {
    return this.#range('ZRANGE', key, start, end, more);
  }

  zrevrange(key: string, start: number, end: number, ...more: Options<{ WITHSCORES?: boolean }>): Promise<string[]> {
    return this.#range('ZREVRANGE', key, start, end, more);
  }

  zcard(key: string): Promise<number> {
    return this.#command('ZCARD', key);
  }

  zscore(key: string, member: string): Promise<string | null> {
    return this.#command('ZSCORE', key, member);
  }

  lrange(key: string, start: number, end: number): Promise<string[]> {
    return this.#command('LRANGE', key, word(start), word(end));
  }

  llen(key: string): Promise<number> {
    return this.#command('LLEN', key);
  }

  ltrim(key: string, start: number, end: number): Promise<string> {
    return this.#command('LTRIM', key, word(start), word(end));
  }

  lpos(key: string, value: string): Promise<number | null> {
    return this.#command('LPOS', key, value);
  }

  smembers(key: string): Promise<string[]> {
    return this.#command('SMEMBERS', key);
  }

  xadd(
    key: string,
    id: string,
    ...more: [fields: BullMQFields, options?: { MAXLEN?: number; approximate?: boolean }] | unknown[]
  ): Promise<string> {
    const [fields, options] = more as [BullMQFields, { MAXLEN?: number; approximate?: boolean }?];
    // `MAXLEN ~ 10 * field value` in the server's own order.
    if (typeof fields !== 'object') return this.#command('XADD', key, id, ...wordsOf(more));
    const bound = options?.MAXLEN == null ? [] : ['MAXLEN', ...about(options), word(options.MAXLEN)];
    return this.#command('XADD', key, ...bound, id, ...wordsOf([fields]));
  }

  async xread(
    ...args: [streams: { key: string; id: string }[], options?: { BLOCK?: number; COUNT?: number }] | unknown[]
  ): Promise<BullMQStreams | null> {
    const [streams, options] = args as [{ key: string; id: string }[], { BLOCK?: number; COUNT?: number }?];
    if (!Array.isArray(streams)) return toStreams(await this.#command('XREAD', ...wordsOf(args)));
    const words: Word[] = ['XREAD'];
    if (options?.BLOCK != null) words.push('BLOCK', word(options.BLOCK));
    if (options?.COUNT != null) words.push('COUNT', word(options.COUNT));
    words.push('STREAMS', ...streams.map(({ key }) => key), ...streams.map(({ id }) => id));
    return toStreams(await (options?.BLOCK == null ? this.#command(...words) : this.#block(words)));
  }

  xtrim(key: string, strategy: string, ...more: [threshold: number, options?: { approximate?: boolean }] | unknown[]): Promise<number> {
    const [threshold, options] = more as [number, { approximate?: boolean }?];
    if (more.length > 1 && typeof options !== 'object') return this.#command('XTRIM', key, strategy, ...wordsOf(more));
    return this.#command('XTRIM', key, strategy, ...about(options), word(threshold));
  }

  async bzpopmin(key: string, timeout: number): Promise<[key: string, member: string, score: string] | null> {
    return (await this.#block(['BZPOPMIN', key, word(timeout)])) as [string, string, string] | null;
  }

  call(name: string, ...args: unknown[]): Promise<unknown> {
    return this.#command(name, ...wordsOf(args));
  }

  info(): Promise<string> {
    return this.#command('INFO');
  }

  async clientSetName(name: string): Promise<string> {
    this.#checkOpen();
    if (this.#blocking !== undefined) await this.#channel.call(this.#blocking, NAME, [name]);
    return 'OK';
  }

  clientList(): Promise<string> {
    return this.#command('CLIENT', 'LIST');
  }

  clientInfo(): Promise<string> {
    return this.#command('CLIENT', 'INFO');
  }

  scan(cursor: string | number, ...more: Options<{ MATCH?: string; COUNT?: number }>): Promise<[string, string[]]> {
    return this.#command('SCAN', word(cursor), ...words(more, page));
  }

  scanStream({ match, count }: { match: string; count?: number }): Readable {
    return Readable.from(this.#batches({ MATCH: match, ...(count === undefined ? {} : { COUNT: count }) }));
  }

  async *#batches(options: { MATCH: string; COUNT?: number }): AsyncGenerator<string[]> {
    let cursor = '0';
    do {
      const [next, keys] = await this.scan(cursor, options);
      cursor = next;
      if (keys.length > 0) yield keys;
    } while (cursor !== '0');
  }

  async #range(name: string, key: string, start: number, end: number, more: Options<{ WITHSCORES?: boolean }>): Promise<string[]> {
    const scores = words(more, (options) => (options.WITHSCORES ? ['WITHSCORES'] : []));
    const reply = await this.#command(name, key, word(start), word(end), ...scores);
    return scores.length === 0 ? (reply as string[]) : withScores(reply);
  }

  #command<T>(...words: Word[]): Promise<T> {
    if (this.status === 'end') return Promise.reject(ended());
    return this.#channel.command(words) as Promise<T>;
  }

  /** On a duplicate's own connection; on the first client, on one that the manager opens for this call. */
  async #block(words: Word[]): Promise<unknown> {
    if (this.#blocking === undefined) return this.#command(...words);
    this.#checkOpen();
    if (this.status === 'wait') await this.connect();
    return this.#channel.call(this.#blocking, BLOCK, words);
  }

  #checkOpen(): void {
    if (this.status === 'end') throw ended();
  }

  /** BullMQ looks for a script as a property before it defines it. */
  #expose(name: string): void {
    const run = (...args: unknown[]): Promise<unknown> =>
      this.runCommand(name, args.length === 1 && Array.isArray(args[0]) ? (args[0] as unknown[]) : args);
    Object.defineProperty(this, name, { value: run, configurable: true, writable: true });
  }

  #attach(): void {
    this.#channel.manager.on('state', this.#stateChanged).on('error', this.#failed);
  }

  async #end(): Promise<void> {
    if (this.status === 'end') return;
    await this.#close();
    this.#tellEnd();
  }

  #close(): Promise<void> {
    this.status = 'end';
    const { manager } = this.#channel;
    manager.off('state', this.#stateChanged).off('error', this.#failed);
    const closed = this.#blocking === undefined ? Promise.resolve() : this.#channel.call(this.#blocking, CLOSE, []);
    // The native side has nothing to refuse; were it gone, that is an end too.
    const over = (): void => {};
    this.#ending = closed.then(over, over);
    return this.#ending;
  }

  async #restart(blocking: number): Promise<void> {
    this.status = 'reconnecting';
    this.#restarting = true;
    try {
      await this.#channel.call(blocking, CLOSE, []);
      this.#restarting = false;
      this.#tell('close');
      if ((this.status as string) !== 'reconnecting') return;
      this.#tell('reconnecting');
      await this.#channel.connect(blocking, OPEN, [false]);
    } catch (error) {
      this.#restarting = false;
      this.#fail(error as Error);
    }
  }

  /** What happens to a duplicate's own connection by itself. */
  #notice(event: { event: string; message?: unknown }): void {
    // Whoever has ended the client knows, and what it had is none of its state any more.
    if (this.status === 'end') return;
    switch (event.event) {
      case 'ready':
        this.status = 'ready';
        this.#tell('ready');
        break;
      case 'lost':
        this.status = 'reconnecting';
        this.#tell('close');
        this.#tell('reconnecting');
        break;
      case 'failed':
        this.#fail(new RedisError('connection', String(event.message), { retryable: true }));
        break;
      case 'ended':
        if (this.#restarting) break;
        this.status = 'end';
        this.#tellEnd();
        break;
    }
  }

  /** What happens to the manager, for the first client. */
  #follow(to: ConnectionState): void {
    const from = this.status;
    this.status = statusOf(to);
    switch (to) {
      case 'ready':
        this.#tell('ready');
        break;
      case 'reconnecting':
        this.#tell('close');
        this.#tell('reconnecting');
        break;
      case 'closed':
      case 'failed':
        if (from !== 'end' || to === 'closed') this.#tellEnd();
        break;
    }
  }

  #fail(error: Error): void {
    // Without a listener it would be thrown.
    if (this.listenerCount('error') > 0) this.#tell('error', error);
  }

  #tellEnd(): void {
    this.#tell('close');
    this.#tell('end');
  }

  #tell(event: string, ...args: unknown[]): void {
    try {
      this.emit(event, ...args);
    } catch (error) {
      warnOfListener(error);
    }
  }
}

/**
 * A manager that tries for the first time may still give up; where BullMQ finds `wait`, it asks to be connected, and that goes on.
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

/** The words of BullMQ's options, or those that were given. */
function words<T extends object>(more: Options<T>, read: (options: T) => Word[]): Word[] {
  const [options] = more;
  const named = more.length < 2 && (options === undefined || (typeof options === 'object' && options !== null));
  return named ? read((options ?? {}) as T) : wordsOf(more);
}

function expiry({ PX, EX }: { PX?: number; EX?: number }): Word[] {
  return PX != null ? ['PX', word(PX)] : EX != null ? ['EX', word(EX)] : [];
}

function page({ MATCH, COUNT }: { MATCH?: string; COUNT?: number }): Word[] {
  return [...(MATCH == null ? [] : ['MATCH', MATCH]), ...(COUNT == null ? [] : ['COUNT', word(COUNT)])];
}

function about(options: { approximate?: boolean } | undefined): Word[] {
  return options?.approximate === false ? [] : ['~'];
}

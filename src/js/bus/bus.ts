/** The message bus: live messages, durable messages, requests and their replies. */

import { inspect } from 'node:util';
import { cancelled, checkFunction, checkWhole, MAX_MS, optionsOf, refuseUnknown } from '../arguments.js';
import { checkMade } from '../copies.js';
import { checkEnvelope, type Envelope, isEnvelope } from '../envelope.js';
import { configError, RedisError } from '../errors.js';
import { internals } from '../internals.js';
import type { RedisConnectionManager } from '../manager.js';
import { verbs } from '../native.js';
import type { IRedisConnection } from '../ports.js';
import { type DeadLetters, deadLetters, publishDurable, subscribeDurable } from './durable.js';
import type { BusEvents } from './events.js';
import { Feeds } from './feed.js';
import { groupsOf, removeGroup, type TopicGroup } from './groups.js';
import { type Handler, Handling } from './handling.js';
import { BusInternals, ignore } from './internals.js';
import { Messages } from './messages.js';
import {
  boundsOf,
  checkTopic,
  type MessageBusOptions,
  type MessageContext,
  type MessagesOptions,
  type PublishOptions,
  publishOptions,
  type RequestOptions,
  type SubscribeOptions,
  subscribeOptions,
  type Unsubscribe,
} from './options.js';
import { request, responding } from './requests.js';
import { type LiveOptions, LiveSubscription } from './subscription.js';
import { encode, encodeBare } from './wire.js';

const V = verbs('bus', 'publish', 'close');

const NOTHING: PublishOptions = {};
const DEDUPE_MS = 120_000;
const STANDARD = { maxPending: 100_000, maxPendingBytes: 64 * 1024 * 1024 };

/** The private state of a bus. */
class PublicInternals extends BusInternals {
  readonly feeds = new Feeds(this);

  /** Subscribes one handler to live messages. */
  async live(
    owner: string,
    topic: string,
    isPattern: boolean,
    handling: Handling,
    options: SubscribeOptions & Pick<LiveOptions, 'requests'>,
  ) {
    const { concurrency, signal, requests } = options;
    const bounds = boundsOf(owner, options, this.bounds);
    const subscription = new LiveSubscription(this, topic, isPattern, handling, { bounds, concurrency, signal, requests });
    return subscription.begin(this.feeds, signal);
  }
}

/**
 * Publish and subscribe on one manager. Topics are Redis channels, `<namespace>:<topic>`, so other programs can take part.
 *
 * Live messages reach the current subscribers; durable messages (`durable: true`) are also kept in a stream for consumer groups. A handler that
 * throws, rejects or never ends affects no other handler.
 *
 * @example
 * const bus = new MessageBus(manager);
 * await bus.subscribe<Order>('orders', ({ payload }) => ship(payload));
 * await bus.publish('orders', { id: 7 });
 */
export class MessageBus {
  /** @internal */
  declare readonly [internals]: PublicInternals;

  /**
   * Opens nothing: the first use connects.
   *
   * @throws RedisError of kind `config`, naming the option.
   */
  constructor(manager: IRedisConnection, options: MessageBusOptions = {}) {
    const given = optionsOf('MessageBus: options', options) as MessageBusOptions;
    const { namespace: _, subscriber, sharded: __, retention: ___, maxPending, maxPendingBytes, closeTimeoutMs = 5_000, ...rest } = given;
    refuseUnknown('MessageBus', rest, [
      'namespace',
      'subscriber',
      'sharded',
      'retention',
      'maxPending',
      'maxPendingBytes',
      'closeTimeoutMs',
    ]);
    checkMade('MessageBus: manager', 'RedisConnectionManager', manager);
    if (subscriber !== undefined) {
      checkMade('MessageBus.subscriber', 'RedisConnectionManager', subscriber);
      checkSamePlace(manager, subscriber);
    }
    checkWhole('MessageBus.closeTimeoutMs', closeTimeoutMs, 0, MAX_MS);
    const bounds = boundsOf('MessageBus', { maxPending, maxPendingBytes }, STANDARD);
    Object.defineProperty(this, internals, { value: new PublicInternals(manager, given, bounds, closeTimeoutMs) });
  }

  /**
   * Resolves when the manager is connected and every subscription is confirmed, after an interruption too.
   *
   * @throws RedisError what `connect()` rejects with; `timeout`; `closed`.
   */
  async ready(): Promise<void> {
    const bus = this[internals];
    bus.checkOpen('MessageBus.ready');
    await bus.feeds.settled();
    await bus.ready();
  }

  /**
   * Publishes a message.
   *
   * @param topic 1 to 1 024 bytes of UTF-8 without control characters, with no `~` at its start or after a colon.
   * @param message An {@link Envelope}, or a value, which is wrapped in a new envelope with the topic as its type.
   * @returns The number of live subscriptions, in all processes, to which the server sent the message; in a cluster only the subscriptions at one
   * node count. 0 if the message's `id` was published before.
   * @throws RedisError of kind `config` for a bad topic, option or payload; what a command rejects with.
   */
  publish<T>(topic: string, message: Envelope<T> | T, options?: PublishOptions): Promise<number> {
    const bus = this[internals];
    try {
      bus.checkPublishing();
      checkTopic('MessageBus.publish: topic', topic);
      const { key, durable, traceparent, id, dedupeMs } = options === undefined ? NOTHING : publishOptions(options);
      let text: string;
      let once = id;
      if (isEnvelope(message)) {
        const envelope = traceparent === undefined ? message : { ...message, traceparent };
        checkEnvelope('MessageBus.publish', envelope);
        text = encode('MessageBus.publish', envelope, key);
        if (dedupeMs !== undefined) once ??= message.id;
      } else {
        text = encodeBare('MessageBus.publish', topic, message, key, traceparent, id);
        if (dedupeMs !== undefined && id === undefined)
          throw configError('MessageBus.publish: id', 'a string, because dedupeMs is given', id);
      }
      if (durable)
        return publishDurable(bus, topic, text, key, once === undefined ? undefined : { id: once, dedupeMs: dedupeMs ?? DEDUPE_MS });
      return bus.port.call(bus.out, V.publish, topic, text) as Promise<number>;
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /**
   * Subscribes `handler` to a topic: to its live messages, or with `group` to its durable messages, as a consumer of that group. Resolves when the
   * server has confirmed the subscription. Every message that is published after that arrives.
   *
   * The handler is called for live messages in order of arrival. The next call starts before the previous call has ended, unless `concurrency` is
   * given. Handlers run in the AsyncLocalStorage contexts of this call.
   *
   * @throws RedisError of kind `config`; `timeout` if the server does not confirm within `commandTimeoutMs`; `cancelled`; `closed`.
   */
  async subscribe<T>(
    topic: string,
    handler: (message: Envelope<T>, context: MessageContext) => unknown,
    options?: SubscribeOptions,
  ): Promise<Unsubscribe> {
    const bus = this[internals];
    const { given, handling } = begin(bus, 'MessageBus.subscribe', 'topic', topic, handler, options);
    if (given.group === undefined) return bus.live('MessageBus.subscribe', topic, false, handling, given);
    return subscribeDurable(bus, topic, handling, { ...given, group: given.group });
  }

  /**
   * As {@link subscribe}, for the live messages of all topics that match a glob pattern (`*`, `?`, `[a-z]`, `\` before a literal character).
   */
  async psubscribe<T>(
    pattern: string,
    handler: (message: Envelope<T>, context: MessageContext) => unknown,
    options?: Omit<SubscribeOptions, 'group' | 'from' | 'retry' | 'claimAfterMs' | 'timeoutMs'>,
  ): Promise<Unsubscribe> {
    const bus = this[internals];
    const { given, handling } = begin(bus, 'MessageBus.psubscribe', 'pattern', pattern, handler, options);
    if (given.group !== undefined) throw configError('MessageBus.psubscribe.group', 'nothing: a pattern has no groups', given.group);
    return bus.live('MessageBus.psubscribe', pattern, true, handling, given);
  }

  /**
   * The live messages of a topic as an async iterable. Each iteration is a subscription of its own. It starts with the iteration, and ends with it,
   * with `signal` or with `close()`. Messages that wait between two steps are bounded, as for a handler.
   *
   * @throws RedisError of kind `config`; the iteration throws what `subscribe()` rejects with.
   */
  messages<T>(topic: string, options?: MessagesOptions): AsyncIterable<Envelope<T>> {
    const bus = this[internals];
    bus.checkOpen('MessageBus.messages');
    checkTopic('MessageBus.messages: topic', topic);
    const { group, concurrency, ...given } = subscribeOptions('MessageBus.messages', options);
    if (group !== undefined) throw configError('MessageBus.messages.group', 'nothing', group);
    if (concurrency !== undefined) throw configError('MessageBus.messages.concurrency', 'nothing', concurrency);
    const bounds = boundsOf('MessageBus.messages', given, bus.bounds);
    return {
      [Symbol.asyncIterator]: () => new Messages(bus, bus.feeds, topic, bounds, given.signal).iterator() as AsyncIterator<Envelope<T>>,
    };
  }

  /**
   * Publishes a request and returns the payload of the first reply.
   *
   * @throws RedisError of kind `connection` at once if nobody is subscribed to the topic, and when the connection is lost before the reply;
   * `timeout`; `cancelled`. {@link ResponderError} with the responder's error.
   */
  async request<Q, R>(topic: string, payload: Q, options?: RequestOptions): Promise<R> {
    const bus = this[internals];
    bus.checkOpen('MessageBus.request');
    checkTopic('MessageBus.request: topic', topic);
    return request<R>(bus, topic, payload, options);
  }

  /**
   * Replies to the requests on a topic with the result of `handler`, or with its error. Every responder of a topic gets every request.
   *
   * @throws RedisError as {@link subscribe}.
   */
  async respond<Q, R>(topic: string, handler: (payload: Q, envelope: Envelope<Q>) => R | Promise<R>): Promise<Unsubscribe> {
    const bus = this[internals];
    checkFunction('MessageBus.respond: handler', handler);
    const { handling } = begin(bus, 'MessageBus.respond', 'topic', topic, responding(bus, handler), undefined);
    return bus.live('MessageBus.respond', topic, false, handling, { requests: true });
  }

  /** The dead letters of a consumer group. */
  deadLetters(topic: string, group: string): DeadLetters {
    const bus = this[internals];
    checkTopic('MessageBus.deadLetters: topic', topic);
    return deadLetters(bus, topic, group);
  }

  /**
   * The consumer groups of a topic, with their lag and their consumers: also groups of other processes, and groups without consumers.
   *
   * @throws RedisError of kind `config`; what a command rejects with.
   */
  async groups(topic: string): Promise<TopicGroup[]> {
    const bus = this[internals];
    bus.checkOpen('MessageBus.groups');
    checkTopic('MessageBus.groups: topic', topic);
    return groupsOf(bus, topic);
  }

  /**
   * Removes a consumer group without consumers, and its dead letters. The group no longer holds back the trimming of its topic.
   *
   * @returns Whether the group existed.
   * @throws RedisError of kind `config` while a consumer of the group is alive; what a command rejects with.
   */
  async removeGroup(topic: string, group: string): Promise<boolean> {
    const bus = this[internals];
    bus.checkOpen('MessageBus.removeGroup');
    checkTopic('MessageBus.removeGroup: topic', topic);
    checkTopic('MessageBus.removeGroup: group', group);
    return removeGroup(bus, topic, group);
  }

  /** Adds a listener. A listener that throws or rejects is reported as a process warning and affects no other. */
  on<E extends keyof BusEvents>(event: E, listener: (event: BusEvents[E]) => unknown): this {
    this[internals].listeners.add(event, listener);
    return this;
  }

  /** Removes a listener. */
  off<E extends keyof BusEvents>(event: E, listener: (event: BusEvents[E]) => unknown): this {
    this[internals].listeners.remove(event, listener);
    return this;
  }

  /**
   * Ends every subscription. Waits for running handlers, then for the server to confirm, for at most `closeTimeoutMs` each. Pending requests and
   * later calls reject with kind `closed`. Idempotent. The manager stays as it is.
   */
  async close(): Promise<void> {
    const bus = this[internals];
    const first = !bus.closing;
    bus.closing = true;
    // Each call waits for the members itself, so that a handler may close its own bus: no call waits for a handler that waits here.
    const ended = Promise.all([...bus.members].map((member) => member.end()));
    if (first) await bus.port.call(bus.handle, V.close).catch(ignore);
    await ended;
    await bus.feeds.ended(bus.closeTimeoutMs);
    if (first) await bus.release();
  }

  /** The same as {@link close}. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** @internal */
  [inspect.custom](): string {
    return `MessageBus ${inspect({ closed: this[internals].closing })}`;
  }
}

/** Checks the arguments of a subscription. */
function begin(bus: PublicInternals, owner: string, name: string, topic: string, handler: unknown, options: SubscribeOptions | undefined) {
  checkTopic(`${owner}: ${name}`, topic);
  checkFunction(`${owner}: handler`, handler);
  const given = subscribeOptions(owner, options);
  bus.checkOpen(owner);
  if (given.signal?.aborted) throw cancelled(owner, given.signal);
  return { given, handling: new Handling(handler as Handler) };
}

/** Both managers must use the same namespace and database. A subscriber in another namespace or database would receive nothing. */
function checkSamePlace(manager: RedisConnectionManager, subscriber: RedisConnectionManager): void {
  const [out, back] = [manager[internals], subscriber[internals]];
  const differs = (what: string): RedisError =>
    new RedisError('config', `MessageBus.subscriber: expected a manager of the same ${what} as the one that publishes, got one of another`);
  if (out.namespace !== back.namespace) throw differs('namespace');
  if (out.endpoint.database !== back.endpoint.database) throw differs('database');
}

/**
 * A bus that publishes on `pub` and subscribes on `sub`. A single manager suffices for both: it opens the connections that each purpose needs.
 *
 * @param sub Default: `pub`.
 */
export function makeRedisBus(
  pub: IRedisConnection,
  sub?: IRedisConnection,
  options: Omit<MessageBusOptions, 'subscriber'> = {},
): MessageBus {
  return new MessageBus(pub, { ...optionsOf('makeRedisBus: options', options), subscriber: sub });
}

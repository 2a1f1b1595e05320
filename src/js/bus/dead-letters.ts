/** Dead letters: messages that a consumer group no longer tries to handle. */

import { checkWhole, optionsOf, refuseUnknown } from '../arguments.js';
import type { Envelope } from '../envelope.js';
import { configError } from '../errors.js';
import { verbs } from '../native.js';
import { addEarlierAttempts } from './durable-subscription.js';
import type { BusInternals } from './internals.js';
import { checkTopic } from './options.js';
import { decode } from './wire.js';

const V = verbs('bus', 'countDeadLetters', 'deadLetters', 'redrive', 'purge');

/** A message that has used up its attempts, or that is not JSON. */
export interface DeadLetter<T = unknown> {
  /** The id among the group's dead letters. */
  readonly id: string;
  /** The id in the topic's stream; empty if the entry is damaged. */
  readonly streamId: string;
  /** When the message became a dead letter, in milliseconds of the server's time since 1970. */
  readonly failedAt: number;
  /** How many attempts were made. */
  readonly attempts: number;
  /** Why the last attempt failed; `not JSON` if there was no attempt. */
  readonly lastError: string;
  /** The ordering key with which the message was published. */
  readonly key?: string | undefined;
  /** The message; `undefined` if the message is not JSON. */
  readonly envelope?: Envelope<T> | undefined;
  /** `true` for an entry that is not a dead letter: `redrive` skips it, `purge` deletes it. */
  readonly damaged?: true | undefined;
}

/** Options of {@link DeadLetters.list}. */
export interface DeadLetterListOptions {
  /** The list starts after this `id`. Default: at the oldest dead letter. */
  after?: string | undefined;
  /** The most dead letters to return, from 1 to 10 000. Default 100. */
  limit?: number | undefined;
}

/** Options of {@link DeadLetters.redrive}. */
export interface RedriveOptions {
  /** The most dead letters to deliver again, oldest first, from 1. Default: all that exist at the time of the call. */
  limit?: number | undefined;
}

/** The dead letters of one consumer group of a topic. They stay until they are redriven or purged. */
export interface DeadLetters {
  /** The number of dead letters. */
  count(): Promise<number>;
  /** The dead letters, oldest first, damaged entries included. */
  list<T = unknown>(options?: DeadLetterListOptions): Promise<DeadLetter<T>[]>;
  /**
   * Delivers dead letters to the group again, and to no other group, behind the topic's present messages. Each message has all its attempts again;
   * `attempts` of the envelope goes on counting. An entry that is not a dead letter stays, and `malformed` is emitted with its `letterId`.
   *
   * @param which The ids of the dead letters, or the number of dead letters; default all.
   * @returns The number of dead letters that are delivered again.
   */
  redrive(which?: readonly string[] | RedriveOptions): Promise<number>;
  /**
   * Deletes dead letters.
   *
   * @param ids Default: all.
   * @returns The number of deleted dead letters.
   */
  purge(ids?: readonly string[]): Promise<number>;
}

/** The dead letters of `group`. */
export function deadLetters(bus: BusInternals, topic: string, group: string): DeadLetters {
  checkTopic('MessageBus.deadLetters: group', group);
  const call = async (verb: number, ...args: unknown[]): Promise<unknown> => {
    bus.checkOpen('DeadLetters');
    return bus.port.callWith(bus.out, verb, [topic, group, ...args]);
  };
  const redriven = async (limit: number | undefined, ids: readonly string[]): Promise<number> => {
    const [count, ...strays] = (await call(V.redrive, limit, ...ids)) as [number, ...(string | number)[]];
    for (let at = 0; at < strays.length; at += 2) {
      bus.counts.malformed++;
      bus.counted();
      const [letterId, bytes] = [strays[at] as string, strays[at + 1] as number];
      bus.emit('malformed', { topic, group, letterId, bytes });
    }
    return count;
  };
  return {
    async count() {
      return (await call(V.countDeadLetters)) as number;
    },

    async list<T>(options?: DeadLetterListOptions) {
      const { after, limit, ...rest } = optionsOf('DeadLetters.list: options', options) as DeadLetterListOptions;
      refuseUnknown('DeadLetters.list', rest, ['after', 'limit']);
      const letters = (await call(V.deadLetters, after, limit)) as Listed[];
      return letters.map((letter) => letterOf<T>(topic, letter));
    },

    async redrive(which = {}) {
      if (Array.isArray(which)) return which.length === 0 ? 0 : redriven(undefined, which);
      const { limit, ...rest } = optionsOf('DeadLetters.redrive: options', which as RedriveOptions) as RedriveOptions;
      refuseUnknown('DeadLetters.redrive', rest, ['limit']);
      if (limit !== undefined) checkWhole('DeadLetters.redrive.limit', limit, 1);
      return redriven(limit, []);
    },

    async purge(ids) {
      if (ids !== undefined && !Array.isArray(ids)) throw configError('DeadLetters.purge: ids', 'an array of ids', ids);
      if (ids?.length === 0) return 0;
      return (await call(V.purge, ...(ids ?? []))) as number;
    },
  };
}

/** A dead letter as Rust returns it: id, id in the stream, attempts, last error, key, text, whether it is damaged. */
type Listed = [string, string, number, string, string | null, unknown, boolean];

function letterOf<T>(topic: string, [id, streamId, attempts, lastError, key, raw, damaged]: Listed): DeadLetter<T> {
  const envelope = decode(topic, raw)?.envelope;
  // The attempts before an earlier redrive are in the envelope's `attempts` already.
  if (envelope !== undefined) addEarlierAttempts(envelope, { prior: attempts, lastError });
  return {
    id,
    streamId,
    failedAt: Number(id.slice(0, id.indexOf('-'))),
    attempts,
    lastError,
    ...(key !== null && { key }),
    ...(envelope !== undefined && { envelope: envelope as Envelope<T> }),
    ...(damaged && { damaged }),
  };
}

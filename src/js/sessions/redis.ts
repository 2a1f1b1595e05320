/** Sessions in Redis: the calls of the native side, and their answers. */

import { json } from '../arguments.js';
import type { RedisError } from '../errors.js';
import { verbs } from '../native.js';
import { optionsJson, type Port } from '../port.js';
import type { CreateSessionOptions } from './options.js';
import { type SessionConflict, SessionConflictError } from './session.js';

const V = verbs(
  'sessions',
  'create',
  'load',
  'read',
  'save',
  'touch',
  'destroy',
  'regenerate',
  'append',
  'recent',
  'ofUser',
  'destroyOfUser',
  'enlist',
  'takeOver',
  'forget',
  'page',
);

/** A session as the native side sends it. Its data are the stored text. */
export interface RawSession {
  readonly id: string;
  readonly version: number;
  readonly text: string;
  readonly createdAt: number;
  readonly expiresAt: number;
}

/** The outcome of a write. With `changed` and `exists` comes the session that Redis has. */
export type Written =
  | { readonly word: 'created' | 'saved'; readonly session: RawSession }
  | { readonly word: 'changed' | 'exists'; readonly session: RawSession }
  | { readonly word: 'destroyed' | 'gone' | 'taken'; readonly session: null };

type Fields = [version: number, text: string, createdAt: number, expiresAt: number, user: string];

/** The version of a session that a caller has read. */
export interface Seen {
  readonly id: string;
  readonly version: number;
  readonly createdAt: number;
}

/** The sessions of one native store. */
export class RedisSessions {
  readonly #port: Port;
  readonly #handle: number;

  constructor(port: Port, handle: number) {
    this.#port = port;
    this.#handle = handle;
  }

  async create(text: string, options: CreateSessionOptions): Promise<Written> {
    const [id, outcome] = (await this.#call(V.create, text, optionsJson(options))) as [string, [string, Fields | null]];
    return writtenOf(id, outcome, text);
  }

  async load(id: string, touch: boolean): Promise<RawSession | null> {
    return this.#toSession(id, (await this.#call(V.load, id, touch)) as Fields | null);
  }

  async read(id: string, attempt: number): Promise<RawSession | null> {
    return this.#toSession(id, (await this.#call(V.read, id, attempt)) as Fields | null);
  }

  async save({ id, version, createdAt }: Seen, text: string, ttlSec?: number): Promise<Written> {
    const outcome = (await this.#call(V.save, id, version, createdAt, text, ttlSec)) as [string, Fields | null];
    this.#toSession(id, outcome[1]);
    return writtenOf(id, outcome, text);
  }

  /** @param always `true`: also if the session was extended less than `touchEverySec` ago. */
  async touch(id: string, ttlSec: number | undefined, always: boolean): Promise<boolean> {
    return this.#toSession(id, (await this.#call(V.touch, id, ttlSec, always)) as Fields | null) !== null;
  }

  destroy(id: string): Promise<boolean> {
    return this.#call(V.destroy, id) as Promise<boolean>;
  }

  async regenerate(id: string): Promise<RawSession | null> {
    const regenerated = (await this.#call(V.regenerate, id)) as [string, Fields] | null;
    return regenerated === null ? null : rawOf(...regenerated);
  }

  async append(id: string, text: string, limit: number): Promise<number> {
    const [count, user] = (await this.#call(V.append, id, text, limit)) as [number, string];
    this.#enlist(id, user, 0);
    return count;
  }

  recent(id: string, limit: number): Promise<string[]> {
    return this.#call(V.recent, id, limit) as Promise<string[]>;
  }

  async ofUser(user: string): Promise<RawSession[]> {
    return ((await this.#call(V.ofUser, user)) as [string, Fields][]).map((found) => rawOf(...found));
  }

  destroyOfUser(user: string, options: { except?: string | undefined } | undefined): Promise<number> {
    return this.#call(V.destroyOfUser, user, optionsJson(options)) as Promise<number>;
  }

  /** Takes a session over from another store. `null`: the other store has none, or it was taken over before and has ended. */
  async takeOver(id: string, prefix: string): Promise<RawSession | null> {
    const outcome = (await this.#call(V.takeOver, id, prefix)) as [string, Fields | null] | null;
    return outcome === null ? null : writtenOf(id, outcome, undefined).session;
  }

  /** Deletes a session of another store. */
  async forget(id: string, prefix: string): Promise<void> {
    await this.#call(V.forget, id, prefix);
  }

  /** The ids of all sessions. An id may come twice. */
  async *ids(): AsyncGenerator<string, void, undefined> {
    let cursor: string | null | undefined;
    do {
      const [next, ids] = (await this.#call(V.page, cursor)) as [string | null, string[]];
      yield* ids;
      cursor = next;
    } while (cursor !== null);
  }

  #call(verb: number, ...args: unknown[]): Promise<unknown> {
    return this.#port.call(this.#handle, verb, ...args);
  }

  #toSession(id: string, fields: Fields | null): RawSession | null {
    if (fields === null) return null;
    this.#enlist(id, fields[4], fields[3] - Date.now());
    return rawOf(id, fields);
  }

  /** Adds a session to the list of its user. If the call fails, the next extension of the session adds it again. */
  #enlist(id: string, user: string, livesMs: number): void {
    if (user !== '') this.#port.callQuietly(this.#handle, V.enlist, user, id, Math.max(0, livesMs)).catch(() => {});
  }
}

function rawOf(id: string, [version, text, createdAt, expiresAt]: Fields): RawSession {
  return { id, version, text, createdAt, expiresAt };
}

/** @param sent The text that was written. Rust sends the session back without its text if the text is this one. */
function writtenOf(id: string, [word, fields]: [string, Fields | null], sent: string | undefined): Written {
  if (fields === null) return { word: word as 'destroyed' | 'gone' | 'taken', session: null };
  const session = rawOf(id, fields);
  return { word: word as 'saved', session: session.text === '' && sent !== undefined ? { ...session, text: sent } : session };
}

/** The written session. Throws if the write was refused. */
export function settled(method: string, id: string, written: Written): RawSession {
  if (written.word === 'created' || written.word === 'saved') return written.session;
  throw new SessionConflictError(method, id, written.word === 'taken' ? 'exists' : (written.word as SessionConflict));
}

/** A value as JSON text. Throws if JSON cannot express the value. */
export function textOf(name: string, value: unknown): string {
  const text: string | RedisError = json(name, value);
  if (typeof text === 'string') return text;
  throw text;
}

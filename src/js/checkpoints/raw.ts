/** What an adapter asks of a store: states of many parts, whose values are bytes. */

import { bytesOf } from '../bytes.js';
import { verbs } from '../native.js';
import { optionsJson, type Port } from '../port.js';
import type { CheckpointInfo } from './options.js';
import { infoOf, type Loaded, type Told } from './shapes.js';

const V = verbs('checkpoints', 'save', 'load', 'history', 'addPending');

/** A part of a state. Its value is `null` where another checkpoint has saved that version, or where nobody has. */
export interface RawPart {
  readonly name: string;
  readonly version: string;
  readonly value: Uint8Array | null;
}

/** How a checkpoint of parts is saved; see {@link SaveOptions}. */
export interface RawSaveOptions {
  readonly scope: string;
  readonly id: string;
  /** The parent that is noted, whether it is there or not; `null` is none. */
  readonly parentAs: string | null;
  readonly fence: number | undefined;
  /** It is of no use without its parent, which is kept as long. */
  readonly needsParent: boolean;
}

/** A write of a task. Of two at one place the first stays, unless the place is below 0. */
export interface RawWrite {
  readonly place: number;
  readonly name: string;
  readonly value: Uint8Array;
}

/** A checkpoint with all that it has. */
export interface RawCheckpoint {
  readonly info: CheckpointInfo;
  /** As they were saved. */
  readonly parts: RawPart[];
  /** By task and place. */
  readonly pending: { readonly task: string; readonly name: string; readonly value: Uint8Array }[];
}

/** The checkpoints of one native store. A write whose answer is lost is made again: by its id, or its place, it is there once. */
export class RawCheckpoints {
  readonly #port: Port;
  readonly #handle: number;

  constructor(port: Port, handle: number) {
    this.#port = port;
    this.#handle = handle;
  }

  /** @param meta JSON of an object */
  async save(thread: string, options: RawSaveOptions, meta: string, parts: readonly RawPart[]): Promise<CheckpointInfo> {
    const args: unknown[] = [thread, optionsJson({ ...options, branch: true, lenient: true, repeatable: true }), meta];
    for (const { name, version, value } of parts) args.push(name, version, value);
    return infoOf(thread, (await this.#port.callWith(this.#handle, V.save, args)) as Told);
  }

  /** @param id `null` is the latest */
  async load(thread: string, scope: string, id: string | null): Promise<RawCheckpoint | null> {
    const found = (await this.#port.call(this.#handle, V.load, thread, id, optionsJson({ scope, raw: true }))) as Loaded | null;
    if (found === null) return null;
    const [told, values, writes, versions] = found;
    const parts: RawPart[] = [];
    for (let at = 0; at < versions.length; at += 2) {
      parts.push({ name: versions[at] as string, version: versions[at + 1] as string, value: plain(values[at + 1]) });
    }
    const pending: RawCheckpoint['pending'] = [];
    for (let at = 0; at < writes.length; at += 3) {
      pending.push({ task: writes[at] as string, name: writes[at + 1] as string, value: plain(writes[at + 2]) as Uint8Array });
    }
    return { info: infoOf(thread, told), parts, pending };
  }

  /**
   * What is told of the checkpoints of a scope, or of all scopes where it is `undefined`: greatest id first, by scope.
   *
   * @param where members that the metadata must have
   */
  async *history(
    thread: string,
    scope: string | undefined,
    where: Record<string, unknown> | undefined,
    before?: string,
  ): AsyncGenerator<CheckpointInfo, void, undefined> {
    let cursor: string | null | undefined = before;
    do {
      const options = optionsJson({ scope, all: scope === undefined, where, before: cursor });
      const [next, found]: [string | null, Told[]] = (await this.#port.call(this.#handle, V.history, thread, options)) as [
        string | null,
        Told[],
      ];
      for (const told of found) yield infoOf(thread, told);
      cursor = next;
    } while (cursor !== null);
  }

  async addPending(
    thread: string,
    id: string,
    task: string,
    options: { readonly scope: string; readonly fence: number | undefined },
    writes: readonly RawWrite[],
  ): Promise<void> {
    const args: unknown[] = [thread, id, task, optionsJson({ ...options, repeatable: true })];
    for (const { place, name, value } of writes) args.push(place, place < 0, name, value);
    await this.#port.callWith(this.#handle, V.addPending, args);
  }
}

/** Bytes as no more than a `Uint8Array`. */
function plain(value: unknown): Uint8Array | null {
  return ArrayBuffer.isView(value) ? bytesOf('value', value) : null;
}

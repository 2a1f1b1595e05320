/** How jobs cross to Rust: options as JSON, the data of children as JSON within. */

import { jsonArgument, objectOf, optionsOf } from '../arguments.js';
import { configError } from '../errors.js';
import { optionsJson } from '../port.js';
import { scopeNow } from '../scope.js';
import type { JobOptions, JobState } from './options.js';

/** Children of children of … */
const MAX_DEPTH = 32;

/** Options as they cross, and the state that a job added with them begins in. */
export interface PackedOptions {
  /** `undefined` for none. */
  readonly text: string | undefined;
  readonly state: JobState;
}

/** Packs options, those of a job and what is default. Throws what cannot be expressed. */
export class OptionsPacker {
  readonly #defaults: JobOptions | undefined;
  readonly #packedDefaults: PackedOptions;
  /** The defaults as they cross, to be checked once. */
  readonly crossingDefaults: object | undefined;

  constructor(defaults: JobOptions | undefined) {
    // A copy: what the caller does to the object later is nothing to this queue.
    this.#defaults = defaults === undefined ? undefined : { ...objectOf('TaskQueue: defaultJobOptions', defaults) };
    this.#packedDefaults = packed('TaskQueue: defaultJobOptions', this.#defaults);
    this.crossingDefaults = this.#defaults && withPackedChildren('TaskQueue: defaultJobOptions', this.#defaults, 0);
  }

  /** `corrId` counts where neither the job nor the defaults name one. */
  pack(what: string, options: JobOptions | undefined, corrId?: string): PackedOptions {
    if (options === undefined && corrId === undefined) return this.#packedDefaults;
    const given = optionsOf(`${what}: options`, options) as JobOptions;
    const all = this.#defaults === undefined ? given : merged(this.#defaults, given);
    return packed(`${what}: options`, corrId === undefined || all.corrId !== undefined ? all : { ...all, corrId });
  }
}

/** The longest one that a job may have, in bytes. */
const MAX_CORR_ID = 512;

/** The `corrId` that jobs added here and now inherit. One of a message that a job may not have is not worth failing for. */
export function inheritedCorrId(): string | undefined {
  const corrId = scopeNow()?.corrId;
  if (corrId === undefined || !corrId.isWellFormed() || /\p{Cc}/u.test(corrId)) return undefined;
  return Buffer.byteLength(corrId) > MAX_CORR_ID ? undefined : corrId;
}

/** An option that is undefined is one that is not given. */
function merged(defaults: JobOptions, given: JobOptions): JobOptions {
  const all: Record<string, unknown> = { ...defaults };
  for (const [name, value] of Object.entries(given)) if (value !== undefined) all[name] = value;
  return all as JobOptions;
}

function packed(what: string, options: JobOptions | undefined): PackedOptions {
  if (options === undefined) return { text: undefined, state: 'waiting' };
  const crossing = withPackedChildren(what, options, 0);
  let state: JobState = 'waiting';
  if (typeof options.delayMs === 'number' && options.delayMs > 0) state = 'delayed';
  if (Array.isArray(options.children) && options.children.length > 0) state = 'waiting-children';
  return { text: optionsJson(crossing), state };
}

function withPackedChildren(what: string, options: JobOptions, depth: number): object {
  const { children } = options;
  // What is no array is refused in Rust, by name.
  if (!Array.isArray(children)) return options;
  if (depth === MAX_DEPTH) throw configError(`${what}.children`, `children at most ${MAX_DEPTH} deep`, children);
  const crossing = children.map((child, index) => {
    const name = `${what}.children[${index}]`;
    const given = objectOf(name, child);
    const data = jsonArgument(`${name}.data`, given.data);
    if (given.options === undefined) return { ...given, data };
    return { ...given, data, options: withPackedChildren(`${name}.options`, objectOf(`${name}.options`, given.options), depth + 1) };
  });
  return { ...options, children: crossing };
}

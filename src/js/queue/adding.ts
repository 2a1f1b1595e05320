/** Writes a job's options as the JSON text that Rust reads. The data of children are JSON text inside it. */

import { jsonArgument, objectOf, optionsOf } from '../arguments.js';
import { configError } from '../errors.js';
import { optionsJson } from '../port.js';
import { scopeNow } from '../scope.js';
import type { JobOptions, JobState } from './options.js';

/** How deep children may be nested. */
const MAX_DEPTH = 32;

/** Options as JSON text, and the first state of a job that is added with them. */
export interface PackedOptions {
  /** `undefined` if there are no options. */
  readonly text: string | undefined;
  readonly state: JobState;
}

/** Merges a job's options with the queue's defaults and writes them as JSON. Throws if JSON cannot express an option. */
export class OptionsPacker {
  readonly #defaults: JobOptions | undefined;
  readonly #packedDefaults: PackedOptions;
  /** The defaults, for Rust to check once when the queue is opened. */
  readonly crossingDefaults: object | undefined;

  constructor(defaults: JobOptions | undefined) {
    // A copy, so that a later change of the caller's object does not change this queue.
    this.#defaults = defaults === undefined ? undefined : { ...objectOf('TaskQueue: defaultJobOptions', defaults) };
    this.#packedDefaults = packed('TaskQueue: defaultJobOptions', this.#defaults);
    this.crossingDefaults = this.#defaults && withPackedChildren('TaskQueue: defaultJobOptions', this.#defaults, 0);
  }

  /** `corrId` is used if neither the job nor the defaults have a `corrId`. */
  pack(what: string, options: JobOptions | undefined, corrId?: string): PackedOptions {
    if (options === undefined && corrId === undefined) return this.#packedDefaults;
    const given = optionsOf(`${what}: options`, options) as JobOptions;
    const all = this.#defaults === undefined ? given : merged(this.#defaults, given);
    return packed(`${what}: options`, corrId === undefined || all.corrId !== undefined ? all : { ...all, corrId });
  }
}

/** The longest `corrId` of a job, in bytes. */
const MAX_CORR_ID = 512;

/**
 * The `corrId` of the current async context, which jobs inherit. A message may have a `corrId` that a job may not have: the job then gets none, since
 * adding it should not fail for this.
 */
export function inheritedCorrId(): string | undefined {
  const corrId = scopeNow()?.corrId;
  if (corrId === undefined || !corrId.isWellFormed() || /\p{Cc}/u.test(corrId)) return undefined;
  return Buffer.byteLength(corrId) > MAX_CORR_ID ? undefined : corrId;
}

/** The defaults, overridden by the given options. An option that is `undefined` overrides nothing. */
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
  // Rust refuses a value that is not an array, and names the option.
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

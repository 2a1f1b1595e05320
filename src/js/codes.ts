/** The numbers that both sides of the boundary must agree on. Written from `src/crossing/codes.rs`, which says how: not by hand. */

/** The kind of an argument of a call. */
export const enum ArgumentKind {
  /** Not given, or `undefined`. */
  Absent = 0,
  Null = 1,
  False = 2,
  True = 3,
  /** Eight bytes, the least significant first. */
  Number = 4,
  Text = 5,
  Bytes = 6,
  /** Anything else; its bytes are the text that describes it in errors. */
  Other = 7,
}

/** The kind of a value that JavaScript takes. */
export const enum Tag {
  /** The value itself. */
  Value = 0,
  /** JSON text to be parsed; text that is not JSON is the value itself. */
  Json = 1,
  /** The fields of an error as JSON. */
  Error = 2,
  /** An event as JSON; the number is the handle. */
  Event = 3,
  /** A flat array of tag and value, tag and value … */
  List = 4,
  /** A flat array, as for a list, for the object behind a handle; the number is the handle. */
  Delivery = 5,
  /** The string `OK`, the most frequent outcome of commands that write; no value comes with it. */
  Ok = 6,
  /** As a delivery, but an array of the values alone: most deliveries have only values without a tag of their own. */
  Plain = 7,
}

/** The kind of a delivery to a worker, which is its first value. */
export const enum WorkerDelivery {
  /** Claimed jobs, with `CLAIMED_VALUES` values each. */
  Jobs = 1,
  /** Attempts that have ended, with `ENDED_VALUES` values each. */
  Ended = 2,
  /** Jobs whose outcome was refused, with `REFUSED_VALUES` values each. */
  Refused = 3,
}

/** The outcome of an attempt. */
export const enum OutcomeKind {
  Completed = 1,
  Failed = 2,
  FailedForGood = 3,
  Delayed = 4,
  /** The job is handed back without an attempt, and waits before all other jobs. */
  HandedBack = 5,
}

/** The number of a call without a waiting caller. */
export const NOBODY = 4294967295;

/** The word of an argument is its kind, shifted by this many bits, and its length. */
export const KIND_SHIFT = 29;

/** The longest argument, in bytes; Redis' own limit is the same. */
export const MAX_BYTES = 536870911;

/** Values per job in a delivery: slot, id, name, data, options, attempts made, added at, started at, stalled count, progress. */
export const CLAIMED_VALUES = 10;

/** Values per attempt that has ended: slot, cause, and a text about it. */
export const ENDED_VALUES = 3;

/** Values per job whose outcome was refused: id and reason. */
export const REFUSED_VALUES = 2;

/** Values per outcome that JavaScript reports: slot, kind and two more. */
export const OUTCOME_VALUES = 4;

/** Values per event of a queue: type, job id, payload. */
export const EVENT_VALUES = 3;

/** Values per durable message: number, id, attempts before, last error, key, text. */
export const MESSAGE_VALUES = 6;

/** Values per consumer group of a topic: name, lag, pending, consumers, time of the last activity of a consumer. */
export const GROUP_VALUES = 5;

/** The numbers that both sides of the boundary must agree on. Written from `src/crossing/codes.rs`, which says how: not by hand. */

/** What an argument of a call is. */
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
  /** Anything else; its bytes are what it is called in an error. */
  Other = 7,
}

/** What a value that is taken out is. */
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
  /** The string `OK`, which is most of what commands that write give; no value comes with it. */
  Ok = 6,
  /** As a delivery, but an array of the values themselves: most deliveries have none that must be told what it is. */
  Plain = 7,
}

/** What a delivery to a worker is of: its first value. */
export const enum WorkerDelivery {
  /** Jobs that were claimed, of `CLAIMED_VALUES` each. */
  Jobs = 1,
  /** Attempts that are over, of `ENDED_VALUES` each. */
  Ended = 2,
  /** Jobs whose outcome was refused, of `REFUSED_VALUES` each. */
  Refused = 3,
}

/** What came of an attempt. */
export const enum OutcomeKind {
  Completed = 1,
  Failed = 2,
  FailedForGood = 3,
  Delayed = 4,
  /** Given back without an attempt: the job is the first of those that wait. */
  HandedBack = 5,
}

/** The number of a call whose outcome nobody waits for. */
export const NOBODY = 4294967295;

/** The word of an argument is its kind, shifted by so many bits, and its length. */
export const KIND_SHIFT = 29;

/** The longest argument, in bytes; Redis' own limit is the same. */
export const MAX_BYTES = 536870911;

/** Values per job in a delivery: slot, id, name, data, options, attempts made, added at, started at, stalled count, progress. */
export const CLAIMED_VALUES = 10;

/** Values per attempt that is over: slot, why, and what is said of it. */
export const ENDED_VALUES = 3;

/** Values per job whose outcome was refused: id and why. */
export const REFUSED_VALUES = 2;

/** Values per outcome that is told: slot, kind and two more. */
export const OUTCOME_VALUES = 4;

/** Values per event of a queue: type, job id, payload. */
export const EVENT_VALUES = 3;

/** Values per durable message: number, id, attempts before, last error, key, text. */
export const MESSAGE_VALUES = 6;

/** Values per consumer group of a topic: name, lag, pending, consumers, when one was last active. */
export const GROUP_VALUES = 5;

/** The events of a bus. */

/** The events of a {@link MessageBus}, with the argument of their listeners. */
export interface BusEvents {
  /**
   * A handler threw, rejected or did not end in time; or the server refused a consumer's call, or had lost records of the group. Without a listener
   * nothing is thrown.
   */
  error: {
    topic: string;
    /** The id of the handler's message. */
    envelopeId?: string;
    corrId?: string;
    pattern?: string;
    /** The consumer group of a durable subscription. */
    group?: string;
    error: unknown;
  };
  /** A message is not JSON, and no handler got it; or an entry among the dead letters is not a dead letter, and `redrive` skipped it. */
  malformed: {
    topic: string;
    pattern?: string;
    group?: string;
    streamId?: string;
    /** The entry's id among the dead letters of the group. */
    letterId?: string;
    /** The length of the message. */
    bytes: number;
  };
  /**
   * A message became a dead letter with a consumer of this bus. Not emitted if the connection was lost at that moment: {@link DeadLetters.count} is
   * exact.
   */
  'dead-letter': {
    topic: string;
    group: string;
    /** The message's id among the dead letters of the group. */
    letterId: string;
    /** The message's id in the topic's stream. */
    streamId: string;
    /** How many attempts were made. */
    attempts: number;
    /** Why the last attempt failed. */
    lastError: string;
  };
  /** A live subscription is confirmed again after an interruption: messages may have been missed. */
  gap: { topic: string; pattern?: string /** How long the interruption lasted, in milliseconds. */; durationMs: number };
  /**
   * Live messages were dropped: the oldest waiting messages, because more arrived than were handled, or a message that is longer than
   * `maxReplyBytes`.
   */
  slow: { topic: string; pattern?: string /** The number of messages dropped since the last `slow` event. */; dropped: number };
}

export const BUS_EVENTS: readonly (keyof BusEvents)[] = ['error', 'malformed', 'dead-letter', 'gap', 'slow'];

/** The arguments of the listeners of each event. */
export type BusEventArguments = { [E in keyof BusEvents]: [event: BusEvents[E]] };

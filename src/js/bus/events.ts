/** The events of a bus. */

/** The events of a {@link MessageBus}, with what their listeners are given. */
export interface BusEvents {
  /**
   * A handler threw or rejected, or did not end in time; or the server refused what a consumer asked, or had lost records of its group.
   * Without a listener nothing is thrown.
   */
  error: {
    topic: string;
    /** The message it had. */
    envelopeId?: string;
    corrId?: string;
    pattern?: string;
    /** Of a durable subscription. */
    group?: string;
    error: unknown;
  };
  /** A message that is not JSON, which no handler has got; or an entry among dead letters that is none, which `redrive` passed over. */
  malformed: {
    topic: string;
    pattern?: string;
    group?: string;
    streamId?: string;
    /** Its id among the dead letters of the group. */
    letterId?: string;
    /** How long it is. */
    bytes: number;
  };
  /**
   * A message became a dead letter with a consumer of this bus. Not told where the connection was lost just then:
   * {@link DeadLetters.count} knows.
   */
  'dead-letter': {
    topic: string;
    group: string;
    /** Its id among the dead letters of the group. */
    letterId: string;
    /** Its id in the topic's stream. */
    streamId: string;
    /** How often it was tried. */
    attempts: number;
    /** Why the last attempt failed. */
    lastError: string;
  };
  /** A live subscription is confirmed again after an interruption: messages may have been missed. */
  gap: { topic: string; pattern?: string /** For how long, in milliseconds. */; durationMs: number };
  /** Live messages were dropped: the oldest that waited, since more came than were handled, or one longer than `maxReplyBytes`. */
  slow: { topic: string; pattern?: string /** How many, since this was told last. */; dropped: number };
}

export const BUS_EVENTS: readonly (keyof BusEvents)[] = ['error', 'malformed', 'dead-letter', 'gap', 'slow'];

/** What the listeners of each event of a bus are given. */
export type BusEventArguments = { [E in keyof BusEvents]: [event: BusEvents[E]] };

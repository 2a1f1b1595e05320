/** Helpers of the message bus' tests. */
import type { BusEvents, Envelope, MessageBus, MessageContext } from 'redis-backplane';
import { until } from './until.ts';

export type Seen = { [E in keyof BusEvents]: BusEvents[E][] };

/** Records every event of a bus, in order. */
export function listenTo(bus: MessageBus): Seen {
  const seen: Seen = { error: [], malformed: [], 'dead-letter': [], gap: [], slow: [] };
  for (const name of Object.keys(seen) as (keyof BusEvents)[]) bus.on(name, (event) => seen[name].push(event as never));
  return seen;
}

/** Subscribes, and collects the messages. */
export async function collectFrom<T>(bus: MessageBus, topic: string): Promise<[Envelope<T>, MessageContext][]> {
  const got: [Envelope<T>, MessageContext][] = [];
  await bus.subscribe<T>(topic, (message, context) => void got.push([message, context]));
  return got;
}

/** Resolves when there are `count` of them. */
export async function arrive(got: unknown[], count: number, timeoutMs?: number): Promise<void> {
  await until(() => got.length >= count, { timeoutMs, what: () => `${count} messages; got ${got.length}` });
}

/** A promise, and the function that resolves it. */
export function gate(): { opened: Promise<void>; open: () => void } {
  let open = (): void => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { opened, open };
}

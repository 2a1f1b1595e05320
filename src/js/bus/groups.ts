/** The consumer groups of a topic. */

import { GROUP_VALUES } from '../codes.js';
import { verbs } from '../native.js';
import type { BusInternals } from './internals.js';

const V = verbs('bus', 'groups', 'removeGroup');

/** A consumer group of a durable topic. */
export interface TopicGroup {
  /** The group's name. */
  readonly name: string;
  /**
   * How many messages of the topic the group has not acknowledged. If the server does not count unread messages, at most 1 000 of the unread messages
   * are included.
   */
  readonly lag: number;
  /** How many of the unacknowledged messages were read: a handler works on them, or they wait for a retry, or behind other messages of their key. */
  readonly pending: number;
  /** How many consumers of this package are alive. */
  readonly consumers: number;
  /** When a consumer was last active, in milliseconds of the server's time since 1970; the current time while a consumer is alive. */
  readonly lastActiveAt?: number | undefined;
}

export async function groupsOf(bus: BusInternals, topic: string): Promise<TopicGroup[]> {
  const values = (await bus.port.call(bus.out, V.groups, topic)) as (string | number | undefined)[];
  const groups: TopicGroup[] = [];
  for (let at = 0; at < values.length; at += GROUP_VALUES) {
    const [name, lag, pending, consumers, lastActiveAt] = values.slice(at, at + GROUP_VALUES) as [string, number, number, number, number?];
    groups.push({ name, lag, pending, consumers, ...(lastActiveAt !== undefined && { lastActiveAt }) });
  }
  return groups;
}

export async function removeGroup(bus: BusInternals, topic: string, group: string): Promise<boolean> {
  return (await bus.port.call(bus.out, V.removeGroup, topic, group)) as boolean;
}

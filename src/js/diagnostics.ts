/**
 * `diagnostics_channel` events, in the shapes that node-redis documents, so that an APM for node-redis can read them. Tracing channels:
 * `redis-backplane:command` and `redis-backplane:connect`. Plain channels: `redis-backplane:connection:ready`, `redis-backplane:connection:closed` and
 * `redis-backplane:error`. The events never contain keys or values: each argument is `?`.
 */

import { channel, tracingChannel } from 'node:diagnostics_channel';

/** The server that a call goes to. */
export interface Endpoint {
  /** The number of the database. */
  database: number;
  /** The host, or the path of a Unix socket. */
  serverAddress: string;
  /** The port; `undefined` for a Unix socket. */
  serverPort: number | undefined;
  /** The name of the client, and a number that is different for each manager of a process. */
  clientId: string;
}

/** The context of a `redis-backplane:command` trace. */
export interface CommandTrace extends Endpoint {
  /** The name of the command, in capitals. */
  command: string;
  /** One `?` for each argument: keys and values are never shown. */
  args: readonly string[];
}

const commands = tracingChannel<unknown, CommandTrace>('redis-backplane:command');
const connects = tracingChannel<unknown, Endpoint>('redis-backplane:connect');
const ready = channel('redis-backplane:connection:ready');
const closed = channel('redis-backplane:connection:closed');
const errors = channel('redis-backplane:error');

// `TracingChannel.hasSubscribers` is newer than the oldest Node on which this package runs.
function isTraced(tracing: typeof commands | typeof connects): boolean {
  const { start, end, asyncStart, asyncEnd, error } = tracing;
  return start.hasSubscribers || end.hasSubscribers || asyncStart.hasSubscribers || asyncEnd.hasSubscribers || error.hasSubscribers;
}

/** Does anyone subscribe to the channel of commands? */
export function commandsAreTraced(): boolean {
  return isTraced(commands);
}

/** Runs a command, and publishes its start, its end and its error. */
export function traceCommand<T>(endpoint: Endpoint, command: string, count: number, run: () => Promise<T>): Promise<T> {
  const args: readonly string[] = new Array<string>(count).fill('?');
  return commands.tracePromise(run, { ...endpoint, command, args });
}

/** Connects, and publishes the start, the end and the error. */
export function traceConnect<T>(endpoint: Endpoint, run: () => Promise<T>): Promise<T> {
  return isTraced(connects) ? connects.tracePromise(run, { ...endpoint }) : run();
}

export function publishReady(endpoint: Endpoint, createTimeMs: number): void {
  if (!ready.hasSubscribers) return;
  const { clientId, serverAddress, serverPort } = endpoint;
  ready.publish({ clientId, serverAddress, serverPort, createTimeMs });
}

export function publishClosed(endpoint: Endpoint, reason: string, wasConnected: boolean): void {
  if (closed.hasSubscribers) closed.publish({ clientId: endpoint.clientId, reason, wasConnected });
}

export function publishError(endpoint: Endpoint, error: Error, retryCount: number): void {
  if (errors.hasSubscribers) errors.publish({ error, origin: 'client', internal: true, clientId: endpoint.clientId, retryCount });
}

/** The warning about a server whose `maxmemory-policy` evicts keys. */

import type { Endpoint } from './diagnostics.js';

/** The servers about which this process has warned. */
const warned = new Set<string>();

/** Warns, once for each server, that the server may delete the data of queues, durable topics and registries. */
export function warnOfEviction({ serverAddress, serverPort }: Endpoint, policy: string): void {
  const server = serverPort === undefined ? serverAddress : `${serverAddress}:${serverPort}`;
  if (warned.has(server)) return;
  warned.add(server);
  const lost = policy.startsWith('volatile')
    ? 'those with an expiry, among them locks, the terms of leaders and ids that are to be seen once'
    : 'any of them, among them jobs, durable messages and the registrations of workers';
  const message = `The Redis server ${server} has maxmemory-policy ${policy}: when its memory is full it deletes keys (${lost}) and nobody is told. Set noeviction there, or keep them on a server of their own.`;
  process.emitWarning(message, 'RedisEvictionWarning');
}

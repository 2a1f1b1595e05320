/** BullMQ beside this package: on its connections, or on its own with the same configuration. */

import { checkMade } from '../copies.js';
import { type Failure, toError } from '../errors.js';
import { internals } from '../internals.js';
import type { IRedisConnection } from '../ports.js';
import { Channel } from './channel.js';
import { Client } from './client.js';
import type { BullMQClient } from './interface.js';
import type { BullMQOptions } from './options.js';

/**
 * A client for BullMQ on the connections of `manager`: `new Queue('paint', { connection: bullmqConnection(manager) })`. For BullMQ
 * 5.77 and later, and 6; neither `ioredis` nor `redis` need be installed for 6.
 *
 * One client serves any number of queues, workers and the rest. Whatever does not block goes over the manager's one connection. Each
 * `Worker` and each `QueueEvents` makes a duplicate, which keeps one connection of its own for its blocking reads. `close()` of a
 * worker closes that; the manager is the caller's to disconnect, after everything of BullMQ is closed.
 *
 * The manager's `namespace` is not put before BullMQ's keys: BullMQ has its own option `prefix`. In a cluster give it a hash tag,
 * such as `prefix: '{paint}'`.
 *
 * What the loss of a connection spoils rejects with a `RedisError` whose message is `Connection is closed.`: by that BullMQ knows
 * that it may try again. `cause` says what happened, `delivery` whether the server may have executed it.
 *
 * @throws RedisError of kind `config` for something that is no manager.
 */
export function bullmqConnection(manager: IRedisConnection): BullMQClient {
  checkMade('bullmqConnection: manager', 'RedisConnectionManager', manager);
  return new Client(new Channel(manager));
}

/**
 * Options with which BullMQ, from version 4 on, makes connections of its own to the server of `manager` through ioredis:
 * `new Queue('paint', { connection: bullmqOptions(manager) })`.
 *
 * They hold the password in the clear, since BullMQ's own client needs it: it is the one call by which a secret leaves this package.
 * Nothing else of the manager is in them: not its namespace, its deadlines or its limits. `maxRetriesPerRequest` is `null`, as BullMQ's
 * workers demand.
 *
 * @throws RedisError of kind `config` for what such options cannot say: `memory://`, a cluster, a password that is a function (it
 * would be asked once instead of at every connection). {@link bullmqConnection} serves all of these.
 */
export function bullmqOptions(manager: IRedisConnection): BullMQOptions {
  checkMade('bullmqOptions: manager', 'RedisConnectionManager', manager);
  const { port, handle } = manager[internals];
  const given = JSON.parse(port.ioredisOptions(handle)) as { value: BullMQOptions } | { error: Failure };
  if ('error' in given) throw toError(given.error);
  return given.value;
}

export type {
  BullMQClient,
  BullMQDuplicateOptions,
  BullMQFields,
  BullMQResult,
  BullMQScript,
  BullMQStreams,
  BullMQTransaction,
} from './interface.js';
export type { BullMQOptions, BullMQTlsOptions } from './options.js';

/** BullMQ with this package: on this package's connections, or on BullMQ's own connections with the same configuration. */

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
 * One client serves any number of queues, workers and other objects. Commands that do not block use the manager's one connection. Each `Worker` and
 * each `QueueEvents` makes a duplicate with its own connection for its blocking reads; `close()` of a worker closes that connection. Disconnect the
 * manager yourself, after all objects of BullMQ are closed.
 *
 * The manager's `namespace` is not put before BullMQ's keys: BullMQ has its own option `prefix`. In a cluster give it a hash tag,
 * such as `prefix: '{paint}'`.
 *
 * A call that fails because a connection is lost rejects with a `RedisError` with the message `Connection is closed.`, which tells BullMQ that it may
 * try again. `cause` says what happened, `delivery` whether the server may have executed the call.
 *
 * @throws RedisError of kind `config` for an object that is not a manager.
 */
export function bullmqConnection(manager: IRedisConnection): BullMQClient {
  checkMade('bullmqConnection: manager', 'RedisConnectionManager', manager);
  return new Client(new Channel(manager));
}

/**
 * Options with which BullMQ, from version 4 on, makes connections of its own to the server of `manager` through ioredis:
 * `new Queue('paint', { connection: bullmqOptions(manager) })`.
 *
 * The options contain the password in the clear, since ioredis needs it: this is the only call that returns a secret. They do not contain the
 * manager's namespace, deadlines and limits. `maxRetriesPerRequest` is `null`, as BullMQ's workers demand.
 *
 * @throws RedisError of kind `config` if the options cannot express the manager's configuration: `memory://`, a cluster, a password function (ioredis
 * would call it once instead of at every connection). {@link bullmqConnection} works with all of these.
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

/** The options of ioredis that BullMQ gets. */

/** TLS as `node:tls` takes it; certificates and keys are PEM. */
export interface BullMQTlsOptions {
  /** Certificate authorities in PEM. */
  ca?: string;
  /** The client's certificate in PEM. */
  cert?: string;
  /** The private key of `cert` in PEM. */
  key?: string;
  /** The name that the server's certificate must have. */
  servername?: string;
  /** `false` accepts any certificate. */
  rejectUnauthorized?: boolean;
}

/** The manager's configuration as options of ioredis. Options that are not set are absent. */
export interface BullMQOptions {
  /** The host of the server. */
  host?: string;
  /** The port of the server. */
  port?: number;
  /** The path of a Unix socket, in place of `host` and `port`. */
  path?: string;
  /** The number of the database. */
  db?: number;
  /** The ACL user. */
  username?: string;
  /** The present password. A password that is rotated later does not reach ioredis. */
  password?: string;
  /** Present if the connection uses TLS. */
  tls?: BullMQTlsOptions;
  /** The sentinels, with `name`, in place of `host` and `port`. */
  sentinels?: { host: string; port: number }[];
  /** The sentinels' name of the master. */
  name?: string;
  /** The `addressMap` of the manager, in the form of ioredis. */
  natMap?: Record<string, { host: string; port: number }>;
  /** The ACL user at the sentinels. */
  sentinelUsername?: string;
  /** The password at the sentinels. */
  sentinelPassword?: string;
  /** Present if connections to sentinels use TLS. */
  sentinelTLS?: BullMQTlsOptions;
  /** Whether connections to sentinels use TLS. */
  enableTLSForSentinelMode?: boolean;
  /** The time limit of an attempt to connect, in milliseconds. */
  connectTimeout?: number;
  /** The delay of TCP keepalive, in milliseconds. */
  keepAlive?: number;
  /** `null`: commands wait for a connection without a bound, as BullMQ's workers demand. */
  maxRetriesPerRequest: null;
}

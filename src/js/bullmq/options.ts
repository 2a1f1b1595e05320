/** The options that BullMQ gives to ioredis. */

/** TLS as `node:tls` takes it; certificates and keys are PEM. */
export interface BullMQTlsOptions {
  /** Certificate authorities in PEM. */
  ca?: string;
  /** The client's certificate in PEM. */
  cert?: string;
  /** The private key of `cert` in PEM. */
  key?: string;
  /** The name to expect in the server's certificate. */
  servername?: string;
  /** `false` accepts any certificate. */
  rejectUnauthorized?: boolean;
}

/** Where a server is and how to talk to it, in the options of ioredis. Options that are not set are absent. */
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
  /** The password, as it is now: ioredis does not ask again when it is rotated. */
  password?: string;
  /** Present where the connection uses TLS. */
  tls?: BullMQTlsOptions;
  /** In place of `host` and `port`, with `name`. */
  sentinels?: { host: string; port: number }[];
  /** The sentinels' name of the master. */
  name?: string;
  /** `addressMap` in the words of ioredis. */
  natMap?: Record<string, { host: string; port: number }>;
  /** The ACL user at the sentinels. */
  sentinelUsername?: string;
  /** The password at the sentinels. */
  sentinelPassword?: string;
  /** Present where connections to sentinels use TLS. */
  sentinelTLS?: BullMQTlsOptions;
  /** Whether connections to sentinels use TLS. */
  enableTLSForSentinelMode?: boolean;
  /** Milliseconds. */
  connectTimeout?: number;
  /** Milliseconds. */
  keepAlive?: number;
  /** Commands wait for a connection without a bound, as BullMQ's workers demand. */
  maxRetriesPerRequest: null;
}

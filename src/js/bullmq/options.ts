/** The options that BullMQ gives to ioredis. */

/** TLS as `node:tls` takes it; certificates and keys are PEM. */
export interface BullMQTlsOptions {
  ca?: string;
  cert?: string;
  key?: string;
  servername?: string;
  rejectUnauthorized?: boolean;
}

/** Where a server is and how to talk to it, in the options of ioredis. Options that are not set are absent. */
export interface BullMQOptions {
  host?: string;
  port?: number;
  /** The path of a Unix socket, in place of `host` and `port`. */
  path?: string;
  db?: number;
  username?: string;
  password?: string;
  tls?: BullMQTlsOptions;
  /** In place of `host` and `port`, with `name`. */
  sentinels?: { host: string; port: number }[];
  /** The sentinels' name of the master. */
  name?: string;
  /** `addressMap` in the words of ioredis. */
  natMap?: Record<string, { host: string; port: number }>;
  sentinelUsername?: string;
  sentinelPassword?: string;
  sentinelTLS?: BullMQTlsOptions;
  enableTLSForSentinelMode?: boolean;
  /** Milliseconds. */
  connectTimeout?: number;
  /** Milliseconds. */
  keepAlive?: number;
  /** Commands wait for a connection without a bound, as BullMQ's workers demand. */
  maxRetriesPerRequest: null;
}

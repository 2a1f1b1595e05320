/**
 * A Redis connection that shares no code with the package under test: a socket, a RESP writer and a
 * RESP2/RESP3 reader. It has no retry, no queue limit and no deadline; wrap calls in `within`.
 */
import { connect as connectTcp, type Socket } from 'node:net';
import { type ConnectionOptions, connect as connectTls } from 'node:tls';

export interface RawAddress {
  host?: string;
  port?: number;
  path?: string;
  tls?: ConnectionOptions;
  username?: string;
  password?: string;
}

export type RawArgument = string | number | Uint8Array;
/** A reply with bulk strings as text (`call`) or as buffers (`callBuffers`); a RESP3 map is a `Map`. */
export type RawReply = string | number | bigint | boolean | null | Buffer | RawError | RawReply[] | Map<RawReply, RawReply>;

/** An error reply of the server, or the loss of the connection. */
export class RawError extends Error {
  override readonly name = 'RawError';
}

interface Waiting {
  resolve(reply: RawReply): void;
  reject(error: Error): void;
}

export class RawClient implements AsyncDisposable {
  /** Called with each push message (RESP3), and with each reply that belongs to no waiting call (pub/sub, MONITOR). */
  onPush: ((reply: RawReply) => void) | undefined;
  readonly #socket: Socket;
  readonly #waiting: Waiting[] = [];
  #received: Buffer = Buffer.alloc(0);
  #lost: RawError | undefined;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.setNoDelay(true);
    socket.on('data', (chunk: Buffer) => this.#read(chunk));
    socket.on('error', (error) => this.#lose(new RawError(error.message, { cause: error })));
    socket.on('close', () => this.#lose(new RawError('connection closed')));
  }

  /**
   * Connects, and authenticates if a password is given. Rejects with the error of the socket or the server. `onOpen` is called before the first byte.
   */
  static async connect(address: RawAddress, onOpen?: (localPort: number) => void): Promise<RawClient> {
    const where = address.path ? { path: address.path } : { host: address.host ?? '127.0.0.1', port: address.port ?? 6379 };
    const socket = address.tls ? connectTls({ ...where, ...address.tls }) : connectTcp(where);
    await new Promise<void>((resolve, reject) => {
      socket.once('error', reject);
      socket.once(address.tls ? 'secureConnect' : 'connect', () => {
        socket.off('error', reject);
        resolve();
      });
    });
    const client = new RawClient(socket);
    onOpen?.(client.localPort);
    if (address.password !== undefined) {
      await client.call('AUTH', ...(address.username ? [address.username] : []), address.password).catch((error) => {
        client.destroy();
        throw error;
      });
    }
    return client;
  }

  /** The local port of the connection; 0 on a Unix socket. */
  get localPort(): number {
    return this.#socket.localPort ?? 0;
  }

  /** One command; bulk strings of the reply are decoded as UTF-8. An error reply rejects. */
  async call(name: string, ...args: RawArgument[]): Promise<RawReply> {
    return decode(await this.callBuffers(name, ...args));
  }

  /** One command; bulk strings of the reply are buffers. An error reply rejects. */
  callBuffers(name: string, ...args: RawArgument[]): Promise<RawReply> {
    return new Promise((resolve, reject) => {
      if (this.#lost) return reject(this.#lost);
      this.#waiting.push({ resolve, reject });
      this.#socket.write(encode([name, ...args]));
    });
  }

  /** Sends bytes as they are, for malformed requests. */
  write(bytes: string | Uint8Array): void {
    this.#socket.write(bytes);
  }

  /** Closes the connection at once. Waiting calls reject. */
  destroy(): void {
    this.#socket.destroy();
    this.#lose(new RawError('connection closed'));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.destroy();
  }

  #lose(error: RawError): void {
    this.#lost ??= error;
    for (const waiting of this.#waiting.splice(0)) waiting.reject(this.#lost);
  }

  #read(chunk: Buffer): void {
    this.#received = this.#received.length === 0 ? chunk : Buffer.concat([this.#received, chunk]);
    let at = 0;
    for (;;) {
      const parsed = parse(this.#received, at);
      if (!parsed) break;
      const push = this.#received[at] === 0x3e;
      at = parsed.end;
      const waiting = push ? undefined : this.#waiting.shift();
      if (!waiting) this.onPush?.(decode(parsed.reply));
      else if (parsed.reply instanceof RawError) waiting.reject(parsed.reply);
      else waiting.resolve(parsed.reply);
    }
    this.#received = this.#received.subarray(at);
  }
}

/** The bytes of a request: an array of bulk strings. */
export function encode(args: readonly RawArgument[]): Buffer {
  const parts: Buffer[] = [Buffer.from(`*${args.length}\r\n`)];
  for (const arg of args) {
    const bytes = typeof arg === 'object' ? Buffer.from(arg) : Buffer.from(String(arg));
    parts.push(Buffer.from(`$${bytes.length}\r\n`), bytes, Buffer.from('\r\n'));
  }
  return Buffer.concat(parts);
}

/** The reply that starts at `at`; `undefined` if it is not complete yet. */
export function parse(bytes: Buffer, at = 0): { reply: RawReply; end: number } | undefined {
  const lineEnd = bytes.indexOf('\r\n', at);
  if (lineEnd < 0) return undefined;
  const type = String.fromCharCode(bytes[at] as number);
  const line = bytes.toString('utf8', at + 1, lineEnd);
  const end = lineEnd + 2;
  switch (type) {
    case '+':
      return { reply: line, end };
    case '-':
      return { reply: new RawError(line), end };
    case ':':
      return { reply: Number(line), end };
    case ',':
      return { reply: line === 'inf' ? Infinity : line === '-inf' ? -Infinity : Number(line), end };
    case '(':
      return { reply: BigInt(line), end };
    case '#':
      return { reply: line === 't', end };
    case '_':
      return { reply: null, end };
    case '$':
    case '=':
    case '!': {
      const length = Number(line);
      if (length < 0) return { reply: null, end };
      if (bytes.length < end + length + 2) return undefined;
      const body = Buffer.from(bytes.subarray(end, end + length));
      const reply = type === '!' ? new RawError(body.toString()) : type === '=' ? body.subarray(4) : body;
      return { reply, end: end + length + 2 };
    }
    case '*':
    case '~':
    case '>':
      return parseItems(bytes, end, Number(line));
    case '%': {
      const flat = parseItems(bytes, end, Number(line) * 2);
      if (!flat) return undefined;
      const items = flat.reply as RawReply[];
      const map = new Map<RawReply, RawReply>();
      for (let i = 0; i < items.length; i += 2) map.set(decode(items[i] as RawReply), items[i + 1] as RawReply);
      return { reply: map, end: flat.end };
    }
    default:
      throw new RawError(`not a RESP reply: ${JSON.stringify(bytes.toString('latin1', at, at + 40))}`);
  }
}

function parseItems(bytes: Buffer, start: number, count: number): { reply: RawReply; end: number } | undefined {
  if (count < 0) return { reply: null, end: start };
  const items: RawReply[] = [];
  let at = start;
  for (let i = 0; i < count; i += 1) {
    const item = parse(bytes, at);
    if (!item) return undefined;
    items.push(item.reply);
    at = item.end;
  }
  return { reply: items, end: at };
}

function decode(reply: RawReply): RawReply {
  if (Buffer.isBuffer(reply)) return reply.toString();
  if (Array.isArray(reply)) return reply.map(decode);
  if (reply instanceof Map) return new Map([...reply].map(([key, value]) => [decode(key), decode(value)]));
  return reply;
}

/**
 * A TCP proxy that breaks connections on purpose.
 *
 * It forwards each accepted connection to one target. `set` sets the faults of each direction, at any
 * time; a change affects open connections at once. Random choices come from a seed, so that a run
 * can be repeated.
 */
import { connect, createServer, type NetConnectOpts, type Server, type Socket } from 'node:net';
import { freePort } from './port.ts';
import { Random } from './random.ts';

/** A fixed number, or a range from which each use draws one. */
export type Amount = number | readonly [min: number, max: number];

/** The faults of one direction. Byte counts start at 0 for each connection and after each `set`. */
export interface LaneFaults {
  /** Hold each piece for this many milliseconds before it is forwarded. */
  delayMs?: Amount;
  /** Forward at most this many bytes at a time, each piece in its own write (and packet). */
  pieceBytes?: Amount;
  /** Forward nothing, not even closes, until this fault is lifted. Then the held bytes are forwarded. */
  blackHole?: boolean;
  /** Forward this many bytes, then end both sides of the connection. */
  cutAfterBytes?: Amount;
  /** Forward this many bytes, then drop the rest of the current chunk and reset both sides. */
  dropAfterBytes?: Amount;
  /** Forward this many bytes, then send FIN in this direction; the other direction goes on. */
  halfCloseAfterBytes?: Amount;
}

export interface Faults {
  /** From the client to the server. */
  up?: LaneFaults;
  /** From the server to the client. */
  down?: LaneFaults;
  /** Accept new connections, but neither connect them to the server nor answer. */
  silent?: boolean;
}

export interface Counters {
  /** Connections accepted since the start. */
  accepted: number;
  /** Connections open now. */
  open: number;
  /** Bytes forwarded to the server and to the client. */
  up: number;
  down: number;
  /** Bytes that were swallowed. */
  dropped: number;
}

export class TcpProxy implements AsyncDisposable {
  readonly host = '127.0.0.1';
  readonly port: number;
  readonly counters: Counters = { accepted: 0, open: 0, up: 0, down: 0, dropped: 0 };
  readonly #target: { host?: string; port?: number; path?: string };
  readonly #random: Random;
  readonly #pairs = new Set<Pair>();
  #faults: Faults = {};
  #server: Server | undefined;

  private constructor(target: { host?: string; port?: number; path?: string }, port: number, seed: number) {
    this.#target = target;
    this.port = port;
    this.#random = new Random(seed);
  }

  /** Starts a proxy for `target` on a port of its own. */
  static async start(target: { host?: string; port?: number; path?: string }, options: { seed?: number } & Faults = {}): Promise<TcpProxy> {
    const { seed = 1, ...faults } = options;
    const proxy = new TcpProxy(target, await freePort(), seed);
    proxy.#faults = faults;
    await proxy.accept();
    return proxy;
  }

  /** The seed, to be named in a failing test's message. */
  get seed(): number {
    return this.#random.seed;
  }

  get url(): string {
    return `redis://${this.host}:${this.port}`;
  }

  /** Replaces all faults. Byte counts start at 0, also on open connections. */
  set(faults: Faults): void {
    this.#faults = faults;
    for (const pair of this.#pairs) pair.apply(faults, this.#random);
  }

  /** Lifts every fault. Connections that were held go on where they stopped. */
  heal(): void {
    this.set({});
  }

  /** Stops listening: new connections are refused, open ones stay. */
  async refuse(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    // Not awaited: `close` calls back only when the last open connection has ended.
    server?.close();
  }

  /** Listens (again). */
  async accept(): Promise<void> {
    if (this.#server) return;
    const server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => this.#open(client));
    this.#server = server;
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(this.port, this.host, resolve);
    });
  }

  /** Resets (RST) every open connection on both sides. */
  reset(): void {
    for (const pair of [...this.#pairs]) pair.reset();
  }

  /** Ends (FIN) every open connection on both sides. */
  cut(): void {
    for (const pair of [...this.#pairs]) pair.cut();
  }

  /** Stops listening, and resets the open connections. After that the proxy has no open handle. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.refuse();
    this.reset();
  }

  #open(client: Socket): void {
    this.counters.accepted += 1;
    this.counters.open += 1;
    const server = this.#faults.silent ? undefined : connect({ ...this.#target, allowHalfOpen: true, noDelay: true } as NetConnectOpts);
    const pair = new Pair(client, server, this.counters);
    this.#pairs.add(pair);
    pair.closed.then(() => {
      this.counters.open -= 1;
      this.#pairs.delete(pair);
    });
    pair.apply(this.#faults, this.#random);
  }
}

/** One accepted connection and the one made for it. */
class Pair {
  readonly closed: Promise<void>;
  readonly #sockets: Socket[];
  readonly #lanes: { up: Lane; down: Lane } | undefined;

  constructor(client: Socket, server: Socket | undefined, counters: Counters) {
    this.#sockets = server ? [client, server] : [client];
    if (server) {
      const ends = { cut: () => this.cut(), reset: () => this.reset() };
      const count = (way: 'up' | 'down') => ({
        forwarded: (bytes: number) => {
          counters[way] += bytes;
        },
        dropped: (bytes: number) => {
          counters.dropped += bytes;
        },
      });
      this.#lanes = {
        up: new Lane(client, server, ends, count('up')),
        down: new Lane(server, client, ends, count('down')),
      };
    } else {
      client.resume();
      client.on('end', () => client.end());
      client.on('error', () => client.destroy());
    }
    this.closed = Promise.all(this.#sockets.map((socket) => new Promise((resolve) => socket.once('close', resolve)))).then(() => {});
  }

  apply(faults: Faults, random: Random): void {
    this.#lanes?.up.apply(faults.up ?? {}, random);
    this.#lanes?.down.apply(faults.down ?? {}, random);
  }

  cut(): void {
    this.#lanes?.up.stop();
    this.#lanes?.down.stop();
    for (const socket of this.#sockets) {
      socket.resume();
      socket.destroySoon();
    }
  }

  reset(): void {
    this.#lanes?.up.stop();
    this.#lanes?.down.stop();
    for (const socket of this.#sockets) {
      // A socket whose FIN is on its way cannot be reset: the attempt would leave it open.
      if (!socket.connecting && !socket.writableEnded) socket.resetAndDestroy();
      // `resetAndDestroy()` alone would wait until the written bytes are sent, which never happens if the peer does not read.
      socket.destroy();
    }
  }
}

/** The action of a direction that has forwarded its number of bytes. */
type Limit = { bytes: number; act: 'cut' | 'drop' | 'half-close' };

interface Ends {
  cut(): void;
  reset(): void;
}

interface Count {
  forwarded(bytes: number): void;
  dropped(bytes: number): void;
}

/** The bytes from one socket to another, in order, one piece at a time. */
class Lane {
  readonly #queue: Buffer[] = [];
  readonly #to: Socket;
  readonly #from: Socket;
  readonly #ends: Ends;
  readonly #count: Count;
  #faults: LaneFaults = {};
  #random = new Random(0);
  #limit: Limit | undefined;
  #sourceEnded: 'fin' | 'reset' | undefined;
  #finished = false;
  #moving = false;
  #wake: (() => void) | undefined;

  constructor(from: Socket, to: Socket, ends: Ends, count: Count) {
    this.#from = from;
    this.#to = to;
    this.#ends = ends;
    this.#count = count;
    from.on('data', (chunk: Buffer) => {
      this.#queue.push(chunk);
      // At most one chunk waits here: a slow or frozen receiver slows the sender down, as without a proxy.
      from.pause();
      void this.#move();
    });
    from.on('end', () => {
      this.#sourceEnded = 'fin';
      void this.#move();
    });
    from.on('error', () => {
      this.#sourceEnded = 'reset';
      this.#queue.length = 0;
      this.#wake?.();
      void this.#move();
    });
  }

  apply(faults: LaneFaults, random: Random): void {
    this.#faults = faults;
    this.#random = random;
    this.#limit = this.#drawLimit();
    this.#wake?.();
    void this.#move();
  }

  stop(): void {
    this.#finished = true;
    this.#wake?.();
  }

  #drawLimit(): Limit | undefined {
    const { cutAfterBytes, dropAfterBytes, halfCloseAfterBytes } = this.#faults;
    if (cutAfterBytes !== undefined) return { bytes: this.#draw(cutAfterBytes), act: 'cut' };
    if (dropAfterBytes !== undefined) return { bytes: this.#draw(dropAfterBytes), act: 'drop' };
    if (halfCloseAfterBytes !== undefined) return { bytes: this.#draw(halfCloseAfterBytes), act: 'half-close' };
    return undefined;
  }

  /** Forwards waiting bytes until none can be forwarded now. At most one call runs at a time. */
  async #move(): Promise<void> {
    if (this.#moving) return;
    this.#moving = true;
    while (!this.#finished && !this.#faults.blackHole) {
      if (this.#limit?.bytes === 0 && (this.#limit.act !== 'drop' || this.#queue.length > 0)) {
        this.#reachLimit(this.#limit.act);
        break;
      }
      const chunk = this.#queue.shift();
      if (!chunk) {
        if (this.#sourceEnded) {
          this.#finished = true;
          if (this.#sourceEnded === 'fin') this.#to.end();
          else this.#ends.reset();
        } else {
          this.#from.resume();
        }
        break;
      }
      await this.#forward(chunk);
    }
    this.#moving = false;
  }

  /** Forwards one piece of `chunk` and puts the rest back. */
  async #forward(chunk: Buffer): Promise<void> {
    if (this.#faults.delayMs !== undefined) {
      const faults = this.#faults;
      await this.#sleep(this.#draw(this.#faults.delayMs));
      if (faults !== this.#faults || this.#finished) {
        this.#queue.unshift(chunk);
        return;
      }
    }
    const most = Math.min(
      this.#faults.pieceBytes === undefined ? chunk.length : Math.max(1, this.#draw(this.#faults.pieceBytes)),
      this.#limit?.bytes ?? chunk.length,
    );
    const piece = chunk.subarray(0, most);
    if (piece.length < chunk.length) this.#queue.unshift(chunk.subarray(most));
    if (this.#limit) this.#limit.bytes -= piece.length;
    this.#count.forwarded(piece.length);
    // The callback comes when the kernel has the bytes, so each piece is its own write.
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
      this.#to.write(piece, () => resolve());
    });
    // One turn of the event loop, so that a receiver in this process reads the piece before the next piece arrives.
    if (this.#faults.pieceBytes !== undefined) await new Promise((resolve) => setImmediate(resolve));
  }

  #reachLimit(act: Limit['act']): void {
    this.#finished = true;
    if (act === 'cut') {
      this.#ends.cut();
      return;
    }
    if (act === 'drop') {
      this.#count.dropped(this.#queue.reduce((sum, chunk) => sum + chunk.length, 0));
      this.#ends.reset();
      return;
    }
    this.#to.end();
    // Further bytes are read and dropped, so that the sender never blocks.
    this.#from.removeAllListeners('data').on('data', (chunk: Buffer) => this.#count.dropped(chunk.length));
    this.#from.resume();
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  #draw(amount: Amount): number {
    return typeof amount === 'number' ? amount : this.#random.between(amount[0], amount[1]);
  }
}

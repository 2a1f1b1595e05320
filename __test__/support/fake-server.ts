/**
 * A fake Redis server, for answers that a real server cannot be made to give. It reads commands, and writes the bytes that the test returns.
 */
import { createServer, type Socket } from 'node:net';

/** Returns the answer to a command as bytes of the protocol; `undefined` for no answer yet. */
export type Respond = (words: string[], socket: Socket) => string | Buffer | undefined;

export class FakeServer implements AsyncDisposable {
  readonly url: string;
  /** The number of accepted connections. */
  accepted = 0;
  readonly #end: () => Promise<void>;

  private constructor(port: number, end: () => Promise<void>) {
    this.url = `redis://127.0.0.1:${port}`;
    this.#end = end;
  }

  /** Starts a server. `respond` is called with each command. If it returns `undefined` for a command of the handshake, or for `PING`, Redis' answer is sent. */
  static async start(respond: Respond): Promise<FakeServer> {
    const sockets = new Set<Socket>();
    const server = createServer((socket) => {
      fake.accepted += 1;
      sockets.add(socket);
      let received = Buffer.alloc(0);
      socket.on('error', () => {});
      socket.on('close', () => sockets.delete(socket));
      socket.on('data', (chunk) => {
        received = Buffer.concat([received, chunk]);
        for (let command = take(received); command !== undefined; command = take(received)) {
          received = received.subarray(command.size);
          const reply = respond(command.words, socket) ?? handshakeAnswer(command.words);
          if (reply !== undefined) socket.write(reply);
        }
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as { port: number };
    const fake = new FakeServer(port, async () => {
      const closed = new Promise((resolve) => server.close(resolve));
      for (const socket of sockets) socket.destroy();
      await closed;
    });
    return fake;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#end();
  }
}

function handshakeAnswer([name]: string[]): string | undefined {
  if (name === 'HELLO') return '%3\r\n+server\r\n+redis\r\n+version\r\n+7.4.0\r\n+role\r\n+master\r\n';
  if (name === 'PING') return '+PONG\r\n';
  return name === 'CLIENT' || name === 'SELECT' ? '+OK\r\n' : undefined;
}

/** The first whole command of `bytes`, and its size. */
function take(bytes: Buffer): { words: string[]; size: number } | undefined {
  let at = 0;
  const number = (): number | undefined => {
    const end = bytes.indexOf('\r\n', at);
    if (end < 0) return undefined;
    const text = bytes.toString('latin1', at + 1, end);
    at = end + 2;
    return Number(text);
  };
  const count = number();
  const words: string[] = [];
  for (let left = count ?? 0; left > 0; left--) {
    const length = number();
    if (length === undefined || bytes.length < at + length + 2) return undefined;
    words.push(bytes.toString('utf8', at, at + length));
    at += length + 2;
  }
  return count === undefined ? undefined : { words, size: at };
}

import { createServer, type Server, type Socket, connect as tcpConnect } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { freePort } from './port.ts';
import { type Faults, TcpProxy } from './tcp-proxy.ts';
import { until } from './until.ts';

/** An echo server that notes how each of its connections ended. */
let echo: Server;
let echoPort: number;
let served: Peer[];
let clients: Peer[];
let proxy: TcpProxy;

class Peer {
  received = Buffer.alloc(0);
  pieces: number[] = [];
  finished = false;
  closed = false;
  error: string | undefined;

  constructor(readonly socket: Socket) {
    socket.on('data', (chunk: Buffer) => {
      this.received = Buffer.concat([this.received, chunk]);
      this.pieces.push(chunk.length);
    });
    socket.on('end', () => {
      this.finished = true;
    });
    socket.on('error', (error: NodeJS.ErrnoException) => {
      this.error = error.code;
    });
    socket.on('close', () => {
      this.closed = true;
    });
  }

  async receives(text: string): Promise<void> {
    await until(() => this.received.toString() === text, {
      timeoutMs: 2_000,
      what: () => `${JSON.stringify(text)}; came: ${JSON.stringify(this.received.toString())}`,
    });
  }
}

async function start(faults: Faults & { seed?: number } = {}): Promise<void> {
  proxy = await TcpProxy.start({ port: echoPort }, faults);
}

async function open(): Promise<Peer> {
  const socket = tcpConnect({ port: proxy.port, host: proxy.host, allowHalfOpen: true, noDelay: true });
  const peer = new Peer(socket);
  clients.push(peer);
  await until(() => socket.readyState === 'open' || peer.error, { what: 'the connection' });
  return peer;
}

beforeEach(async () => {
  served = [];
  clients = [];
  echoPort = await freePort();
  echo = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    served.push(new Peer(socket));
    socket.on('data', (chunk) => socket.write(chunk));
    socket.on('end', () => socket.end());
  });
  await new Promise<void>((resolve) => echo.listen(echoPort, '127.0.0.1', resolve));
});

afterEach(async () => {
  for (const peer of [...clients, ...served]) peer.socket.destroy();
  await proxy[Symbol.asyncDispose]();
  await new Promise((resolve) => echo.close(resolve));
  await until(() => proxy.counters.open === 0, { what: 'the proxy to hold no connection' });
});

describe('the fault proxy', () => {
  it('forwards both ways and counts connections and bytes', async () => {
    await start();
    const peer = await open();
    peer.socket.write('hello');
    await peer.receives('hello');
    expect(proxy.counters).toEqual({ accepted: 1, open: 1, up: 5, down: 5, dropped: 0 });
    peer.socket.end();
    await until(() => proxy.counters.open === 0, { what: 'the close to go through' });
    expect(peer.finished).toBe(true);
    expect(served[0]?.finished).toBe(true);
  });

  it('passes a megabyte in pieces of random size unharmed', async () => {
    await start({ seed: 42, up: { pieceBytes: [1_000, 9_000] }, down: { pieceBytes: [1_000, 9_000] } });
    const peer = await open();
    const sent = Buffer.alloc(1_000_000, 'abcdefghijk');
    peer.socket.write(sent);
    await until(() => peer.received.length === sent.length, { what: 'all of it' });
    expect(peer.received.equals(sent)).toBe(true);
  });

  it('throttles to one byte at a time', async () => {
    await start({ down: { pieceBytes: 1 } });
    const peer = await open();
    peer.socket.write('0123456789');
    await peer.receives('0123456789');
    expect(Math.max(...peer.pieces)).toBeLessThan(10);
    expect(served[0]?.pieces).toEqual([10]);
  });

  it('delays', async () => {
    await start({ down: { delayMs: 60 } });
    const peer = await open();
    const begun = performance.now();
    peer.socket.write('x');
    await peer.receives('x');
    expect(performance.now() - begun).toBeGreaterThan(55);
  });

  it('cuts after the given number of bytes to the client', async () => {
    await start({ down: { cutAfterBytes: 3 } });
    const peer = await open();
    peer.socket.write('hello');
    await peer.receives('hel');
    await until(() => peer.finished && served[0]?.finished, { what: 'both ends to see the end' });
  });

  it('cuts after the given number of bytes to the server', async () => {
    await start({ up: { cutAfterBytes: 2 } });
    const peer = await open();
    peer.socket.write('hello');
    await until(() => served[0]?.finished && peer.finished, { what: 'both ends to see the end' });
    expect(served[0]?.received.toString()).toBe('he');
  });

  it('cuts before the first byte', async () => {
    await start({ up: { cutAfterBytes: 0 } });
    const peer = await open();
    await until(() => peer.finished, { what: 'the end' });
    expect(peer.received.length).toBe(0);
  });

  it('swallows requests in a black hole towards the server, and lets them go when it is lifted', async () => {
    await start({ up: { blackHole: true } });
    const peer = await open();
    peer.socket.write('request');
    await until(() => served.length === 1, { what: 'the connection to the server' });
    expect(proxy.counters.up).toBe(0);
    proxy.heal();
    await peer.receives('request');
  });

  it('lets requests through while replies fall into a black hole, even when the server then dies', async () => {
    await start();
    const peer = await open();
    peer.socket.write('a');
    await peer.receives('a');
    proxy.set({ down: { blackHole: true } });
    peer.socket.write('b');
    await until(() => served[0]?.received.toString() === 'ab', { what: 'the request to arrive' });
    served[0]?.socket.resetAndDestroy();
    await until(() => served[0]?.closed, { what: 'the server side to be gone' });
    expect(peer).toMatchObject({ finished: false, closed: false, error: undefined });
    proxy.heal();
    await until(() => peer.error === 'ECONNRESET' || peer.finished, { what: 'the news to arrive' });
  });

  it('drops replies, then resets: the request was carried out, the client cannot know', async () => {
    await start();
    const peer = await open();
    peer.socket.write('get');
    await peer.receives('get');
    proxy.set({ down: { dropAfterBytes: 0 } });
    peer.socket.write('incr');
    await until(() => peer.closed, { what: 'the reset' });
    expect(peer.error).toBe('ECONNRESET');
    expect(peer.received.toString()).toBe('get');
    expect(served[0]?.received.toString()).toBe('getincr');
    expect(proxy.counters).toMatchObject({ down: 3, dropped: 4 });
  });

  it('half-closes towards the client while requests still arrive', async () => {
    await start({ down: { halfCloseAfterBytes: 2 } });
    const peer = await open();
    peer.socket.write('hello');
    await until(() => peer.finished, { what: 'the half-close' });
    expect(peer.received.toString()).toBe('he');
    peer.socket.write(' again');
    await until(() => served[0]?.received.toString() === 'hello again', { what: 'the later request' });
  });

  it('accepts and stays silent', async () => {
    await start({ silent: true });
    const peer = await open();
    peer.socket.write('anybody?');
    await until(() => proxy.counters.accepted === 1, { what: 'the connection' });
    expect(served).toEqual([]);
    expect(peer.received.length).toBe(0);
  });

  it('refuses new connections and leaves open ones alone, until it accepts again', async () => {
    await start();
    const early = await open();
    await proxy.refuse();
    const late = await open();
    expect(late.error).toBe('ECONNREFUSED');
    early.socket.write('still here');
    await early.receives('still here');
    await proxy.accept();
    const later = await open();
    later.socket.write('back');
    await later.receives('back');
  });

  it('resets and cuts everything open on demand', async () => {
    await start();
    const one = await open();
    await until(() => served.length === 1, { what: 'the first connection' });
    proxy.reset();
    await until(() => one.error === 'ECONNRESET', { what: 'the reset' });
    const two = await open();
    await until(() => served.length === 2, { what: 'the second connection' });
    proxy.cut();
    await until(() => two.finished, { what: 'the end' });
    expect(two.error).toBeUndefined();
  });

  it('passes the refusal of its target on as a reset', async () => {
    await start();
    await new Promise((resolve) => echo.close(resolve));
    const peer = await open();
    await until(() => peer.closed, { what: 'the reset' });
    await new Promise<void>((resolve) => echo.listen(echoPort, '127.0.0.1', resolve));
  });
});

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { encode, parse, RawError } from './raw-client.ts';
import { RedisServer } from './redis-server.ts';
import { until } from './until.ts';

let server: RedisServer;
beforeAll(async () => {
  server = await RedisServer.start();
});
afterAll(() => server[Symbol.asyncDispose]());

describe('the raw client', () => {
  it('reads a reply only when its last byte has come, wherever it is cut', () => {
    const bytes = Buffer.from('*4\r\n$5\r\nab\r\nc\r\n:42\r\n%1\r\n+k\r\n$-1\r\n-ERR no\r\n');
    for (let length = 0; length < bytes.length; length += 1) expect(parse(bytes.subarray(0, length))).toBeUndefined();
    expect(parse(bytes)).toEqual({
      reply: [Buffer.from('ab\r\nc'), 42, new Map([['k', null]]), new RawError('ERR no')],
      end: bytes.length,
    });
  });

  it('writes arguments of any bytes', () => {
    expect(encode(['SET', 'ä', Buffer.from([0, 13, 10])])).toEqual(Buffer.from('*3\r\n$3\r\nSET\r\n$2\r\nä\r\n$3\r\n\0\r\n\r\n'));
  });

  it('gives text or buffers, as asked', async () => {
    await using client = await server.connect();
    const bytes = Buffer.from([0, 255, 13, 10]);
    expect(await client.call('SET', 'k', bytes)).toBe('OK');
    expect(await client.callBuffers('GET', 'k')).toEqual(bytes);
    expect(await client.call('STRLEN', 'k')).toBe(4);
  });

  it('rejects with the error reply of the server', async () => {
    await using client = await server.connect();
    await expect(client.call('INCR')).rejects.toThrow(/wrong number of arguments/);
  });

  it('understands RESP3 maps and hands pushes on', async () => {
    await using client = await server.connect();
    const hello = await client.call('HELLO', 3);
    expect((hello as Map<string, string>).get('server')).toBe('redis');
    const pushes: unknown[] = [];
    client.onPush = (push) => pushes.push(push);
    client.write(encode(['SUBSCRIBE', 'news']));
    await until(() => pushes.length === 1, { what: 'the confirmation' });
    await server.cli('PUBLISH', 'news', 'hi');
    await until(() => pushes.length === 2, { what: 'the message' });
    expect(pushes).toEqual([
      ['subscribe', 'news', 1],
      ['message', 'news', 'hi'],
    ]);
  });

  it('rejects what is waiting when the connection is lost', async () => {
    await using client = await server.connect();
    const waiting = client.call('BLPOP', 'empty', 0);
    await until(async () => (await server.info('blocked_clients')) === '1', { what: 'the client to block' });
    client.destroy();
    await expect(waiting).rejects.toThrow('connection closed');
    await expect(client.call('PING')).rejects.toThrow('connection closed');
  });
});

import { createServer } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { checkLeaks, expectNoClients, expectNoHandlesBeyond, expectOnlyKeys, liveHandles } from './leaks.ts';
import { RawClient } from './raw-client.ts';
import { RedisServer } from './redis-server.ts';

let server: RedisServer;
beforeAll(async () => {
  server = await RedisServer.start();
});
afterAll(() => server[Symbol.asyncDispose]());

describe('the leak checks', () => {
  checkLeaks({ server: () => server, keyPrefix: () => 'mine:' });

  it('find a connection left open, and accept one of another name', async () => {
    await using client = await RawClient.connect(server);
    await client.call('CLIENT', 'SETNAME', 'left-open');
    await expect(expectNoClients(server, undefined, 50)).rejects.toThrow(/every client connection to be closed; left: .*name=left-open/);
    await expectNoClients(server, 'another-name');
  });

  it('find a key outside the namespace, and accept those within', async () => {
    await server.cli('MSET', 'mine:1', '', '{mine:q}:2', '', 'theirs', '');
    await expect(expectOnlyKeys(server, 'mine:')).rejects.toThrow(/keys outside the test's namespace mine:: "theirs"/);
    await server.cli('DEL', 'theirs');
    await expectOnlyKeys(server, 'mine:');
  });

  it('find a handle left open', async () => {
    const before = liveHandles();
    const left = createServer();
    await new Promise<void>((resolve) => left.listen(0, '127.0.0.1', resolve));
    await expect(expectNoHandlesBeyond(before, 50)).rejects.toThrow(/every handle to be closed; left: TCP/);
    await new Promise((resolve) => left.close(resolve));
    await expectNoHandlesBeyond(before);
  });
});

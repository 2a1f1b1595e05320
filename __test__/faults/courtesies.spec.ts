/** What a client says at the opening of a connection and need not say: no refusal of it costs the connection. */
import { rmSync } from 'node:fs';
import { KVStore } from 'redis-backplane';
import { describe, expect, it } from 'vitest';
import { failureOf } from '../support/failure.ts';
import { FakeServer } from '../support/fake-server.ts';
import { PATIENCE_MS, useRig } from '../support/rig.ts';
import { until } from '../support/until.ts';
import { watchedFolder } from '../support/watched.ts';

const rig = useRig();

describe('a server that cannot save', () => {
  it('serves reads over a new connection, though it answers PING with MISCONF', async () => {
    const dir = watchedFolder();
    const server = await rig.server({ config: { dir } });
    await server.cli('CONFIG', 'SET', 'save', '1 1', 'stop-writes-on-bgsave-error', 'yes');
    await server.cli('SET', 'k', '1');
    rmSync(dir, { recursive: true });
    await server.cli('BGSAVE');
    await until(
      () =>
        server.cli('PING').then(
          () => false,
          (error: Error) => error.message.startsWith('MISCONF'),
        ),
      {
        what: 'the server to find that it cannot save',
        timeoutMs: PATIENCE_MS,
      },
    );
    const manager = rig.manager(server.url);
    const kv = new KVStore(manager);
    expect(await kv.get('k')).toBe(1);
    const error = await failureOf(kv.set('k', 2));
    expect([error.redisErrorKind, error.serverCode, error.delivery]).toEqual(['server', 'MISCONF', 'rejected']);
    await server.cli('CONFIG', 'SET', 'stop-writes-on-bgsave-error', 'no', 'save', '');
  });
});

describe('a server or a proxy', () => {
  const words = ['ERR go away', 'DENIED not here', 'no such thing', 'BUSY wait', 'ERR syntax error, try CLIENT (LIST | KILL)', 'NOPERM no'];

  it.each(words)('that refuses every courtesy with "%s" is used all the same', async (refusal) => {
    await using server = await FakeServer.start(([name, key]) => (name === 'GET' ? `$1\r\n${key}\r\n` : `-${refusal}\r\n`));
    const manager = rig.manager(server.url);
    expect(await manager.command('GET', 'a')).toBe('a');
    expect(server.accepted).toBe(1);
  });

  it.each(words)('that refuses HELLO with "%s" is given the password by AUTH', async (refusal) => {
    let given = '';
    await using server = await FakeServer.start(([name, key]) => {
      if (name === 'HELLO') return `-${refusal}\r\n`;
      if (name === 'AUTH') given = key ?? '';
      return name === 'AUTH' ? '+OK\r\n' : name === 'INFO' ? '$0\r\n\r\n' : name === 'GET' ? '$1\r\na\r\n' : undefined;
    });
    const manager = rig.manager({ url: server.url, password: 'open sesame' });
    expect(await manager.command('GET', 'a')).toBe('a');
    expect(given).toBe('open sesame');
  });

  it('that wants credentials, whichever of its answers says so, is not connected to', async () => {
    for (const wanting of ['HELLO', 'CLIENT', 'PING']) {
      await using server = await FakeServer.start(([name]) => {
        if (name === wanting) return '-NOAUTH Authentication required.\r\n';
        return name === 'HELLO' || name === 'INFO' ? '-ERR unknown command\r\n' : undefined;
      });
      const error = await failureOf(rig.manager(server.url).connect());
      expect([error.redisErrorKind, error.serverCode], wanting).toEqual(['auth', 'NOAUTH']);
    }
  });

  it('that refuses the credentials is not asked twice', async () => {
    let asked = 0;
    await using server = await FakeServer.start(([name]) => {
      if (name !== 'HELLO' && name !== 'AUTH') return undefined;
      asked += 1;
      return '-WRONGPASS invalid username-password pair or user is disabled.\r\n';
    });
    const error = await failureOf(rig.manager({ url: server.url, password: 'wrong' }).connect());
    expect([error.redisErrorKind, asked]).toEqual(['auth', 1]);
  });

  it('that says why and hangs up has said why', async () => {
    await using server = await FakeServer.start((_, socket) => {
      socket.end('-ERR max number of clients reached\r\n');
      return Buffer.alloc(0);
    });
    const error = await failureOf(rig.manager(server.url).connect());
    expect(error.message).toContain('max number of clients reached');
  });

  it('that is loading its data is waited for', async () => {
    let pings = 0;
    await using server = await FakeServer.start(([name]) => {
      if (name !== 'PING' || pings > 2) return undefined;
      pings += 1;
      return '-LOADING Redis is loading the dataset in memory\r\n';
    });
    await rig.manager(server.url).connect();
    expect(pings).toBe(3);
  });
});

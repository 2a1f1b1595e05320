import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'rolldown';
import { describe, expect, it } from 'vitest';
import { certificates } from './certificates.ts';
import { startFile } from './process.ts';
import { RawClient } from './raw-client.ts';
import { processState, RedisServer, startCluster } from './redis-server.ts';
import { until, within } from './until.ts';
import { watchedFolder } from './watched.ts';

describe('a redis-server of the test', () => {
  it('answers when it has started and is gone, folder and all, when disposed of', async () => {
    const server = await RedisServer.start();
    const { pid, dir } = server;
    expect(await server.cli('PING')).toBe('PONG');
    await server[Symbol.asyncDispose]();
    expect(processState(pid)).toBeUndefined();
    expect(existsSync(dir)).toBe(false);
  });

  it('comes back on the same port after kill -9, without its data', async () => {
    await using server = await RedisServer.start();
    await server.cli('SET', 'k', 'v');
    await server.kill9();
    expect(server.running).toBe(false);
    await expect(RawClient.connect(server)).rejects.toThrow(/ECONNREFUSED/);
    await server.restart();
    expect(await server.cli('GET', 'k')).toBeNull();
  });

  it('comes back with its data when it is durable', async () => {
    await using server = await RedisServer.start({ durable: true });
    await server.cli('SET', 'k', 'v');
    await server.kill9();
    await server.restart();
    expect(await server.cli('GET', 'k')).toBe('v');
  });

  it('answers nothing while frozen and everything once thawed', async () => {
    await using server = await RedisServer.start();
    await using client = await server.connect();
    await server.freeze();
    const reply = client.call('PING');
    await expect(within(50, reply)).rejects.toThrow('timed out');
    server.thaw();
    expect(await reply).toBe('PONG');
  });

  it('stops even when it is frozen', async () => {
    await using server = await RedisServer.start();
    await server.freeze();
    await server.stop();
    expect(server.running).toBe(false);
  });

  it('demands its password and still lets the harness in', async () => {
    await using server = await RedisServer.start({ password: 's3cret' });
    await using stranger = await RawClient.connect(server);
    await expect(stranger.call('PING')).rejects.toThrow(/NOAUTH/);
    await using known = await RawClient.connect({ port: server.port, password: 's3cret' });
    expect(await known.call('PING')).toBe('PONG');
    expect(server.url).toContain(':s3cret@');
  });

  it('keeps a user to the permissions of its ACL line', async () => {
    await using server = await RedisServer.start({ acl: ['alice on >pw ~app:* +get'] });
    await using alice = await RawClient.connect({ port: server.port, username: 'alice', password: 'pw' });
    expect(await alice.call('GET', 'app:1')).toBeNull();
    await expect(alice.call('GET', 'other')).rejects.toThrow(/NOPERM/);
  });

  it('listens on a Unix socket', async () => {
    await using server = await RedisServer.start({ unixSocket: true });
    await using client = await RawClient.connect({ path: server.socketPath });
    expect(await client.call('PING')).toBe('PONG');
  });

  it('speaks TLS with a certificate that only its authority vouches for', async () => {
    await using server = await RedisServer.start({ tls: true });
    const { ca, strangerCa } = await certificates();
    await using client = await RawClient.connect({ port: server.port, tls: { ca: ca.cert } });
    expect(await client.call('PING')).toBe('PONG');
    await expect(RawClient.connect({ port: server.port, tls: { ca: strangerCa.cert } })).rejects.toThrow(/certificate/);
  });

  it('refuses a client without a certificate when TLS is mutual', async () => {
    await using server = await RedisServer.start({ tls: 'mutual' });
    const { ca, client } = await certificates();
    await using known = await RawClient.connect({
      port: server.port,
      tls: { ca: ca.cert, cert: client.cert, key: client.key },
    });
    expect(await known.call('PING')).toBe('PONG');
    // In TLS 1.3 the handshake ends for the client before the server has looked at its certificate.
    const stranger = RawClient.connect({ port: server.port, tls: { ca: ca.cert } }).then((c) => c.call('PING'));
    await expect(stranger).rejects.toThrow();
  });

  it('runs out of the memory it was given', async () => {
    await using server = await RedisServer.start({ maxmemory: '1kb' });
    await expect(server.cli('SET', 'k', 'v')).rejects.toThrow(/OOM/);
  });

  it('lists clients without the harness, and keys of every database', async () => {
    await using server = await RedisServer.start();
    await using client = await RawClient.connect(server);
    await client.call('CLIENT', 'SETNAME', 'app');
    await client.call('SELECT', 3);
    await client.call('SET', 'k', 'v');
    expect(await server.clients()).toMatchObject([{ name: 'app', db: '3' }]);
    expect(await server.keys()).toEqual([{ db: 3, key: 'k' }]);
    expect(await server.calls('set')).toBe(1);
  });

  it('records what clients send, and not what the harness does', async () => {
    await using server = await RedisServer.start();
    await using monitor = await server.monitor();
    await using client = await RawClient.connect(server);
    await server.cli('SET', 'mine', '1');
    await client.call('SET', 'a "quoted"\n ä', '2');
    expect(await monitor.commands()).toEqual([
      { from: `127.0.0.1:${client.localPort}`, db: 0, name: 'SET', args: ['a "quoted"\n ä', '2'] },
    ]);
  });

  it('becomes a replica, and a sentinel knows its master', async () => {
    await using master = await RedisServer.start();
    await using replica = await RedisServer.start();
    await replica.replicaOf(master);
    await master.cli('SET', 'k', 'v');
    await until(async () => (await replica.cli('GET', 'k')) === 'v', { what: 'the write to arrive' });
    await using sentinel = await RedisServer.start({ sentinel: { name: 'main', server: master } });
    expect(await sentinel.cli('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', 'main')).toEqual(['127.0.0.1', String(master.port)]);
  });

  it('forms a cluster that serves every slot', async () => {
    const nodes = await startCluster(3);
    try {
      for (const node of nodes) expect(await node.cli('CLUSTER', 'INFO')).toContain('cluster_slots_ok:16384');
    } finally {
      await Promise.all(nodes.map((node) => node[Symbol.asyncDispose]()));
    }
  });

  it('fails with the end of the log when its configuration is wrong', async () => {
    await expect(RedisServer.start({ config: { maxmemory: 'plenty' } })).rejects.toThrow(
      /redis-server ended with 1 while starting:.*maxmemory plenty/s,
    );
  });

  it('says what to install when there is no redis-server', async () => {
    const { PATH } = process.env;
    process.env.PATH = '/nowhere';
    try {
      await expect(RedisServer.start()).rejects.toThrow(
        /redis-server is not installed.*apt-get install -y redis-server.*apk add redis.*brew install redis/s,
      );
    } finally {
      process.env.PATH = PATH;
    }
  });

  it('dies with the process that started it, even when that is killed', async () => {
    const folder = watchedFolder();
    const bundle = join(folder, 'start-server.mjs');
    await build({
      input: join(import.meta.dirname, 'redis-server.ts'),
      output: { file: bundle },
      platform: 'node',
      logLevel: 'silent',
      write: true,
    });
    const starter = join(folder, 'main.mjs');
    writeFileSync(
      starter,
      `import { RedisServer } from './start-server.mjs';
const { pid, dir } = await RedisServer.start();
console.log('\u0001' + JSON.stringify({ pid, dir }));
setInterval(() => {}, 1_000);`,
    );
    const child = startFile(starter);
    const { pid, dir } = await child.line<{ pid: number; dir: string }>();
    expect(processState(pid)).toMatch(/[RS]/);
    await child.kill9();
    await until(() => processState(pid) === undefined && !existsSync(dir), {
      what: 'the server to die with its owner',
    });
  });
});

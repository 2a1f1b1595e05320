/** Other programs on the same topics: ioredis, node-redis and redis-cli, both ways. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { Redis } from 'ioredis';
import { createClient } from 'redis';
import { createEnvelope, type Envelope, isEnvelope, MessageBus } from 'redis-backplane';
import { describe, expect, test } from 'vitest';
import { arrive, collectFrom, listenTo } from './support/live-bus.ts';
import type { RedisServer } from './support/redis-server.ts';
import { useRig } from './support/rig.ts';
import { until } from './support/until.ts';

const rig = useRig();

interface Other extends AsyncDisposable {
  publish(channel: string, payload: string | Buffer): Promise<number>;
  /** What comes on a channel, as bytes. */
  subscribe(channel: string, got: Buffer[]): Promise<void>;
}

const others: Record<string, (server: RedisServer) => Promise<Other>> = {
  async ioredis(server) {
    const [pub, sub] = [new Redis(server.port, server.host), new Redis(server.port, server.host)];
    return {
      publish: (channel, payload) => pub.publish(channel, payload),
      async subscribe(channel, got) {
        sub.on('messageBuffer', (_, payload) => got.push(payload));
        await sub.subscribe(channel);
      },
      async [Symbol.asyncDispose]() {
        await Promise.all([pub.quit(), sub.quit()]);
      },
    };
  },
  async 'node-redis'(server) {
    const [pub, sub] = [createClient({ url: server.url }), createClient({ url: server.url })];
    await Promise.all([pub.connect(), sub.connect()]);
    return {
      publish: (channel, payload) => pub.publish(channel, payload),
      async subscribe(channel, got) {
        await sub.subscribe(channel, (payload) => void got.push(payload as unknown as Buffer), true);
      },
      async [Symbol.asyncDispose]() {
        await Promise.all([pub.close(), sub.close()]);
      },
    };
  },
};

describe.each(Object.keys(others))('%s', (name) => {
  const open = others[name] as (server: RedisServer) => Promise<Other>;

  test('publishes raw JSON, a bare envelope, {msg}, garbage and binary, and each is what it is', async () => {
    const server = await rig.server();
    await using other = await open(server);
    const bus = new MessageBus(rig.manager({ url: server.url, namespace: 'app' }));
    const events = listenTo(bus);
    const got = await collectFrom(bus, 't');
    const envelope = createEnvelope('kind', { n: 1 }, 'corr', 'tenant');
    const good = [
      JSON.stringify({ raw: ['JSON', 'ü'] }),
      JSON.stringify(envelope),
      JSON.stringify({ msg: envelope }),
      JSON.stringify({ key: 'k', msg: [1] }),
    ];
    const bad = ['garbage', Buffer.from([0, 255, 254, 10, 13]), ''];
    for (const payload of [...good, ...bad, '"end"']) expect(await other.publish('app:t', payload)).toBe(1);
    await arrive(got, 5);
    expect(got.map(([message]) => message.payload)).toEqual([{ raw: ['JSON', 'ü'] }, { n: 1 }, { n: 1 }, [1], 'end']);
    expect([got[1]?.[0], got[2]?.[0]]).toEqual([envelope, envelope]);
    expect(got[3]?.[1].key).toBe('k');
    expect(events.malformed).toEqual(bad.map((payload) => ({ topic: 't', bytes: payload.length })));
  });

  test('reads what we publish: {"msg":Envelope}, with the key if there is one', async () => {
    const server = await rig.server();
    await using other = await open(server);
    const bus = new MessageBus(rig.manager({ url: server.url, namespace: 'app' }));
    const got: Buffer[] = [];
    await other.subscribe('app:t', got);
    const envelope = createEnvelope('kind', { text: 'ü🙂' });
    expect(await bus.publish('t', envelope)).toBe(1);
    expect(await bus.publish('t', 'bare', { key: 'k' })).toBe(1);
    await until(() => got.length === 2, { what: 'both messages' });
    const [first, second] = got.map((bytes) => JSON.parse(bytes.toString())) as { key?: string; msg: Envelope }[];
    expect(first).toEqual({ msg: envelope });
    expect([second?.key, second?.msg.type, second?.msg.payload, isEnvelope(second?.msg)]).toEqual(['k', 't', 'bare', true]);
  });
});

describe('redis-cli', () => {
  const cli = (server: RedisServer, ...words: string[]) => promisify(execFile)('redis-cli', ['-p', String(server.port), ...words]);

  test('publishes to a handler', async () => {
    const server = await rig.server();
    const bus = new MessageBus(rig.manager({ url: server.url, namespace: 'app' }));
    const got = await collectFrom(bus, 't');
    expect((await cli(server, 'PUBLISH', 'app:t', '{"from":"the shell"}')).stdout.trim()).toBe('1');
    await arrive(got, 1);
    expect(got[0]?.[0]).toMatchObject({ type: 't', payload: { from: 'the shell' } });
  });

  test('reads what we publish', async () => {
    const server = await rig.server();
    const bus = new MessageBus(rig.manager({ url: server.url, namespace: 'app' }));
    const reading = cli(server, 'SUBSCRIBE', 'app:t');
    const envelope = createEnvelope('kind', { text: 'to the shell' });
    await until(async () => (await bus.publish('t', envelope)) === 1, { what: 'redis-cli to subscribe' });
    await until(async () => (await server.clients()).find(({ cmd }) => cmd === 'subscribe'), { what: 'its connection' });
    let out = '';
    reading.child.stdout?.on('data', (text: string) => {
      out += text;
    });
    await until(
      async () => {
        await bus.publish('t', envelope);
        return /^\{.*\n/m.test(out);
      },
      { what: 'its output' },
    );
    reading.child.kill();
    await reading.catch(() => {});
    const line = out.split('\n').find((text) => text.startsWith('{')) as string;
    expect(JSON.parse(line)).toEqual({ msg: envelope });
  });
});

/** Durable messages that a server refuses to send to the live subscribers: appended and sent, or neither. */
import { MessageBus, type RedisConnectionManager } from 'redis-backplane';
import { expect, it } from 'vitest';
import { failureOf } from '../support/failure.ts';
import { startCluster } from '../support/redis-server.ts';
import { useRig } from '../support/rig.ts';
import { until } from '../support/until.ts';

const rig = useRig();

/** Everything that `group` of `topic` is given, up to `count` messages. */
async function consumed(bus: MessageBus, topic: string, count: number): Promise<unknown[]> {
  const got: unknown[] = [];
  const unsubscribe = await bus.subscribe(topic, ({ payload }) => void got.push(payload), { group: 'g', from: 'start' });
  await until(() => got.length >= count, { what: () => `${count} messages; got ${got}` });
  await unsubscribe();
  return got;
}

/** Publishes 100 at once: each of them must be refused. */
async function expectRefused(bus: MessageBus, topic: string): Promise<void> {
  const failures = await Promise.all(Array.from({ length: 100 }, (_, n) => failureOf(bus.publish(topic, n, { durable: true }))));
  for (const { delivery } of failures) expect(delivery).toBe('rejected');
}

const keysOf = (manager: RedisConnectionManager): Promise<string[]> => manager.command('KEYS', '*');

for (const channels of ['', '&t', '&~wake:*']) {
  it(`is not appended for a user who has ${channels ? `no right but to ${channels}` : 'no right to channels'}`, async () => {
    const server = await rig.server({ acl: [`app on >secret ~* +@all resetchannels ${channels}`] });
    const own = rig.manager(server.url);
    const others = new MessageBus(own);
    const bus = new MessageBus(rig.manager({ url: server.url, username: 'app', password: 'secret' }));
    await expectRefused(bus, 't');
    expect(await keysOf(own)).toEqual([]);
    await others.publish('t', 'kept', { durable: true });
    await expectRefused(bus, 't');
    expect(await consumed(others, 't', 1)).toEqual(['kept']);
    await others.publish('t', 'last', { durable: true });
    await expectRefused(bus, 't');
    expect(await consumed(others, 't', 1)).toEqual(['last']);
  });
}

it('is put back from the dead letters all the same by a user who has no right to channels', async () => {
  const server = await rig.server({ acl: ['app on >secret ~* +@all resetchannels'] });
  const others = new MessageBus(rig.manager(server.url));
  let fails = true;
  const got: unknown[] = [];
  await others.subscribe(
    't',
    ({ payload }) => {
      if (fails) throw new Error('no');
      got.push(payload);
    },
    { group: 'g', retry: { maxAttempts: 1 } },
  );
  await others.publish('t', 'x', { durable: true });
  const letters = others.deadLetters('t', 'g');
  await until(async () => (await letters.list()).length === 1, { what: 'a dead letter' });
  fails = false;
  const bus = new MessageBus(rig.manager({ url: server.url, username: 'app', password: 'secret' }));
  expect(await bus.deadLetters('t', 'g').redrive()).toBe(1);
  await until(() => got.length === 1, { what: 'the message to be handled' });
  await others.close();
});

it('is not appended where the server has no sharded channels', async () => {
  const server = await rig.server({ config: { 'rename-command': 'SPUBLISH ""' } });
  const manager = rig.manager(server.url);
  await expectRefused(new MessageBus(manager, { sharded: true }), 't');
  expect(await keysOf(manager)).toEqual([]);
});

it('is not appended to a sharded topic of a cluster whose braces leave its stream in another slot', async () => {
  const nodes = await startCluster(3);
  try {
    const manager = rig.manager(nodes[0]?.url.replace('redis:', 'redis+cluster:') as string);
    const bus = new MessageBus(manager, { sharded: true });
    for (const topic of ['plain', '{x}y', 'a{b', 'c}d', 'e{', '{}f', 'g{h']) {
      const appended = await bus.publish(topic, 'x', { durable: true }).then(
        () => 1,
        () => 0,
      );
      await bus.subscribe(topic, () => {}, { group: 'g', from: 'start' }).then((unsubscribe) => unsubscribe());
      const streams = await Promise.all(nodes.map((node) => node.keys()));
      const stream = streams.flat().find(({ key }) => key.startsWith('~stream:'))?.key as string;
      expect([topic, await manager.command('XLEN', stream)]).toEqual([topic, appended]);
      await manager.command('DEL', stream);
    }
    await bus.close();
    await manager.disconnect();
  } finally {
    for (const node of nodes) await node[Symbol.asyncDispose]();
  }
});

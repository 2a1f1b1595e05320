/** The end of a subscription while the server stands still, or is gone. */
import { MessageBus } from 'redis-backplane';
import { expect, it } from 'vitest';
import { refusalOf } from '../support/failure.ts';
import { durationOf, useRig } from '../support/rig.ts';
import { until } from '../support/until.ts';

const rig = useRig();

it('of a frozen server is waited for until commandTimeoutMs, and nothing is heard meanwhile', async () => {
  const server = await rig.server();
  const manager = rig.manager({ url: server.url, commandTimeoutMs: 400, keepAliveMs: 60_000 });
  const bus = new MessageBus(manager);
  const heard: unknown[] = [];
  const unsubscribe = await bus.subscribe('t', ({ payload }) => heard.push(payload));
  await server.freeze();
  const begun = performance.now();
  const ended = unsubscribe();
  await refusalOf(ended, 'timeout', /not confirmed within commandTimeoutMs, 400 ms/);
  expect(performance.now() - begun).toBeLessThan(5_000);
  // The server still has it, and sends what is published.
  server.thaw();
  await server.cli('PUBLISH', 't', '1');
  await until(async () => String(await server.cli('PUBSUB', 'NUMSUB', 't')) === 't,0', { what: 'the end to be confirmed' });
  expect(heard).toEqual([]);
  await bus.close();
});

it('of a frozen server holds up close() for closeTimeoutMs, and no longer', async () => {
  const server = await rig.server();
  const bus = new MessageBus(rig.manager({ url: server.url, commandTimeoutMs: 60_000, keepAliveMs: 60_000, closeTimeoutMs: 100 }), {
    closeTimeoutMs: 300,
  });
  await bus.subscribe('t', () => {});
  await server.freeze();
  expect(await durationOf(bus.close())).toBeLessThan(5_000);
  server.thaw();
});

it('of a server that is gone is nothing to wait for', async () => {
  const server = await rig.server();
  const manager = rig.manager({ url: server.url, commandTimeoutMs: 60_000, reconnect: { minDelayMs: 10, maxDelayMs: 50 } });
  const bus = new MessageBus(manager);
  const [first, second] = [await bus.subscribe('t', () => {}), await bus.subscribe('u', () => {})];
  await server.freeze();
  // It is asked for while the server stands still, and the connection is lost before it answers.
  const ended = first();
  await server.kill9();
  await ended;
  await until(() => manager.state === 'reconnecting', { what: 'the loss to be noticed' });
  expect(await durationOf(second())).toBeLessThan(5_000);
  await bus.close();
});

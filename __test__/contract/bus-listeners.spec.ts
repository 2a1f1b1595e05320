/** Listeners that throw what not even a warning can be made of: one suite on every backend. */
import { MessageBus, type RedisConnectionManager } from 'redis-backplane';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { describeBackends } from '../support/backends.ts';
import { until } from '../support/until.ts';

const UNNAMED = Object.defineProperty(new Error('unnamed'), 'name', {
  get() {
    throw new Error('it has no name');
  },
});

describeBackends('a listener that throws the worst', (backend) => {
  const warned: unknown[] = [];
  const hear = (warning: Error): void => void warned.push(warning.message);
  beforeEach(() => {
    warned.length = 0;
    process.on('warning', hear);
  });
  afterEach(() => {
    process.off('warning', hear);
    vi.restoreAllMocks();
  });

  /** A bus whose `malformed` listener throws, and what its two subscriptions got. */
  async function subscribed(manager: RedisConnectionManager) {
    const bus = new MessageBus(manager);
    bus.on('malformed', () => {
      throw UNNAMED;
    });
    const live: unknown[] = [];
    const durable: unknown[] = [];
    await bus.subscribe('live', ({ payload }) => void live.push(payload));
    await bus.subscribe('durable', ({ payload }) => void durable.push(payload), { group: 'g' });
    return { bus, live, durable };
  }

  /** Many commands at once, among them one message to either topic that is not JSON. Resolves when each has its outcome. */
  async function callAround(manager: RedisConnectionManager): Promise<void> {
    const { namespace } = backend;
    const calls = Array.from({ length: 100 }, (_, i) => {
      if (i === 25) return manager.command('XADD', `${namespace}:~stream:{${namespace}:durable}`, '*', 'data', 'not JSON');
      return i === 50 ? manager.command('PUBLISH', `${namespace}:live`, 'not JSON') : manager.command('ECHO', `${i}`);
    });
    calls.push(manager.command('PUBLISH', `${namespace}:~wake:{${namespace}:durable}`, ''));
    let open = calls.length;
    for (const call of calls) void call.then(() => open--);
    await until(() => open === 0, { what: () => `${open} calls to settle` });
  }

  it('costs no other call its outcome, and no subscription its messages', async () => {
    const manager = backend.manager();
    const { bus, live, durable } = await subscribed(manager);
    for (let n = 0; n < 20; n++) {
      const calls = callAround(manager);
      await bus.publish('live', n);
      await bus.publish('durable', n, { durable: true });
      await calls;
      await until(() => live.length === n + 1 && durable.length === n + 1, { what: () => `message ${n}; got ${live} and ${durable}` });
    }
    await until(() => warned.length === 40, { what: () => `the warnings; got ${warned}` });
    expect(new Set(warned)).toEqual(new Set(['unnamed']));
    await bus.close();
  });

  it('costs no other call its outcome where warnings throw too, and the subscriptions go on', async () => {
    const manager = backend.manager();
    const { bus, live, durable } = await subscribed(manager);
    const letters = bus.deadLetters('durable', 'g');
    const failed = new Error('no warning');
    vi.spyOn(process, 'emitWarning').mockImplementation((warning) => {
      warned.push(warning);
      if (warning !== failed) throw failed;
    });
    for (let n = 0; n < 20; n++) {
      await callAround(manager);
      await until(() => warned.filter((one) => one === failed).length === 2 * n + 2, { what: () => `both messages; got ${warned}` });
      await until(async () => (await letters.list()).length === n + 1, { what: 'the dead letter' });
      await bus.publish('live', n);
      await bus.publish('durable', n, { durable: true });
      await until(() => live.length === n + 1 && durable.length === n + 1, { what: () => `message ${n}; got ${live} and ${durable}` });
    }
    await bus.close();
  });
});

describeBackends('a listener of a bus', (backend) => {
  it('that was taken off hears nothing more', async () => {
    const manager = backend.manager();
    const bus = new MessageBus(manager);
    const heard: string[] = [];
    const first = () => void heard.push('first');
    bus.on('malformed', first);
    await bus.subscribe('t', () => {});
    await manager.command('PUBLISH', `${backend.namespace}:t`, 'not JSON');
    await until(() => heard.length === 1, { what: 'the first message to be told' });
    expect(bus.off('malformed', first)).toBe(bus);
    bus.on('malformed', () => void heard.push('second'));
    await manager.command('PUBLISH', `${backend.namespace}:t`, 'not JSON');
    await until(() => heard.length === 2, { what: 'the second message to be told' });
    expect(heard).toEqual(['first', 'second']);
    await bus.close();
  });
});

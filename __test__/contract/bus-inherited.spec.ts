/** What a message says of itself is checked before others inherit it: one suite on every backend. */
import { correlation, createEnvelope, type Envelope, isEnvelope, MessageBus, withCorrelation } from 'redis-backplane';
import { afterEach, expect, it } from 'vitest';
import { describeBackends } from '../support/backends.ts';
import { failureOf } from '../support/failure.ts';
import { until } from '../support/until.ts';

const TRACE = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
const FORGED: unknown[] = [
  '',
  'forged',
  5,
  { deep: [] },
  TRACE.toUpperCase(),
  `${TRACE}-more`,
  `${TRACE}\n`,
  TRACE.replace(/^00/, 'ff'),
  TRACE.replace(/-[\da-f]{32}-/, `-${'0'.repeat(32)}-`),
  TRACE.replace(/-[\da-f]{16}-/, `-${'0'.repeat(16)}-`),
  'x'.repeat(2 << 20),
];
const HUGE = 'x'.repeat(2 << 20);

describeBackends('what a message says of itself', (backend) => {
  const buses: MessageBus[] = [];
  afterEach(async () => {
    await Promise.all(buses.splice(0).map((bus) => bus.close()));
  });

  /** Hands `messages` to live and durable handlers, as another program sends them; gives the envelopes that come, and their children. */
  async function handed(messages: unknown[]) {
    const manager = backend.manager();
    const bus = new MessageBus(manager);
    buses.push(bus);
    const got = { live: [] as Envelope[], durable: [] as Envelope[] };
    const children: Envelope[] = [];
    const scopes: unknown[] = [];
    await bus.subscribe('child', (envelope) => void children.push(envelope));
    const handler = (to: Envelope[]) => async (envelope: Envelope) => {
      to.push(envelope);
      scopes.push(correlation());
      await bus.publish('child', to.length);
    };
    await bus.subscribe('t', handler(got.live));
    await bus.subscribe('t', handler(got.durable), { group: 'g', from: 'start' });
    for (const message of messages) {
      const data = JSON.stringify(message);
      await manager.command('PUBLISH', `${backend.namespace}:t`, data);
      await manager.command('XADD', `${backend.namespace}:~stream:{${backend.namespace}:t}`, '*', 'data', data);
    }
    await manager.command('PUBLISH', `${backend.namespace}:~wake:{${backend.namespace}:t}`, '');
    await until(() => children.length === 2 * messages.length, { what: () => `all of them; got ${children.length}`, timeoutMs: 15_000 });
    await bus.close();
    return { ...got, children, scopes };
  }

  it('is dropped where it is no W3C traceparent, and passed on where it is one', async () => {
    const messages = [TRACE, ...FORGED].map((traceparent) => ({ msg: { ...createEnvelope('kind', 1), traceparent } }));
    const { live, durable, children, scopes } = await handed(messages);
    for (const envelopes of [live, durable]) {
      expect(envelopes.map(({ traceparent }) => traceparent)).toEqual([TRACE, ...FORGED.map(() => undefined)]);
      expect(envelopes.every((envelope) => isEnvelope(envelope) && envelope.payload === 1)).toBe(true);
    }
    for (const those of [children, scopes]) {
      const traces = (those as Envelope[]).map(({ traceparent }) => traceparent).filter((trace) => trace !== undefined);
      expect(traces).toEqual([TRACE, TRACE]);
    }
  });

  it('is completed where it lacks what it may lack, or says too much, and is not wrapped again', async () => {
    const { corrId: _, attempts: __, ...bare } = createEnvelope('kind', 1);
    const odd: Record<string, unknown>[] = [
      {},
      { corrId: null, tenantId: null, attempts: null, lastError: null, traceparent: null },
      { corrId: '', attempts: -1 },
      { corrId: 5, tenantId: {}, attempts: '3', lastError: ['x'] },
      { corrId: HUGE, tenantId: HUGE, attempts: 1.5, lastError: HUGE },
      { attempts: 1e300 },
    ];
    for (const form of [(msg: unknown) => ({ msg }), (msg: unknown) => msg]) {
      const { live, durable, children } = await handed(odd.map((more, n) => form({ ...bare, id: `id ${n}`, ...more })));
      for (const envelopes of [live, durable]) {
        expect(envelopes.map(({ lastError = '', ...rest }) => [rest, lastError.length])).toEqual(
          odd.map(({ lastError }, n) => [
            { ...bare, id: `id ${n}`, corrId: `id ${n}`, attempts: 0 },
            typeof lastError === 'string' ? 1_024 : 0,
          ]),
        );
      }
      expect(new Set(children.map(({ corrId }) => corrId))).toEqual(new Set(odd.map((_, n) => `id ${n}`)));
    }
  });

  it('is a payload where its id, type or time are longer than those of an envelope', async () => {
    const envelope = createEnvelope('kind', 1);
    const odd = ['id', 'type', 'ts'].map((name) => ({ ...envelope, [name]: HUGE }));
    const { live, children } = await handed(odd);
    expect(live.every(({ id, type, payload }, n) => id.length < 100 && type === 't' && isEqual(payload, odd[n]))).toBe(true);
    expect(children.every(({ corrId }) => corrId.length < 100)).toBe(true);
  });

  it('is refused by name where its publisher uses this package', async () => {
    const bus = new MessageBus(backend.manager());
    buses.push(bus);
    const envelope = createEnvelope('kind', 1);
    const long = 'x'.repeat(1_025);
    for (const [name, value] of Object.entries({ id: long, type: long, ts: long, corrId: long, tenantId: long, traceparent: 'forged' })) {
      expect(await failureOf(bus.publish('t', { ...envelope, [name]: value })), name).toMatchObject({
        redisErrorKind: 'config',
        message: expect.stringContaining(`MessageBus.publish: ${name}: expected`),
      });
    }
    for (const make of [
      () => createEnvelope(long, 1),
      () => createEnvelope('kind', 1, long),
      () => createEnvelope('kind', 1, 'c', long),
      () => withCorrelation({ corrId: long }, () => {}),
      () => withCorrelation({ corrId: 'c', tenantId: long }, () => {}),
      () => withCorrelation({ corrId: 'c', traceparent: FORGED[7] as string }, () => {}),
    ]) {
      expect(make).toThrow(expect.objectContaining({ redisErrorKind: 'config' }));
    }
  });
});

function isEqual(one: unknown, other: unknown): boolean {
  return JSON.stringify(one) === JSON.stringify(other);
}

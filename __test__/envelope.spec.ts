/** Envelopes by themselves. */
import fc from 'fast-check';
import { createEnvelope, type Envelope, isEnvelope, retryEnvelope } from 'redis-backplane';
import { describe, expect, test } from 'vitest';

const UUID = /^[\da-f]{8}-[\da-f]{4}-4[\da-f]{3}-[89ab][\da-f]{3}-[\da-f]{12}$/;

describe('createEnvelope', () => {
  test('makes a new id, a time and a correlation of its own', () => {
    const [one, two] = [createEnvelope('kind', { a: 1 }), createEnvelope('kind', { a: 1 })];
    expect(one).toEqual({ id: one.id, type: 'kind', ts: one.ts, corrId: one.id, payload: { a: 1 }, attempts: 0 });
    expect(one.id).toMatch(UUID);
    expect(two.id).not.toBe(one.id);
    expect(new Date(one.ts).toISOString()).toBe(one.ts);
  });

  test('takes a correlation and a tenant', () => {
    expect(createEnvelope('kind', null, 'corr', 'tenant')).toMatchObject({ corrId: 'corr', tenantId: 'tenant', payload: null });
  });

  test('refuses what is no text, or an empty one, with kind config', () => {
    for (const make of [
      () => createEnvelope('', 1),
      () => createEnvelope(5 as never, 1),
      () => createEnvelope('k', 1, ''),
      () => createEnvelope('k', 1, 5 as never),
      () => createEnvelope('k', 1, 'c', {} as never),
    ]) {
      expect(make).toThrow(expect.objectContaining({ redisErrorKind: 'config' }));
    }
  });
});

describe('retryEnvelope', () => {
  test('keeps everything but attempts and lastError', () => {
    const first = { ...createEnvelope('kind', { a: 1 }, 'corr', 'tenant'), extra: 1 };
    const second = retryEnvelope(first, new Error('why'));
    expect(second).toEqual({ ...first, attempts: 1, lastError: 'why' });
    expect(retryEnvelope(second, 'again')).toEqual({ ...first, attempts: 2, lastError: 'again' });
    expect(first.attempts).toBe(0);
  });

  test('says something of whatever was thrown', () => {
    const hostile = Object.create(null);
    const getter = Object.defineProperty({}, 'message', {
      get: () => {
        throw new Error('no');
      },
    });
    for (const error of [undefined, null, 0, '', {}, [], Symbol('s'), 10n, hostile, getter, { message: 5 }]) {
      const { lastError } = retryEnvelope(createEnvelope('kind', 1), error);
      expect(typeof lastError).toBe('string');
    }
  });

  test('refuses what is no envelope', () => {
    expect(() => retryEnvelope({ id: 'x' } as unknown as Envelope, 'why')).toThrow(/expected an Envelope/);
  });
});

describe('isEnvelope', () => {
  test('is true for what this package makes, before and after JSON, and after any number of retries', () => {
    fc.assert(
      fc.property(fc.string({ minLength: 1 }), fc.jsonValue(), fc.string({ minLength: 1 }), fc.nat(5), (type, payload, corrId, retries) => {
        let envelope: Envelope = createEnvelope(type, payload, corrId);
        for (let n = 0; n < retries; n++) envelope = retryEnvelope(envelope, new Error('why'));
        const back = JSON.parse(JSON.stringify(envelope));
        expect(isEnvelope(envelope) && isEnvelope(back)).toBe(true);
        expect(envelope.attempts).toBe(retries);
      }),
    );
  });

  test('is false for anything else', () => {
    fc.assert(fc.property(fc.anything(), (value) => !isEnvelope(value)));
    const good = createEnvelope('kind', 1);
    for (const [name, value] of Object.entries({
      id: '',
      ts: 5,
      type: null,
      corrId: undefined,
      attempts: -1,
      tenantId: 5,
      lastError: {},
      traceparent: 5,
    })) {
      expect(isEnvelope({ ...good, [name]: value }), name).toBe(false);
    }
    const { payload: _, ...without } = good;
    expect(isEnvelope(without)).toBe(false);
    expect(isEnvelope({ ...good, attempts: 0.5 })).toBe(false);
  });
});

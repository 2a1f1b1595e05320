/** The KV store against a model of it: any sequence of calls gives what a map with deadlines would. */
import fc from 'fast-check';
import { KVStore, memoryControl, RedisConnectionManager } from 'redis-backplane';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { describeBackends } from '../support/backends.ts';

/** What the store should hold. Time is given to it. */
class Model {
  readonly #entries = new Map<string, { text: string; expires: number }>();
  now = 0;

  at(key: string) {
    const entry = this.#entries.get(key);
    if (entry !== undefined && entry.expires <= this.now) this.#entries.delete(key);
    return this.#entries.get(key);
  }

  get(key: string): unknown {
    const entry = this.at(key);
    return entry === undefined ? null : JSON.parse(entry.text);
  }

  put(key: string, value: unknown, ttlSec: number | 'keep' | undefined): void {
    const kept = this.at(key)?.expires ?? Number.POSITIVE_INFINITY;
    const expires =
      ttlSec === 'keep' ? kept : ttlSec === undefined ? Number.POSITIVE_INFINITY : this.now + Math.max(1, Math.round(ttlSec * 1_000));
    this.#entries.set(key, { text: JSON.stringify(value), expires });
  }

  delete(key: string): boolean {
    return this.at(key) !== undefined && this.#entries.delete(key);
  }

  same(key: string, expected: unknown): boolean {
    const entry = this.at(key);
    return entry !== undefined && canonical(JSON.parse(entry.text)) === canonical(JSON.parse(JSON.stringify(expected)));
  }
}

/** JSON with the names of objects in one order. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_, inner) =>
    typeof inner === 'object' && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  );
}

const keys = fc.constantFrom('a', 'b', '{c}', '\r\n');
const values = fc.oneof(
  fc.constantFrom<unknown>(0, 1, 'x', null, [], {}, { a: 1, b: 2 }),
  fc.jsonValue().filter((value) => !JSON.stringify(value).includes('__proto__')),
);
// Odd seconds, while the clock is moved by even ones: nothing expires so near to a look at it that a slow machine could tell.
const ttls = fc.option(fc.constantFrom(1, 11, 3_601), { nil: undefined });

type Step = { run(kv: KVStore): Promise<unknown>; model(model: Model): unknown; text: string } | { advance: number };

const step = (text: string, run: (kv: KVStore) => Promise<unknown>, model: (model: Model) => unknown): Step => ({ text, run, model });
const shown = (...values: unknown[]) => JSON.stringify(values);

/** The same value with the names of its objects the other way round. */
function reversed(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(reversed);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .reverse()
      .map(([name, inner]) => [name, reversed(inner)]),
  );
}

const steps: fc.Arbitrary<Step> = fc.oneof(
  fc.tuple(keys, values, ttls).map(([key, value, ttl]) =>
    step(
      `set ${shown(key, value, ttl)}`,
      (kv) => kv.set(key, value, ttl),
      (model) => model.put(key, value, ttl),
    ),
  ),
  fc.tuple(keys, values, ttls).map(([key, value, ttl]) =>
    step(
      `setIfAbsent ${shown(key, value, ttl)}`,
      (kv) => kv.setIfAbsent(key, value, ttl),
      (model) => {
        if (model.at(key)) return false;
        model.put(key, value, ttl);
        return true;
      },
    ),
  ),
  fc.tuple(keys, fc.option(values.filter((value) => value !== null)), values, ttls).map(([key, expected, next, ttl]) =>
    step(
      `cas ${shown(key, expected, next, ttl)}`,
      (kv) => kv.cas(key, reversed(expected), next, ttl),
      (model) => {
        if (expected === null ? model.at(key) !== undefined : !model.same(key, expected)) return false;
        model.put(key, next, ttl ?? 'keep');
        return true;
      },
    ),
  ),
  fc.tuple(keys, fc.option(values.filter((value) => value !== null)), ttls).map(([key, next, ttlSec]) =>
    step(
      `update ${shown(key, next, ttlSec)}`,
      async (kv) => {
        let seen: unknown;
        await kv.update<unknown>(
          key,
          (current) => {
            seen = current;
            return next;
          },
          { ttlSec },
        );
        return seen;
      },
      (model) => {
        const seen = model.get(key);
        if (next === null) model.delete(key);
        else model.put(key, next, ttlSec ?? 'keep');
        return seen;
      },
    ),
  ),
  fc.tuple(keys, values, ttls).map(([key, value, ttl]) =>
    step(
      `getSet ${shown(key, value, ttl)}`,
      (kv) => kv.getSet(key, value, ttl),
      (model) => {
        const before = model.get(key);
        model.put(key, value, ttl);
        return before;
      },
    ),
  ),
  keys.map((key) =>
    step(
      `getDel ${shown(key)}`,
      (kv) => kv.getDel(key),
      (model) => {
        const before = model.get(key);
        model.delete(key);
        return before;
      },
    ),
  ),
  fc.tuple(fc.array(fc.tuple(keys, values), { maxLength: 4 }), ttls).map(([entries, ttl]) =>
    step(
      `mset ${shown(entries, ttl)}`,
      (kv) => kv.mset(entries, ttl),
      (model) => {
        for (const [key, value] of entries) model.put(key, value, ttl);
      },
    ),
  ),
  fc.tuple(keys, keys).map(([one, other]) =>
    step(
      `del ${shown(one, other)}`,
      (kv) => kv.del(one, other),
      (model) => Number(model.delete(one)) + Number(model.delete(other)),
    ),
  ),
  fc.tuple(keys, fc.constantFrom(1, 101)).map(([key, ttl]) =>
    step(
      `expire ${shown(key, ttl)}`,
      (kv) => kv.expire(key, ttl),
      (model) => {
        const entry = model.at(key);
        if (entry) entry.expires = model.now + ttl * 1_000;
        return entry !== undefined;
      },
    ),
  ),
  keys.map((key) =>
    step(
      `persist ${shown(key)}`,
      (kv) => kv.persist(key),
      (model) => {
        const entry = model.at(key);
        if (!entry || entry.expires === Number.POSITIVE_INFINITY) return false;
        entry.expires = Number.POSITIVE_INFINITY;
        return true;
      },
    ),
  ),
  fc.array(keys, { maxLength: 4 }).map((list) =>
    step(
      `mget ${shown(list)}`,
      (kv) => kv.mget(list),
      (model) => list.map((key) => model.get(key)),
    ),
  ),
  keys.map((key) =>
    step(
      `get ${shown(key)}`,
      (kv) => kv.get(key),
      (model) => model.get(key),
    ),
  ),
);

const moves = fc.integer({ min: 1, max: 6 }).map((steps) => ({ advance: steps * 2_000 }));
const withTime: fc.Arbitrary<Step> = fc.oneof({ weight: 4, arbitrary: steps }, { weight: 1, arbitrary: moves });

/** Runs a sequence on both, comparing every answer, and where time stands still every expiry. */
async function compare(kv: KVStore, sequence: Step[], advance: (ms: number) => void, exact: boolean): Promise<void> {
  const model = new Model();
  for (const one of sequence) {
    if ('advance' in one) {
      model.now += one.advance;
      advance(one.advance);
      continue;
    }
    const answer = await one.run(kv);
    expect(answer, one.text).toEqual(one.model(model));
    if (!exact) continue;
    for (const key of ['a', 'b', '{c}', '\r\n']) {
      const entry = model.at(key);
      const left =
        entry === undefined ? null : entry.expires === Number.POSITIVE_INFINITY ? entry.expires : (entry.expires - model.now) / 1e3;
      const ttl = await kv.ttl(key);
      if (left === null || left === Number.POSITIVE_INFINITY || ttl === null) expect(ttl, `ttl after ${one.text}`).toBe(left);
      // The engine's clock runs on by itself a little.
      else expect(Math.abs(left - ttl), `ttl after ${one.text}`).toBeLessThan(0.9);
    }
  }
}

describe('KV store against its model', () => {
  const name = 'kv-model';
  let manager: RedisConnectionManager;
  let kv: KVStore;

  beforeEach(() => {
    manager = new RedisConnectionManager(`memory://${name}`);
    kv = new KVStore(manager, { namespace: 'model' });
  });
  afterEach(() => manager.disconnect());

  test('values and expiry are what they should be at every moment of a clock', async () => {
    const control = memoryControl(name);
    await manager.connect();
    const sequences = fc.array(withTime, { minLength: 1, maxLength: 25 });
    await fc.assert(
      fc.asyncProperty(sequences, async (sequence) => {
        control.flush();
        await compare(kv, sequence, (ms) => control.advance(ms), true);
      }),
      { numRuns: 150 },
    );
  }, 60_000);
});

describeBackends('KV store against its model', (backend) => {
  test('any sequence of calls answers as the model does', async () => {
    const manager = backend.manager();
    let round = 0;
    // Without a second's expiry: here time is real.
    const lasting = steps.filter((one) => 'advance' in one || !/,1\]$/.test(one.text));
    await fc.assert(
      fc.asyncProperty(fc.array(lasting, { minLength: 1, maxLength: 25 }), async (sequence) => {
        round += 1;
        await compare(new KVStore(manager, { namespace: `r${round}` }), sequence, () => {}, false);
      }),
      { numRuns: 150 },
    );
  }, 60_000);

  test('concurrent compare-and-sets of one process and another manager form one line of values', async () => {
    const stores = [new KVStore(backend.manager()), new KVStore(backend.manager())];
    await fc.assert(
      fc.asyncProperty(fc.uuid(), fc.integer({ min: 2, max: 12 }), async (key, writers) => {
        await stores[0]?.set(key, { by: -1, after: -1, n: 0 });
        const history: { by: number; after: number }[] = [];
        await Promise.all(
          Array.from({ length: writers }, async (_, by) => {
            const kv = stores[by % 2] as KVStore;
            for (;;) {
              const seen = (await kv.get<{ by: number; n: number }>(key)) as { by: number; n: number };
              const next = { by, after: seen.by, n: seen.n + 1 };
              if (await kv.cas<object>(key, seen, next)) {
                history.push(next);
                return;
              }
            }
          }),
        );
        const line = history as { by: number; after: number; n: number }[];
        line.sort((a, b) => a.n - b.n);
        expect(line.map(({ n }) => n)).toEqual(Array.from({ length: writers }, (_, i) => i + 1));
        for (let i = 1; i < line.length; i++) expect(line[i]?.after).toBe(line[i - 1]?.by);
      }),
      { numRuns: 30 },
    );
  });
});

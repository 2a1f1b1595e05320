/** The store of checkpoints against a model of it: any sequence of calls gives what plain lists would. */
import fc from 'fast-check';
import { type CheckpointInfo, CheckpointStore, RedisError } from 'redis-backplane';
import { expect, test } from 'vitest';
import { describeBackends } from '../support/backends.ts';

/** As many as the store of the test keeps, of each thread. */
const LAST = 4;

interface Entry {
  scope: string;
  id: string;
  parent: string | null;
  state: number;
  pinned: boolean;
  pending: unknown[];
}

interface Save {
  thread: string;
  scope: string;
  id: string | undefined;
  /** 'any', null, or the number of a checkpoint of the scope, from the latest on. */
  parent: 'any' | null | number;
  branch: boolean;
  state: number;
}

type Answer = { saved: Omit<Entry, 'state' | 'pending'> } | { conflict: string | null } | number | boolean | 'none';

/** What a store should hold: of each thread its checkpoints in the order in which they were saved. */
class Model {
  readonly threads = new Map<string, Entry[]>();

  all(thread: string): Entry[] {
    return this.threads.get(thread) ?? [];
  }

  /** Greatest id first. */
  of(thread: string, scope: string): Entry[] {
    const bytes = (id: string) => Buffer.from(id);
    const found = this.all(thread).filter((entry) => entry.scope === scope);
    return found.sort((one, other) => Buffer.compare(bytes(other.id), bytes(one.id)));
  }

  /** @param made the id that the store has made, where none was given */
  save({ thread, scope, id, parent, branch, state }: Save, made: string | undefined): Answer {
    const entries = this.of(thread, scope);
    const latest = entries[0];
    const there = entries.find((entry) => entry.id === id);
    if (there !== undefined) return there.state === state ? saved(there) : { conflict: latest?.id ?? null };
    const wanted = typeof parent === 'number' ? (entries[parent]?.id ?? 'none') : parent;
    let follows = latest?.id ?? null;
    if (wanted !== 'any' && wanted !== follows) {
      if (!branch || wanted === null || !entries.some((entry) => entry.id === wanted)) return { conflict: latest?.id ?? null };
      follows = wanted;
    }
    const its = id ?? made ?? 'none';
    const isGreatest = latest === undefined || Buffer.compare(Buffer.from(its), Buffer.from(latest.id)) > 0;
    if (!isGreatest && !(branch && id !== undefined)) return { conflict: latest.id };
    const entry = { scope, id: its, parent: follows, state, pinned: false, pending: [] };
    this.threads.set(thread, [...this.all(thread), entry]);
    this.prune(thread, LAST);
    return saved(entry);
  }

  prune(thread: string, last: number): number {
    const entries = this.all(thread);
    const greatest = new Set([...new Set(entries.map(({ scope }) => scope))].map((scope) => this.of(thread, scope)[0]));
    const left = entries.filter((entry, at) => at >= entries.length - last || entry.pinned || greatest.has(entry));
    if (this.threads.has(thread)) this.threads.set(thread, left);
    return entries.length - left.length;
  }

  find(thread: string, scope: string, at: number): Entry | undefined {
    return this.of(thread, scope)[at];
  }
}

const saved = ({ scope, id, parent, pinned }: Pick<CheckpointInfo, 'scope' | 'id' | 'parent' | 'pinned'>): Answer => ({
  saved: { scope, id, parent, pinned },
});

/** What a call that saves gives, and a conflict with the id that it names. */
async function outcome(work: Promise<CheckpointInfo>): Promise<Answer> {
  try {
    return saved(await work);
  } catch (error) {
    if (!(error instanceof RedisError) || error.redisErrorKind !== 'conflict') throw error;
    return { conflict: / latest(?: is|,) (.+)$/u.exec(error.message)?.[1] ?? null };
  }
}

interface Step {
  text: string;
  /** Does it on both, and gives both answers. */
  run(store: CheckpointStore, model: Model): Promise<[Answer, Answer]>;
}

const threads = fc.constantFrom('t', 'u');
const scopes = fc.constantFrom('', 's');
const places = fc.integer({ min: 0, max: 3 });
const ids = fc.constantFrom('1', '10', '2', 'B', 'a', '～', '😀');

const saves: fc.Arbitrary<Step> = fc
  .record({
    thread: threads,
    scope: scopes,
    id: fc.option(ids, { nil: undefined }),
    parent: fc.oneof({ weight: 3, arbitrary: fc.constant('any' as const) }, fc.constant(null), places),
    branch: fc.boolean(),
    state: fc.integer({ min: 0, max: 2 }),
  })
  .map((save) => ({
    text: `save ${JSON.stringify(save)}`,
    async run(store, model) {
      const { thread, state, parent: place, ...rest } = save;
      const parent = typeof place === 'number' ? (model.find(thread, save.scope, place)?.id ?? 'none') : place;
      const answer = await outcome(store.save(thread, state, { ...rest, parent }));
      const made = typeof answer === 'object' && 'saved' in answer ? answer.saved.id : undefined;
      return [answer, model.save(save, made)];
    },
  }));

const at = fc.record({ thread: threads, scope: scopes, place: places });

const pins: fc.Arbitrary<Step> = fc.tuple(at, fc.boolean()).map(([where, on]) => ({
  text: `pin ${JSON.stringify([where, on])}`,
  async run(store, model) {
    const entry = model.find(where.thread, where.scope, where.place);
    const answer = await store.pin(where.thread, entry?.id ?? 'none', on, { scope: where.scope });
    if (entry) entry.pinned = on;
    return [answer, entry !== undefined];
  },
}));

const forks: fc.Arbitrary<Step> = at.map((where) => ({
  text: `fork ${JSON.stringify(where)}`,
  async run(store, model) {
    const { thread, scope, place } = where;
    const entry = model.find(thread, scope, place);
    if (entry === undefined) return ['none', 'none'];
    const into = `copy of ${thread}`;
    const answer = await outcome(store.fork(thread, entry.id, into, { scope }));
    return [answer, model.save({ thread: into, scope, id: entry.id, parent: 'any', branch: false, state: entry.state }, undefined)];
  },
}));

const writes: fc.Arbitrary<Step> = fc.tuple(at, fc.integer({ min: 0, max: 2 })).map(([{ thread, scope, place }, value]) => ({
  text: `addPending ${JSON.stringify([thread, scope, place, value])}`,
  async run(store, model) {
    const entry = model.find(thread, scope, place);
    if (entry === undefined) return ['none', 'none'];
    await store.addPending(thread, entry.id, 'task', [['x', value]], { scope });
    if (entry.pending.length === 0) entry.pending.push({ task: 'task', name: 'x', value });
    return ['none', 'none'];
  },
}));

const prunes: fc.Arbitrary<Step> = fc.tuple(threads, fc.integer({ min: 1, max: 4 })).map(([thread, last]) => ({
  text: `prune ${JSON.stringify([thread, last])}`,
  async run(store, model) {
    return [await store.prune(thread, { last }), model.prune(thread, last)];
  },
}));

const removals: fc.Arbitrary<Step> = threads.map((thread) => ({
  text: `remove ${thread}`,
  async run(store, model) {
    return [await store.remove(thread), model.threads.delete(thread)];
  },
}));

const steps: fc.Arbitrary<Step> = fc.oneof(
  { weight: 8, arbitrary: saves },
  { weight: 2, arbitrary: pins },
  { weight: 2, arbitrary: forks },
  { weight: 1, arbitrary: writes },
  { weight: 1, arbitrary: prunes },
  { weight: 1, arbitrary: removals },
);

/** Everything that the store tells is what the model holds. */
async function compare(store: CheckpointStore, model: Model, after: string): Promise<void> {
  for (const thread of ['t', 'u', 'copy of t', 'copy of u']) {
    for (const scope of ['', 's']) {
      const expected = model.of(thread, scope);
      const found: unknown[] = [];
      for await (const { id } of store.history(thread, { scope })) {
        const checkpoint = await store.get(thread, id, { scope });
        if (checkpoint === null) throw new Error(`${id} is told of, but not there, after ${after}`);
        const { parent, state, pinned, pending } = checkpoint;
        found.push({ scope, id, parent, state, pinned, pending });
      }
      expect(found, `${thread} ${scope} after ${after}`).toEqual(expected);
      expect((await store.latest(thread, { scope }))?.id).toBe(expected[0]?.id);
    }
  }
  const names: string[] = [];
  for await (const thread of store.threads()) names.push(thread);
  expect(names.sort()).toEqual(
    [...model.threads]
      .filter(([, entries]) => entries.length > 0)
      .map(([thread]) => thread)
      .sort(),
  );
}

describeBackends('checkpoints against their model', (backend) => {
  test('any sequence of calls answers as the model does, and leaves what the model holds', async () => {
    const manager = backend.manager();
    let round = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(steps, { minLength: 1, maxLength: 25 }), async (sequence) => {
        round += 1;
        const store = new CheckpointStore(manager, { namespace: `r${round}`, keep: { last: LAST } });
        const model = new Model();
        for (const step of sequence) {
          const [answer, expected] = await step.run(store, model);
          expect(answer, step.text).toEqual(expected);
        }
        await compare(store, model, sequence.map(({ text }) => text).join('; '));
        for (const thread of model.threads.keys()) await store.remove(thread);
        expect(await manager.command('KEYS', `${backend.namespace}:r${round}:*`), 'nothing is left').toEqual([]);
      }),
      { numRuns: 150 },
    );
  }, 120_000);
});

/**
 * The state machine of a job, by a model: random commands on a queue and on a few lines of TypeScript that say what must come of
 * them. Workers are real; a command lets one of them take a job and another one says how it ends.
 *
 *   waiting → active → completed | failed | delayed (retry, DelayError) | waiting (handed back)
 *   delayed → waiting;  waiting-children → waiting;  failed → waiting (retry);  any but active → removed
 */
import fc from 'fast-check';
import { DelayError, type Job, type JobState, type TaskQueue, type TaskWorker, UnrecoverableError } from 'redis-backplane';
import { expect, test } from 'vitest';
import { describeBackends } from '../support/backends.ts';
import { reaches, useQueues } from '../support/queues.ts';
import { until } from '../support/until.ts';

const RUNS = Number(process.env.QUEUE_MODEL_RUNS ?? 15);
const LONG = 3_600_000;

type Ending = 'complete' | 'throw' | 'give up' | 'delay' | 'cancel and throw';

interface ModelJob {
  id: string;
  state: JobState;
  attemptsMade: number;
  attempts: number;
  priority: number;
  reason: string | undefined;
}

/** What must be so. */
class Model {
  readonly jobs = new Map<string, ModelJob>();
  /** In order of service. */
  waiting: string[] = [];
  /** The one job in hand. */
  active: string | undefined;
  serial = 0;

  enqueue(job: ModelJob, atHead = false): void {
    job.state = 'waiting';
    const ranks = (id: string) => (this.jobs.get(id) as ModelJob).priority;
    if (atHead) {
      const place = this.waiting.findIndex((id) => ranks(id) >= job.priority);
      this.waiting.splice(place < 0 ? this.waiting.length : place, 0, job.id);
      return;
    }
    const place = this.waiting.findIndex((id) => ranks(id) > job.priority);
    this.waiting.splice(place < 0 ? this.waiting.length : place, 0, job.id);
  }

  leave(id: string): void {
    this.waiting = this.waiting.filter((one) => one !== id);
  }

  /** The n-th job of those in `states`, so that the same number means the same job in every run. */
  pick(n: number, states: JobState[]): ModelJob | undefined {
    const found = [...this.jobs.values()].filter((job) => states.includes(job.state));
    return found[n % Math.max(1, found.length)];
  }
}

/** A queue and its one worker. */
class Real {
  readonly queue: TaskQueue;
  worker: TaskWorker;
  /** The attempt in hand, and how to end it. */
  held: { job: Job; attempt: number; end(ending: Ending): void } | undefined;

  constructor(queue: TaskQueue) {
    this.queue = queue;
    this.worker = this.hire();
  }

  hire(): TaskWorker {
    this.worker = this.queue.process(
      (job, { attempt, signal }) =>
        new Promise((resolve, reject) => {
          const end = (ending: Ending) => {
            this.held = undefined;
            if (ending === 'complete') resolve({ by: attempt });
            if (ending === 'throw') reject(new Error(`thrown ${attempt}`));
            if (ending === 'give up') reject(new UnrecoverableError('given up'));
            if (ending === 'delay') reject(new DelayError(LONG));
          };
          signal.addEventListener('abort', () => reject(signal.reason));
          this.held = { job, attempt, end };
        }),
      { autorun: false },
    );
    return this.worker;
  }

  async stop(): Promise<void> {
    this.held = undefined;
    await this.worker.close({ graceMs: 0 });
  }
}

async function agree(model: Model, { queue }: Real): Promise<void> {
  const counts: Record<string, number> = { waiting: 0, active: 0, delayed: 0, completed: 0, failed: 0, 'waiting-children': 0 };
  for (const job of model.jobs.values()) counts[job.state] = (counts[job.state] ?? 0) + 1;
  await reaches(queue, counts);
  expect((await queue.list('waiting', { limit: 1_000 })).map(({ id }) => id)).toEqual(model.waiting);
  for (const expected of model.jobs.values()) {
    const job = await queue.getJob(expected.id);
    expect({ id: job?.id, state: job?.state, attemptsMade: job?.attemptsMade }).toEqual({
      id: expected.id,
      state: expected.state,
      attemptsMade: expected.attemptsMade,
    });
    if (expected.state === 'failed') expect(job?.failedReason).toBe(expected.reason);
  }
}

type Command = fc.AsyncCommand<Model, Real>;

class Add implements Command {
  constructor(readonly options: { attempts: number; priority: number; lifo: boolean; delayed: boolean; retriesLater: boolean }) {}
  check = () => true;
  async run(model: Model, real: Real) {
    const { attempts, priority, lifo, delayed, retriesLater } = this.options;
    model.serial += 1;
    const id = `job-${model.serial}`;
    const head = lifo && priority === 0;
    await real.queue.add('x', model.serial, {
      id,
      attempts,
      ...(head ? { lifo: true } : { priority }),
      ...(delayed ? { delayMs: LONG } : {}),
      ...(retriesLater ? { backoff: { type: 'fixed', delayMs: LONG } } : {}),
      keepFailed: true,
    });
    const job: ModelJob & { retriesLater?: boolean } = { id, state: 'delayed', attemptsMade: 0, attempts, priority, reason: undefined };
    job.retriesLater = retriesLater;
    model.jobs.set(id, job);
    if (!delayed) model.enqueue(job, head);
    await agree(model, real);
  }
  toString = () => `add(${JSON.stringify(this.options)})`;
}

class Take implements Command {
  check = (model: Readonly<Model>) => model.active === undefined && model.waiting.length > 0;
  async run(model: Model, real: Real) {
    const id = model.waiting.shift() as string;
    (model.jobs.get(id) as ModelJob).state = 'active';
    model.active = id;
    real.worker.resume();
    await until(() => real.held !== undefined, { what: 'a job to be taken' });
    // From now on it takes none but this.
    real.worker.pause().catch(() => {});
    expect(real.held?.job.id).toBe(id);
    expect(real.held?.attempt).toBe((model.jobs.get(id) as ModelJob).attemptsMade + 1);
    await agree(model, real);
  }
  toString = () => 'take';
}

class End implements Command {
  constructor(readonly ending: Ending) {}
  check = (model: Readonly<Model>) => model.active !== undefined;
  async run(model: Model, real: Real) {
    const job = model.jobs.get(model.active as string) as ModelJob & { retriesLater?: boolean };
    model.active = undefined;
    if (this.ending === 'cancel and throw') {
      real.held = undefined;
      expect(await (await real.queue.getJob(job.id))?.cancel('cancelled here')).toBe(true);
    } else {
      real.held?.end(this.ending);
    }
    if (this.ending !== 'delay') job.attemptsMade += 1;
    if (this.ending === 'complete') job.state = 'completed';
    if (this.ending === 'delay') job.state = 'delayed';
    if (this.ending === 'give up') Object.assign(job, { state: 'failed', reason: 'given up' });
    if (this.ending === 'cancel and throw') Object.assign(job, { state: 'failed', reason: 'cancelled here' });
    if (this.ending === 'throw') {
      if (job.attemptsMade >= job.attempts) Object.assign(job, { state: 'failed', reason: `thrown ${job.attemptsMade}` });
      else if (job.retriesLater) job.state = 'delayed';
      else model.enqueue(job);
    }
    await agree(model, real);
  }
  toString = () => `end(${this.ending})`;
}

class HandBack implements Command {
  check = (model: Readonly<Model>) => model.active !== undefined;
  async run(model: Model, real: Real) {
    const job = model.jobs.get(model.active as string) as ModelJob;
    model.active = undefined;
    await real.stop();
    real.hire();
    model.enqueue(job, true);
    await agree(model, real);
  }
  toString = () => 'hand back';
}

const FOR: Record<string, JobState[]> = {
  remove: ['waiting', 'delayed', 'completed', 'failed'],
  retry: ['failed'],
  promote: ['delayed'],
  changeDelay: ['delayed', 'waiting'],
  changePriority: ['delayed', 'waiting'],
  cancel: ['delayed', 'waiting'],
};

/** A method of a job on the n-th of those in some states. */
class Change implements Command {
  constructor(
    readonly name: 'remove' | 'retry' | 'promote' | 'changeDelay' | 'changePriority' | 'cancel',
    readonly n: number,
  ) {}
  get states(): JobState[] {
    return FOR[this.name] as JobState[];
  }
  check = (model: Readonly<Model>) => model.pick(this.n, this.states) !== undefined;
  async run(model: Model, real: Real) {
    const expected = model.pick(this.n, this.states) as ModelJob;
    const job = (await real.queue.getJob(expected.id)) as Job;
    switch (this.name) {
      case 'remove':
        expect(await job.remove()).toBe(true);
        model.leave(expected.id);
        model.jobs.delete(expected.id);
        break;
      case 'retry':
        await job.retry();
        expected.attemptsMade = 0;
        model.enqueue(expected);
        break;
      case 'promote':
        await job.promote();
        model.enqueue(expected);
        break;
      case 'changeDelay':
        await job.changeDelay(LONG);
        model.leave(expected.id);
        expected.state = 'delayed';
        break;
      case 'changePriority':
        await job.changePriority(this.n % 3);
        expected.priority = this.n % 3;
        if (expected.state === 'waiting') {
          model.leave(expected.id);
          model.enqueue(expected);
        }
        break;
      case 'cancel':
        expect(await job.cancel('not wanted')).toBe(true);
        model.leave(expected.id);
        Object.assign(expected, { state: 'failed', reason: 'not wanted' });
        break;
    }
    await agree(model, real);
  }
  toString = () => `${this.name}(${this.n})`;
}

class Sweep implements Command {
  constructor(readonly name: 'drain' | 'drain delayed' | 'clean completed' | 'clean failed' | 'retryFailed') {}
  check = () => true;
  async run(model: Model, real: Real) {
    const { queue } = real;
    const inState = (...states: JobState[]) => [...model.jobs.values()].filter((job) => states.includes(job.state));
    const forget = (jobs: ModelJob[]) => {
      for (const job of jobs) {
        model.leave(job.id);
        model.jobs.delete(job.id);
      }
      return jobs.length;
    };
    if (this.name === 'drain') expect(await queue.drain()).toBe(forget(inState('waiting')));
    if (this.name === 'drain delayed') expect(await queue.drain({ delayed: true })).toBe(forget(inState('waiting', 'delayed')));
    if (this.name === 'clean completed') expect(await queue.clean('completed')).toBe(forget(inState('completed')));
    if (this.name === 'clean failed') expect(await queue.clean('failed')).toBe(forget(inState('failed')));
    if (this.name === 'retryFailed') {
      const ids = (await queue.list('failed', { limit: 1_000 })).map(({ id }) => id);
      expect(await queue.retryFailed()).toBe(ids.length);
      for (const id of ids) {
        const job = model.jobs.get(id) as ModelJob;
        job.attemptsMade = 0;
        model.enqueue(job);
      }
    }
    await agree(model, real);
  }
  toString = () => this.name;
}

const number = fc.nat({ max: 20 });
const commands = [
  fc
    .record({
      attempts: fc.integer({ min: 1, max: 3 }),
      priority: fc.integer({ min: 0, max: 2 }),
      lifo: fc.boolean(),
      delayed: fc.boolean(),
      retriesLater: fc.boolean(),
    })
    .map((options) => new Add(options)),
  fc.constant(new Take()),
  fc.constant(new Take()),
  fc.constantFrom<Ending>('complete', 'throw', 'throw', 'give up', 'delay', 'cancel and throw').map((ending) => new End(ending)),
  fc.constant(new HandBack()),
  fc
    .tuple(fc.constantFrom('remove', 'retry', 'promote', 'changeDelay', 'changePriority', 'cancel' as const), number)
    .map(([name, n]) => new Change(name as 'remove', n)),
  fc
    .constantFrom('drain', 'drain delayed', 'clean completed', 'clean failed', 'retryFailed' as const)
    .map((name) => new Sweep(name as 'drain')),
];

describeBackends('the state machine of a job', (backend) => {
  const queues = useQueues(backend);

  test('is what its model says, after any commands', async () => {
    let run = 0;
    await fc.assert(
      fc.asyncProperty(fc.commands(commands, { maxCommands: 40, size: 'max' }), async (chosen) => {
        run += 1;
        const queue = queues.queue(`model-${run}`);
        const real = new Real(queue);
        try {
          await fc.asyncModelRun(() => ({ model: new Model(), real }), chosen);
        } finally {
          await real.stop();
          await queue.close();
        }
      }),
      { numRuns: RUNS, seed: process.env.QUEUE_MODEL_SEED ? Number(process.env.QUEUE_MODEL_SEED) : 20_261 },
    );
  });
});

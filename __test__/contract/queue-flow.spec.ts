/** Parents that wait for their children. */
import type { JobOptions, RedisErrorKind, TaskQueue } from 'redis-backplane';
import { expect, test } from 'vitest';
import { describeBackends } from '../support/backends.ts';
import { failureOf } from '../support/failure.ts';
import { reaches, useQueues } from '../support/queues.ts';

describeBackends('children', (backend) => {
  const queues = useQueues(backend);

  test('are done before their parent, which is given their results', async () => {
    const queue = queues.queue<string, unknown>();
    const other = queues.queue<string, unknown>('other');
    const seen: unknown[] = [];
    const processor = async (job: { data: string }, context: { children(): Promise<Record<string, unknown>> }) => {
      const children = await context.children();
      seen.push(job.data);
      return { of: job.data, children };
    };
    queue.process(processor);
    other.process(processor);
    const parent = await queue.add('parent', 'parent', {
      id: 'p',
      children: [
        { name: 'child', data: 'a', options: { id: 'a' } },
        { name: 'child', data: 'b', options: { id: '__proto__' } },
        {
          queue: 'other',
          name: 'child',
          data: 'c',
          options: { id: 'c', children: [{ queue: 'work', name: 'grandchild', data: 'd', options: { id: 'd' } }] },
        },
      ],
    });
    expect(parent.state).toBe('waiting-children');
    expect(parent.options).toEqual({ id: 'p' });
    const result = (await parent.waitUntilFinished()) as { children: Record<string, unknown> };
    expect(seen.at(-1)).toBe('parent');
    expect(seen.indexOf('d')).toBeLessThan(seen.indexOf('c'));
    expect(Object.keys(result.children).sort()).toEqual(['__proto__', 'a', 'other:c']);
    expect(result.children.a).toEqual({ of: 'a', children: {} });
    expect(result.children['other:c']).toEqual({ of: 'c', children: { 'work:d': { of: 'd', children: {} } } });
    expect((await parent.refresh())?.state).toBe('completed');
  });

  test('are added with their parent, all in their states', async () => {
    const queue = queues.queue();
    await queue.add('parent', 1, {
      children: [
        { name: 'a', data: 1 },
        { name: 'b', data: 2, options: { delayMs: 3_600_000 } },
      ],
    });
    expect(await queue.counts()).toMatchObject({ waiting: 1, delayed: 1, 'waiting-children': 1 });
    const [parent] = await queue.list('waiting-children');
    expect(parent?.name).toBe('parent');
  });

  test('fail their parent with them, and a removed one is not waited for', async () => {
    const queue = queues.queue<string>();
    const seen: string[] = [];
    const failing = await queue.add('parent', 'p', {
      children: [
        { name: 'x', data: 'bad', options: { id: 'bad' } },
        { name: 'x', data: 'good' },
      ],
    });
    const waiting = failing.waitUntilFinished();
    queue.process((job) => {
      seen.push(job.data);
      if (job.data === 'bad') throw new Error('broken');
    });
    await expect(waiting).rejects.toThrow(/child bad failed: broken/);
    await reaches(queue as TaskQueue, { failed: 2, completed: 1 });
    expect(seen).not.toContain('p');
    const parent = await queue.add('parent', 'q', { children: [{ name: 'x', data: 'late', options: { id: 'late', delayMs: 3_600_000 } }] });
    expect(await (await queue.getJob('late'))?.remove()).toBe(true);
    await parent.waitUntilFinished();
    expect(seen.at(-1)).toBe('q');
  });

  test('a parent that waits is cancelled and removed like any other', async () => {
    const queue = queues.queue();
    const children = [{ name: 'x', data: 1, options: { delayMs: 3_600_000 } }];
    const cancelled = await queue.add('parent', 1, { children });
    expect(await cancelled.cancel('no')).toBe(true);
    expect(await cancelled.refresh()).toMatchObject({ state: 'failed', failedReason: 'no' });
    const removed = await queue.add('parent', 1, { children });
    expect(await removed.remove()).toBe(true);
    expect(await queue.counts()).toMatchObject({ 'waiting-children': 0 });
  });

  test('that are there already are waited for as they are', async () => {
    const queue = queues.queue<string, unknown>();
    const done = await queue.add('x', 'done', { id: 'done' });
    const broken = await queue.add('x', 'broken', { id: 'broken' });
    const worker = queue.process(async (job, context) => {
      if (job.data === 'broken') throw new Error('it broke');
      return job.name === 'parent' ? context.children() : `result of ${job.data}`;
    });
    await done.waitUntilFinished();
    await expect(broken.waitUntilFinished()).rejects.toThrow('it broke');
    await worker.pause();
    const open = await queue.add('x', 'open', { id: 'open', priority: 5 });
    const held = await queue.add('x', 'held', { dedupe: { id: 'd' } });
    const child = (id: string) => ({ name: 'x', data: 'another', options: { id } });
    const parent = await queue.add('parent', 'p', {
      children: [child('done'), child('open'), child('twice'), child('twice'), { name: 'x', data: 'no', options: { dedupe: { id: 'd' } } }],
    });
    const failed = await queue.add('parent', 'p', { children: [child('broken'), child('open')] });
    expect((await failed.refresh())?.failedReason).toBe('child broken failed: it broke');
    expect((await parent.refresh())?.state).toBe('waiting-children');
    expect((await open.refresh())?.options).toEqual({ id: 'open', priority: 5 });
    worker.resume();
    const { done: of, open: opened, twice, ...rest } = (await parent.waitUntilFinished()) as Record<string, unknown>;
    expect([of, opened, twice]).toEqual(['result of done', 'result of open', 'result of another']);
    // The deduped one has the result of the job that it stands for.
    expect(Object.values(rest)).toEqual(['result of held']);
    expect(await held.waitUntilFinished()).toBe('result of held');
  });

  test('that fail, are cancelled, removed or drained tell all who wait for them', async () => {
    const queue = queues.queue();
    const endings = {
      cancelled: 'failed',
      removed: 'waiting',
      drained: 'waiting',
    };
    for (const [id, state] of Object.entries(endings)) {
      await queue.add('x', 1, { id, priority: 1 });
      const parents = await Promise.all(
        [1, 2].map((data) => queue.add('p', data, { children: [{ name: 'x', data: 2, options: { id } }] })),
      );
      const job = await queue.getJob(id);
      if (id === 'cancelled') await job?.cancel();
      else if (id === 'removed') await job?.remove();
      else await queue.drain();
      for (const parent of parents) expect((await parent.refresh())?.state, id).toBe(state);
    }
  });

  test('that would wait for themselves are refused', async () => {
    const queue = queues.queue();
    const child = (options: JobOptions) => ({ name: 'x', data: 1, options });
    for (const options of [
      { id: 'a', children: [child({ id: 'a' })] },
      { dedupe: { id: 'd' }, children: [child({ dedupe: { id: 'd' } })] },
      { id: 'a', children: [child({ children: [child({ id: 'a' })] })] },
    ]) {
      const error = await failureOf(queue.add('p', 1, options));
      expect(error).toMatchObject({ redisErrorKind: 'config', message: expect.stringContaining('children') });
    }
  });

  test('may be waited for by very many', async () => {
    const queue = queues.queue<number>();
    await queue.add('x', 1, { id: 'child', delayMs: 3_600_000 });
    const children = [{ name: 'x', data: 2, options: { id: 'child' } }];
    await queue.addBulk(Array.from({ length: 3_000 }, (_, data) => ({ name: 'p', data, options: { children } })));
    expect((await queue.counts())['waiting-children']).toBe(3_000);
    await (await queue.getJob('child'))?.remove();
    // They are told a page at a time.
    await reaches(queue, { waiting: 3_000, 'waiting-children': 0 });
    await queue.obliterate();
    expect(await backend.manager().command('KEYS', `${backend.namespace}*`)).toEqual([]);
  });

  test('that are replaced are not waited for any more', async () => {
    const queue = queues.queue<number>();
    const removed: string[] = [];
    queue.on('removed', ({ jobId }) => removed.push(jobId));
    await queue.ready();
    const parent = await queue.add('p', 1, {
      children: [{ name: 'x', data: 2, options: { id: 'old', delayMs: 60_000, dedupe: { id: 'd' } } }],
    });
    const waiting = failureOf((await queue.getJob('old'))?.waitUntilFinished() as Promise<unknown>);
    await queue.add('x', 3, { id: 'new', dedupe: { id: 'd', replace: true } });
    expect((await parent.refresh())?.state).toBe('waiting');
    expect(await waiting).toMatchObject({ redisErrorKind: 'config' });
    expect(removed).toEqual(['old']);
  });

  test('fail a parent that is kept as its options say', async () => {
    const queue = queues.queue();
    const child = { name: 'x', data: 1, options: { id: 'child' } };
    const parents = await Promise.all(
      [false, { count: 1 }, true, undefined].map((keepFailed) => queue.add('p', 1, { keepFailed, children: [child] })),
    );
    expect(await (await queue.getJob('child'))?.cancel('no')).toBe(true);
    const states = await Promise.all(parents.map(async (parent) => (await parent.refresh())?.state));
    expect(states.slice(0, 1)).toEqual([undefined]);
    expect(states.slice(2)).toEqual(['failed', 'failed']);
    const alone = await queue.add('x', 1, { keepFailed: false });
    await alone.cancel();
    expect(await alone.refresh()).toBeNull();
  });

  // Of failed jobs of the same millisecond the one whose id is less is the older.
  test.each(['0', 'z'])(
    'never run for a child that failed and was removed at once, by the bound of parent "%s" on failed jobs',
    async (id) => {
      const queue = queues.queue();
      const child = { name: 'x', data: 1, options: { id: 'child' } };
      await queue.add('p', 1, { id, keepFailed: { count: 1 }, children: [child] });
      await queue.addBulk(['a', 'y'].map((other) => ({ name: 'p', data: 1, options: { id: other, keepFailed: true, children: [child] } })));
      expect(await (await queue.getJob('child'))?.cancel('no')).toBe(true);
      const states = await Promise.all(['a', 'y'].map(async (other) => (await queue.getJob(other))?.state));
      expect(states).toEqual(['failed', 'failed']);
      expect((await queue.counts()).waiting).toBe(0);
    },
  );

  test.each(['0', 'z'])('never run for child "%s" that failed and was removed at once, by its own bound on failed jobs', async (id) => {
    const queue = queues.queue();
    const other = await queue.add('x', 1, { id: 'm' });
    await queue.add('p', 1, { id: 'parent', children: [{ name: 'x', data: 1, options: { id, keepFailed: { count: 1 } } }] });
    const job = await queue.getJob(id);
    await Promise.all([other.cancel('no'), job?.cancel('no')]);
    expect((await queue.getJob('parent'))?.state).toBe('failed');
  });

  test('are refused with what is wrong in them, named by their place, and nothing is added', async () => {
    const queue = queues.queue();
    const bad: [children: unknown, message: RegExp, kind?: RedisErrorKind][] = [
      ['x', /children/],
      [[1], /children\[0\]/],
      [
        [
          { name: 'x', data: 1 },
          { name: 'x', data: undefined },
        ],
        /children\[1\]\.data/,
        'serialization',
      ],
      [[{ name: '', data: 1 }], /children\[0\].*name/],
      [[{ name: 'x', data: 1, options: { attempts: -1 } }], /attempts/],
      [[{ name: 'x', data: 1, queue: 'a{b' }], /queue/],
      [[{ name: 'x', data: 1, wrong: 1 }], /wrong/],
      [
        [{ name: 'x', data: 1, options: { children: [{ name: 'x', data: () => {} }] } }],
        /children\[0\]\.options\.children\[0\]\.data/,
        'serialization',
      ],
    ];
    for (const [children, message, kind = 'config'] of bad) {
      const error = await failureOf(queue.add('parent', 1, { children: children as never }));
      expect(error.message).toMatch(message);
      expect(error.redisErrorKind).toBe(kind);
    }
    const cyclic: { children: unknown[] } = { children: [] };
    cyclic.children.push({ name: 'x', data: 1, options: cyclic });
    expect((await failureOf(queue.add('parent', 1, cyclic as never))).message).toMatch(/children/);
    expect(await queue.counts()).toMatchObject({ waiting: 0, 'waiting-children': 0 });
  });
});

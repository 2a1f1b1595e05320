/** Children in other queues: added once, and heard of whatever becomes of them. */
import type { JobOptions, TaskQueue } from 'redis-backplane';
import { expect, test } from 'vitest';
import { describeBackends } from '../support/backends.ts';
import { failureOf } from '../support/failure.ts';
import { gate, reaches, useQueues } from '../support/queues.ts';
import { until } from '../support/until.ts';

describeBackends('children in other queues', (backend) => {
  const queues = useQueues(backend);
  const elsewhere = (count: number, options?: JobOptions) =>
    Array.from({ length: count }, (_, data) => ({ queue: 'other', name: 'child', data, options }));

  test('are added and reported in a few calls, however many there are', async () => {
    const [queue, other] = [queues.queue(), queues.queue('other')];
    queue.process(() => 'done');
    other.process(() => null, { concurrency: 100 });
    const executed = async () =>
      Number(/total_commands_processed:(\d+)/.exec(String(await backend.server?.cli('INFO', 'stats')))?.[1] ?? 0);
    for (const count of [40, 3_000]) {
      const before = await executed();
      const parent = await queue.add('parent', 1, { children: elsewhere(count) });
      expect(await parent.waitUntilFinished()).toBe('done');
      // Those of scripts are counted too.
      expect((await executed()) - before).toBeLessThan(count * 15 + 500);
    }
  });

  test('reach ten thousand, with nobody at work', async () => {
    const [queue, other] = [queues.queue(), queues.queue('other')];
    const parent = await queue.add('parent', 1, { children: elsewhere(10_000) });
    await until(async () => (await other.counts()).waiting === 10_000, { what: 'the children', timeoutMs: 30_000 });
    expect(await other.drain()).toBe(10_000);
    // Removed they are not waited for, and the parent hears so though no worker of either queue runs.
    await until(async () => (await parent.refresh())?.state === 'waiting', { what: 'the parent', timeoutMs: 30_000 });
  });

  test('that are not kept run once', async () => {
    const [queue, other] = [queues.queue(), queues.queue('other')];
    const ran = new Map<string, number>();
    other.process((job) => void ran.set(job.id, (ran.get(job.id) ?? 0) + 1), { concurrency: 50 });
    queue.process(() => null, { concurrency: 50 });
    const parents = await Promise.all(
      Array.from({ length: 50 }, () => queue.add('parent', 1, { children: elsewhere(3, { keepCompleted: false }) })),
    );
    await Promise.all(parents.map((parent) => parent.waitUntilFinished()));
    expect([...ran.values()]).toEqual(Array.from({ length: 150 }, () => 1));
  });

  test('whose message was delivered, but could not be deleted, run once', async () => {
    const [queue, other] = [queues.queue(), queues.queue<number>('other')];
    const manager = backend.manager();
    const outbox = `${backend.namespace}:~queue:{work}:outbox`;
    const message = JSON.stringify({ t: 'add', q: 'other', jobs: [['id', '1 23 0 0\nx{"keepCompleted":false}7', {}]] });
    const ran: unknown[] = [];
    other.process((job) => void ran.push(job.data));
    queue.process(() => null, { leaseMs: 1_000 });
    for (let crash = 0; crash < 3; crash++) {
      await manager.command('HSET', outbox, 'a-message', message);
      await until(async () => (await manager.command('EXISTS', outbox)) === 0, { what: 'the message to be delivered' });
      await reaches(other as TaskQueue, { waiting: 0, active: 0 });
    }
    expect(ran).toEqual([7]);
  });

  test('of two parents under one id are one job that both wait for', async () => {
    const [queue, other] = [queues.queue(), queues.queue<number, string>('other')];
    const children = [{ queue: 'other', name: 'child', data: 1, options: { id: 'shared' } }];
    const parents = await Promise.all([1, 2, 3].map((data) => queue.add('parent', data, { children })));
    await reaches(other as TaskQueue, { waiting: 1 });
    expect((await queue.counts())['waiting-children']).toBe(3);
    queue.process((_, context) => context.children());
    other.process(() => 'result');
    const results = await Promise.all(parents.map((parent) => parent.waitUntilFinished()));
    expect(results).toEqual([1, 2, 3].map(() => ({ 'other:shared': 'result' })));
    // One more, now that it has completed.
    const late = await queue.add('parent', 4, { children });
    expect(await late.waitUntilFinished()).toEqual({ 'other:shared': 'result' });
  });

  test('that are the same job are that job for each, and for a parent that is added again', async () => {
    const [queue, other] = [queues.queue(), queues.queue<number, string>('other')];
    other.process(() => 'result');
    queue.process((_, context) => context.children());
    const one = { queue: 'other', name: 'child', data: 1, options: { dedupe: { id: 'd' } } };
    const twice = await queue.add('parent', 1, { children: [one, one] });
    expect(Object.values((await twice.waitUntilFinished()) as object)).toEqual(['result', 'result']);
    for (const child of [
      { ...one, options: { id: 'x' } },
      { name: 'child', data: 2, options: { id: 'y' } },
    ]) {
      for (let round = 0; round < 3; round++) {
        const parent = await queue.add('parent', 1, { id: 'again', keepCompleted: false, children: [child] });
        expect(Object.keys((await parent.waitUntilFinished()) as object).length).toBe(1);
      }
    }
  });

  test('that a queue refuses are an error of the worker, hold up no others, and are added once they can be', async () => {
    const [queue, other] = [queues.queue(), queues.queue('other')];
    const message = (delay: unknown) => JSON.stringify({ t: 'add', q: 'other', jobs: [['late', '1 0 0 0\nx1', { d: delay }]] });
    const put = (text: string) => backend.manager().command('HSET', `${backend.namespace}:~queue:{work}:outbox`, 'a-message', text);
    await put(message('no number'));
    const parents = await Promise.all(
      Array.from({ length: 30 }, (_, data) => queue.add('parent', data, { children: [{ queue: 'other', name: 'child', data }] })),
    );
    await reaches(other as TaskQueue, { waiting: 30 });
    const worker = queue.process(() => null, { leaseMs: 1_000 });
    const errors: string[] = [];
    worker.on('error', (error) => errors.push(error.redisErrorKind));
    await until(() => errors.filter((kind) => kind === 'server').length >= 2, { what: 'the worker to say so, again and again' });
    other.process(() => null);
    await Promise.all(parents.map((parent) => parent.waitUntilFinished()));
    await put(message(1));
    await reaches(other as TaskQueue, { completed: 31 });
  });

  test('that are cancelled or removed tell their parent at once, with no worker there', async () => {
    const [queue, other] = [queues.queue(), queues.queue('other')];
    const child = (id: string) => [{ queue: 'other', name: 'child', data: 1, options: { id } }];
    const cancelled = await queue.add('parent', 1, { children: child('cancelled') });
    const removed = await queue.add('parent', 1, { children: child('removed') });
    await reaches(other as TaskQueue, { waiting: 2 });
    expect(await (await other.getJob('cancelled'))?.cancel('not wanted')).toBe(true);
    expect(await (await other.getJob('removed'))?.remove()).toBe(true);
    await until(async () => (await cancelled.refresh())?.state === 'failed', { what: 'the parent of the cancelled one' });
    expect(cancelled.failedReason).toBe('child other:cancelled failed: not wanted');
    await until(async () => (await removed.refresh())?.state === 'waiting', { what: 'the parent of the removed one' });
  });

  test('may be nested in up to 16 other queues', async () => {
    const nest = (depth: number): JobOptions => ({
      children: [{ queue: `level-${depth}`, name: 'x', data: depth, options: depth > 1 ? nest(depth - 1) : {} }],
    });
    const queue = queues.queue();
    for (let level = 1; level <= 16; level++) queues.queue(`level-${level}`).process(() => level);
    queue.process((_, context) => context.children());
    const parent = await queue.add('parent', 1, nest(16));
    expect(Object.values((await parent.waitUntilFinished()) as object)).toEqual([16]);
    const error = await failureOf(queue.add('parent', 1, nest(17)));
    expect(error).toMatchObject({ redisErrorKind: 'config', message: expect.stringContaining('at most 16 other queues') });
  });

  /** What is stored of one queue, besides what is written in the test. */
  const key = (queue: string, rest: string) => `${backend.namespace}:~queue:{${queue}}:${rest}`;

  /** Has a parent wait as it did before it heard of its child: what a server that fails over may have lost. */
  const loseNews = async (parent: string, child: string, known: string) => {
    const manager = backend.manager();
    await manager.command('HSET', key('work', `kids:${parent}`), `other:${child}`, known, '', '1');
    await manager.command('HSET', key('work', `kids:${parent}`), `\u0002other:${child}`, `other\n${child}\na-message\n`);
    await manager.command('HSET', key('work', 'run'), parent, 'k||0|0|0|0||\n');
    for (const set of ['completed', 'failed']) await manager.command('ZREM', key('work', set), parent);
    await manager.command('LREM', key('work', 'wait'), '0', parent);
    await manager.command('ZADD', key('work', 'parked'), '1', parent);
  };

  test('whose news were lost are asked, whatever has become of them', async () => {
    const [queue, other] = [queues.queue<number>(), queues.queue('other')];
    const names = ['completes', 'fails', 'fails again', 'is gone', 'is retried'];
    for (const id of names) await queue.add('parent', 1, { id, children: [{ queue: 'other', name: id, data: 1, options: { id } }] });
    await reaches(other as TaskQueue, { waiting: names.length });
    const worker = other.process((job) => {
      if (job.name !== 'completes') throw new Error('broken');
      return 'its result';
    });
    await reaches(other as TaskQueue, { completed: 1, failed: 4 });
    await reaches(queue as TaskQueue, { waiting: 1, failed: 4 });
    await worker.close();
    await (await other.getJob('is gone'))?.remove();
    await (await other.getJob('is retried'))?.retry();
    const outbox = async () => backend.manager().command('EXISTS', key('other', 'outbox'));
    await until(async () => (await outbox()) === 0, { what: 'the news to be delivered' });
    for (const id of names) await loseNews(id, id, id === 'is retried' ? 'f' : 'p');
    await reaches(queue as TaskQueue, { 'waiting-children': 5 });
    queue.process((_, context) => context.children(), { leaseMs: 1_000 });
    await reaches(queue as TaskQueue, { completed: 1, failed: 3, 'waiting-children': 1 });
    const of = async (id: string) => queue.getJob(id);
    expect((await of('completes'))?.result).toEqual({ 'other:completes': 'its result' });
    expect((await of('fails'))?.failedReason).toBe('child other:fails failed: broken');
    expect((await of('is gone'))?.failedReason).toBe('child other:is gone failed: it is gone, and how it ended is not known');
    // Retried by hand it goes on without the child that is gone.
    await (await of('is gone'))?.retry();
    await until(async () => (await of('is gone'))?.state === 'completed', { what: 'the parent of the child that is gone' });
    // That of the child that is retried knows so, and fails when that does.
    other.process(() => {
      throw new Error('again');
    });
    await until(async () => (await of('is retried'))?.failedReason === 'child other:is retried failed: again', { what: 'the last one' });
  });

  test('that are not there yet, or stand for others, are not taken for gone', async () => {
    const [queue, other] = [queues.queue<number>(), queues.queue<number>('other')];
    const manager = backend.manager();
    await other.add('x', 1, { id: 'holder', dedupe: { id: 'd' } });
    const parent = await queue.add('p', 1, {
      children: [{ queue: 'other', name: 'x', data: 2, options: { id: 'stand-in', dedupe: { id: 'd' } } }],
    });
    const outbox = async () => manager.command('EXISTS', key('work', 'outbox'));
    await until(async () => (await outbox()) === 0, { what: 'the child to be delivered' });
    const late = await queue.add('p', 1, { children: [{ queue: 'other', name: 'x', data: 2, options: { id: 'late' } }] });
    await until(async () => (await outbox()) === 0, { what: 'the other child to be delivered' });
    // As if it were still on its way, to a queue that does not take it.
    const place = String(await manager.command('HGET', key('work', `kids:${late.id}`), '\u0002other:late'));
    await manager.command(
      'HSET',
      key('work', 'outbox'),
      place.split('\n')[2] as string,
      '{"t":"add","q":"}{","jobs":[["late","1 0 0 0\\nx1",{}]]}',
    );
    await (await other.getJob('late'))?.remove();
    for (const id of [parent.id, late.id]) {
      await manager.command('ZADD', key('work', 'parked'), '1', id);
      await manager.command('HSET', key('work', 'run'), id, 'k||0|0|0|0||\n');
    }
    queue.process((_, context) => context.children(), { leaseMs: 1_000 });
    const looked = async () => Number(String((await manager.command('HGET', key('work', 'meta'), 'look')) ?? '0').split(' ')[0]);
    const first = await until(looked, { what: 'a look at the parents' });
    await until(async () => (await looked()) > first, { what: 'another one', timeoutMs: 15_000 });
    expect((await parent.refresh())?.state).toBe('waiting-children');
    other.process((job) => job.id);
    expect(await parent.waitUntilFinished()).toEqual({ 'other:stand-in': 'holder' });
  });

  test('are waited for by a parent whose own record was lost, and one that is none waits no more', async () => {
    const [queue, other] = [queues.queue<number>(), queues.queue<number>('other')];
    const manager = backend.manager();
    const parents = await Promise.all(
      ['open', 'done'].map((id) => queue.add('p', 1, { children: [{ queue: 'other', name: id, data: 2, options: { id } }] })),
    );
    await reaches(other as TaskQueue, { waiting: 2 });
    await manager.command('DEL', key('work', 'run'));
    await (await other.getJob('done'))?.remove();
    await until(async () => (await manager.command('EXISTS', key('other', 'outbox'))) === 0, { what: 'the news' });
    for (const id of [...parents.map((parent) => parent.id), 'nobody']) await manager.command('ZADD', key('work', 'parked'), '1', id);
    queue.process((_, context) => context.children(), { leaseMs: 1_000 });
    expect(await parents[1]?.waitUntilFinished()).toEqual({});
    await until(async () => (await queue.counts())['waiting-children'] === 1, { what: 'nobody to go' });
    other.process(() => 'done');
    expect(await parents[0]?.waitUntilFinished()).toEqual({ 'other:open': 'done' });
  });

  test('are waited for no longer when their queue is obliterated, also those of other parents, whatever they did', async () => {
    const [queue, other] = [queues.queue<number>(), queues.queue('other')];
    const child = (id: string) => ({ queue: 'other', name: id, data: 1, options: { id } });
    const alone = await queue.add('p', 1, { children: [child('waits')] });
    const second = await queue.add('p', 1, { children: [child('waits'), child('fails')] });
    const active = await queue.add('p', 1, { children: [child('runs')] });
    await reaches(other as TaskQueue, { waiting: 3 });
    const { opened, open } = gate();
    const worker = other.process(
      async (job) => {
        if (job.name === 'fails') throw new Error('no');
        await opened;
      },
      { concurrency: 3 },
    );
    await reaches(queue as TaskQueue, { failed: 1, 'waiting-children': 2 });
    await second.retry();
    await reaches(queue as TaskQueue, { failed: 0, 'waiting-children': 3 });
    await other.obliterate({ force: true });
    queue.process(() => 'went on');
    for (const parent of [alone, second, active]) expect(await parent.waitUntilFinished()).toBe('went on');
    open();
    await worker.close();
    expect(await backend.manager().command('KEYS', key('other', '*'))).toEqual([]);
  });

  test('that failed and are swept by a keep rule are waited for no longer by a parent that is retried', async () => {
    const [queue, other] = [queues.queue<number>(), queues.queue('other')];
    const child = (id: string, keepFailed: JobOptions['keepFailed']) => ({
      queue: 'other',
      name: 'x',
      data: 1,
      options: { id, keepFailed },
    });
    other.process(() => {
      throw new Error('no');
    });
    const parents = [
      await queue.add('p', 1, { children: [child('counted', true)] }),
      await queue.add('p', 2, { children: [child('not kept', false)] }),
    ];
    await reaches(queue as TaskQueue, { failed: 2 });
    for (const parent of parents) await parent.retry();
    await reaches(queue as TaskQueue, { 'waiting-children': 1, waiting: 1 });
    await other.add('x', 1, { keepFailed: { count: 1 } });
    await reaches(queue as TaskQueue, { 'waiting-children': 0, waiting: 2 });
  });
});

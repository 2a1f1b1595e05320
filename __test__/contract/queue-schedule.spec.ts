/** Schedules: one run per tick, whoever competes and whatever the clock does. */
import { memoryControl, type TaskQueue } from 'redis-backplane';
import { describe, expect, test } from 'vitest';
import { describeBackends } from '../support/backends.ts';
import { failureOf } from '../support/failure.ts';
import { startProcess } from '../support/process.ts';
import { reaches, useQueues } from '../support/queues.ts';
import { until } from '../support/until.ts';

const HOUR = 3_600_000;

/** The tick that a job is of: its id is the schedule's and that. */
function tickOf(id: string): number {
  return Number(id.split(':').at(-1));
}

describeBackends('schedules', (backend) => {
  const queues = useQueues(backend);
  const now = async () => {
    const [seconds, micros] = await backend.manager().command<[string, string]>('TIME');
    return Number(seconds) * 1_000 + Number(micros) / 1_000;
  };

  test('are listed as they were given, replaced and ended', async () => {
    const queue = queues.queue();
    await queue.schedule('hourly', { everyMs: HOUR }, { name: 'h', data: { a: 1 }, options: { attempts: 3 } });
    await queue.schedule('noon', { cron: '0 12 * * *', tz: 'Europe/Berlin' }, { name: 'n', data: null });
    const found = Object.fromEntries((await queue.schedules()).map((schedule) => [schedule.id, schedule]));
    expect(found.hourly).toMatchObject({ when: { everyMs: HOUR }, job: { name: 'h', data: { a: 1 }, options: { attempts: 3 } }, ticks: 0 });
    expect((found.hourly?.nextAt as number) - (await now())).toSatisfy((ms: number) => ms > HOUR - 60_000 && ms <= HOUR);
    expect(found.hourly?.lastAt).toBeUndefined();
    expect(found.noon).toMatchObject({ when: { cron: '0 12 * * *', tz: 'Europe/Berlin' }, job: { name: 'n', data: null } });
    const noon = new Intl.DateTimeFormat('en-GB', { timeZone: 'Europe/Berlin', timeStyle: 'medium' }).format(found.noon?.nextAt);
    expect(noon).toBe('12:00:00');
    await queue.schedule('hourly', { everyMs: HOUR / 2 }, { name: 'half', data: 2 });
    expect((await queue.schedules()).find(({ id }) => id === 'hourly')).toMatchObject({
      when: { everyMs: HOUR / 2 },
      job: { name: 'half', data: 2 },
    });
    expect(await queue.unschedule('hourly')).toBe(true);
    expect(await queue.unschedule('hourly')).toBe(false);
    expect((await queue.schedules()).map(({ id }) => id)).toEqual(['noon']);
  });

  test.each([
    ['nested deep', Array.from({ length: 1_000 }).reduce<unknown>((inner) => [inner], 'inside')],
    ['half a character', '👍'.slice(0, 1)],
  ])('tick with all data that JSON has: %s', async (_, data) => {
    const queue = queues.queue();
    const seen: unknown[] = [];
    queue.process((job) => void seen.push(job.data));
    await queue.schedule('s', { everyMs: 50 }, { name: 'tick', data });
    expect((await queue.schedules()).map(({ job }) => job.data)).toEqual([data]);
    await until(() => seen.length > 0, { what: 'a tick' });
    expect(seen[0]).toEqual(data);
  });

  test('one that is given again unchanged keeps its next tick', async () => {
    const queue = queues.queue();
    await queue.schedule('s', { cron: '0 0 1 1 *' }, { name: 'x', data: 1 });
    const [before] = await queue.schedules();
    await queue.schedule('s', { cron: '0 0 1 1 *' }, { name: 'x', data: 1 });
    expect(await queue.schedules()).toEqual([before]);
  });

  test('tick while a worker runs, and each tick is a job of its own', async () => {
    const queue = queues.queue();
    const seen: string[] = [];
    const worker = queue.process((job) => void seen.push(job.name));
    await queue.schedule('quick', { everyMs: 50 }, { name: 'tick', data: 1, options: { keepCompleted: true } });
    await until(() => seen.length >= 4, { what: 'four ticks' });
    expect(await queue.unschedule('quick')).toBe(true);
    await reaches(queue, { waiting: 0, active: 0, delayed: 0 });
    await worker.close();
    const jobs = await queue.list('completed');
    expect(jobs).toHaveLength(seen.length);
    const ticks = jobs.map((job) => tickOf(job.id));
    expect(new Set(ticks).size).toBe(ticks.length);
  });

  test('faster than the way to the server tick as fast as they can', async () => {
    const queue = queues.queue();
    await queue.schedule('fast', { everyMs: 1 }, { name: 'x', data: 1 });
    queue.process(() => null, { concurrency: 10 });
    await until(async () => ((await queue.schedules())[0]?.ticks ?? 0) >= 20, { what: '20 ticks' });
    await queue.unschedule('fast');
  });

  test('have ids that leave room for the tick, whose jobs are like any other', async () => {
    const queue = queues.queue();
    const id = 's'.repeat(495);
    await queue.schedule(id, { everyMs: 3_600_000 }, { name: 'x', data: 1 });
    await queue.schedule(id, { everyMs: 1 }, { name: 'x', data: 1, options: { delayMs: 3_600_000 } });
    queue.process(() => null);
    await until(async () => (await queue.counts()).delayed > 0, { what: 'a tick' });
    await queue.unschedule(id);
    const [job] = await queue.list('delayed');
    expect(await (await queue.getJob(job?.id as string))?.cancel()).toBe(true);
    const error = await failureOf(queue.schedule(`${id}s`, { everyMs: 1 }, { name: 'x', data: 1 }));
    expect(error.message).toContain('id: expected a string of 1 to 495 bytes');
  });

  test('with a cron line of seconds tick at them', async () => {
    const queue = queues.queue();
    queue.process(() => {});
    await queue.schedule('s', { cron: '* * * * * *' }, { name: 'tick', data: 1 });
    await reaches(queue, { completed: 2 });
    for (const job of await queue.list('completed')) expect(job.addedAt % 1_000).toBeLessThan(500);
    const [schedule] = await queue.schedules();
    expect(schedule?.ticks).toBeGreaterThanOrEqual(2);
    expect((schedule?.lastAt as number) % 1_000).toBe(0);
  });

  if (backend.kind === 'redis-server') {
    test('under 5 competing processes tick exactly once per tick', async () => {
      const queue = queues.queue();
      const EVERY = 100;
      const args = { url: backend.url, namespace: backend.namespace, every: EVERY };
      const children = Array.from({ length: 5 }, () =>
        startProcess<typeof args>(
          async ({ redis, emit, args: { url, namespace, every } }) => {
            const competing = new redis.TaskQueue('work', { url, namespace });
            competing.process((job) => emit(job.id), { concurrency: 3 });
            await competing.schedule('s', { everyMs: every }, { name: 'tick', data: 1, options: { keepCompleted: true } });
            emit('up');
          },
          { args, timeoutMs: 60_000 },
        ),
      );
      await Promise.all(children.map((child) => child.line((line) => line === 'up')));
      const [before] = await queue.schedules();
      await until(async () => ((await queue.schedules())[0]?.ticks ?? 0) >= (before?.ticks ?? 0) + 30, {
        timeoutMs: 15_000,
        what: '30 ticks',
      });
      const [after] = await queue.schedules();
      await queue.unschedule('s');
      await reaches(queue, { waiting: 0, active: 0, delayed: 0 });
      for (const child of children) await child.kill9();
      const jobs = await queue.list('completed', { limit: 10_000 });
      const ticks = jobs.map((job) => tickOf(job.id)).sort((one, other) => one - other);
      expect(new Set(ticks).size).toBe(ticks.length);
      const gaps = ticks.slice(1).map((at, i) => at - (ticks[i] as number));
      // One that came late by a whole period is made up for together with the next: never more often than every period.
      for (const gap of gaps) expect([gap % EVERY, gap >= EVERY]).toEqual([0, true]);
      expect(gaps.filter((gap) => gap === EVERY).length).toBeGreaterThanOrEqual(gaps.length * 0.8);
      expect(Math.abs(jobs.length - (after?.ticks as number))).toBeLessThanOrEqual(1);
      const run = children.flatMap((child) => child.lines).filter((line) => line !== 'up');
      expect(run.length).toBe(jobs.length);
    });
    return;
  }

  describe('when the clock is moved', () => {
    const clock = () => memoryControl(backend.url.slice('memory://'.length));

    test('tick once per tick with five who compete, and missed ticks are made up for by one', async () => {
      const all = Array.from({ length: 5 }, () => queues.queue());
      const [queue] = all as [TaskQueue];
      await queue.schedule('s', { everyMs: HOUR }, { name: 'tick', data: 1, options: { keepCompleted: true } });
      for (const each of all) each.process(() => {}, { leaseMs: 2_000_000_000 });
      for (let n = 1; n <= 10; n++) {
        clock().advance(HOUR);
        await reaches(queue, { completed: n, waiting: 0, active: 0 });
      }
      clock().advance(100 * HOUR);
      await reaches(queue, { completed: 11, waiting: 0, active: 0 });
      clock().advance(HOUR);
      await reaches(queue, { completed: 12, waiting: 0, active: 0 });
      const [schedule] = await queue.schedules();
      expect(schedule?.ticks).toBe(12);
      expect(schedule?.nextAt).toBe((schedule?.lastAt as number) + HOUR);
    });

    test('follow summer time', async () => {
      const queue = queues.queue();
      const next = async () => {
        await queue.schedule('s', { cron: '0 12 * * *', tz: 'Europe/Berlin' }, { name: 'x', data: 1 });
        const at = (await queue.schedules())[0]?.nextAt as number;
        await queue.unschedule('s');
        return at;
      };
      // A year, ten days at a time: at noon of Berlin it is 10 or 11 o'clock in Greenwich, as the season is.
      const hours = new Set<number>();
      for (let n = 0; n < 37; n++) {
        const at = await next();
        const inBerlin = new Intl.DateTimeFormat('en-GB', { timeZone: 'Europe/Berlin', timeStyle: 'medium' }).format(at);
        expect(inBerlin).toBe('12:00:00');
        hours.add(new Date(at).getUTCHours());
        clock().advance(240 * HOUR);
      }
      expect([...hours].sort()).toEqual([10, 11]);
    });

    test('a delayed job is due when its time has come', async () => {
      const queue = queues.queue();
      const seen: unknown[] = [];
      queue.process((job) => void seen.push(job.data), { leaseMs: 2_000_000_000 });
      await queue.add('x', 'late', { delayMs: 2 * HOUR });
      await queue.add('x', 'early', { delayMs: HOUR });
      clock().advance(HOUR - 60_000);
      await reaches(queue, { delayed: 2 });
      clock().advance(60_000);
      await reaches(queue, { completed: 1 });
      clock().advance(HOUR);
      await reaches(queue, { completed: 2 });
      expect(seen).toEqual(['early', 'late']);
    });
  });
});

/** One damaged record never spoils the others: every key and every field of a queue is damaged in turn, in every way. */
import { RedisConnectionManager, type RedisError, TaskQueue } from 'redis-backplane';
import { expect, test } from 'vitest';
import { type Backend, describeBackends } from '../support/backends.ts';
import { reaches } from '../support/queues.ts';
import { until } from '../support/until.ts';

type Args = (string | Buffer)[];
type Command = (...args: Args) => Promise<unknown>;

const BYTES = Buffer.from([0xff, 0xfe, 0x00, 0x7c, 0x0a]);
const DAMAGES: (string | Buffer)[] = ['', 'garbage', BYTES, '9'.repeat(400), '[]'];
const STATES = ['waiting', 'active', 'delayed', 'completed', 'failed', 'waiting-children'] as const;

/** What is stored under a key, as the commands that store it again. */
async function stored(command: Command, key: string): Promise<Args[]> {
  const flat = async (...args: Args) => (await command(...args)) as string[];
  switch (await command('TYPE', key)) {
    case 'hash': {
      const found = (await command('HGETALL', key)) as string[] | Record<string, string>;
      return [['HSET', key, ...(Array.isArray(found) ? found : Object.entries(found).flat())]];
    }
    case 'list':
      return [['RPUSH', key, ...(await flat('LRANGE', key, '0', '-1'))]];
    case 'set':
      return [['SADD', key, ...(await flat('SMEMBERS', key))]];
    case 'zset': {
      const members = await flat('ZRANGE', key, '0', '-1');
      return Promise.all(members.map(async (member) => ['ZADD', key, String(await command('ZSCORE', key, member)), member]));
    }
    case 'string':
      return [['SET', key, String(await command('GET', key))]];
    case 'stream':
      return ((await command('XRANGE', key, '-', '+')) as [string, string[]][]).map(([id, fields]) => ['XADD', key, id, ...fields]);
    default:
      throw new Error(`a key of no known type: ${key}`);
  }
}

/** Every way to damage what these commands have stored. */
function damages(commands: Args[]): { what: string; how: Args[] }[] {
  const [verb, key] = commands[0] as [string, string];
  const wrong: Args[] =
    verb === 'SET'
      ? [
          ['DEL', key],
          ['RPUSH', key, 'x'],
        ]
      : [['SET', key, 'x']];
  const all = [
    { what: `${key}: deleted`, how: [['DEL', key]] as Args[] },
    { what: `${key}: of a wrong type`, how: [['DEL', key], ...wrong] as Args[] },
  ];
  const put = (what: string, ...how: Args[]) => all.push({ what: `${key}: ${what}`, how });
  const values = commands.flatMap((command) => command.slice(2)) as string[];
  if (verb === 'HSET') {
    for (let at = 0; at < values.length; at += 2) {
      const field = values[at] as string;
      put(`field ${JSON.stringify(field)} deleted`, ['HDEL', key, field]);
      // Where every job has a field each has some of the damages, and all of them all.
      const some = values.length > 30 ? [at / 2, at / 2 + 1].map((n) => DAMAGES[n % DAMAGES.length] as string) : DAMAGES;
      for (const damage of some)
        put(`field ${JSON.stringify(field)} is ${JSON.stringify(damage.toString())}`, ['HSET', key, field, damage]);
      put(`field ${JSON.stringify(field)} is cut`, ['HSET', key, field, (values[at + 1] as string).slice(0, -3)]);
    }
    put('a foreign field', ['HSET', key, BYTES, BYTES]);
  } else if (verb === 'ZADD') {
    for (let at = 1; at < values.length; at += 2) {
      const member = values[at] as string;
      put(`without ${JSON.stringify(member)}`, ['ZREM', key, member]);
      for (const score of ['inf', '-inf', '0.5']) put(`${JSON.stringify(member)} at ${score}`, ['ZADD', key, score, member]);
    }
    for (const score of ['0', 'inf']) put(`a foreign member at ${score}`, ['ZADD', key, score, BYTES]);
  } else if (verb === 'RPUSH') {
    for (let at = 0; at < values.length; at++) {
      for (const damage of DAMAGES) put(`element ${at} is ${JSON.stringify(damage.toString())}`, ['LSET', key, String(at), damage]);
    }
    for (const damage of DAMAGES) put(`${JSON.stringify(damage.toString())} before all`, ['LPUSH', key, damage]);
  } else if (verb === 'SADD') {
    for (const damage of DAMAGES) put(`with ${JSON.stringify(damage.toString())}`, ['SADD', key, damage]);
  } else if (verb === 'SET') {
    for (const damage of DAMAGES) put(`is ${JSON.stringify(damage.toString())}`, ['SET', key, damage]);
  }
  return all;
}

/** Leaves one of every thing that a queue stores, and gives the commands that store it. */
async function arrange(backend: Backend): Promise<Args[][]> {
  const manager = backend.manager();
  const command: Command = (...args) => manager.command(...(args as [string]));
  const [queue, other] = [new TaskQueue<number>('work', manager), new TaskQueue<number>('other', manager)];
  const key = (rest: string) => `${backend.namespace}:~queue:{work}:${rest}`;
  // The worker of a process that ends in the middle.
  const lost = backend.manager();
  const ended = new TaskQueue<number>('work', lost);
  ended.on('completed', () => {});
  await ended.ready();
  ended.process(
    async (job) => {
      if (job.name === 'fails') throw new Error('no');
      if (job.name === 'stays') await new Promise(() => {});
      await job.updateProgress(1);
      await job.log('a line');
      return 'done';
    },
    { concurrency: 10, rateLimit: { max: 1_000, perMs: 3_600_000 }, groupConcurrency: 1 },
  );
  await queue.add('x', 1, { id: 'completed', dedupe: { id: 'over', ttlMs: 3_600_000 } });
  for (const id of ['failed', 'failed-child']) await queue.add('fails', 1, { id });
  await queue.add('fails', 1, { id: 'again', attempts: 3, backoff: { type: 'fixed', delayMs: 3_600_000 } });
  await queue.add('stays', 1, { id: 'active', group: 'g', dedupe: { id: 'd' } });
  await reaches(queue as TaskQueue, { active: 1, delayed: 1, failed: 2, completed: 1 });
  await lost.disconnect();
  await (await queue.getJob('active'))?.cancel('no');
  await queue.add('x', 2, { id: 'follows', dedupe: { id: 'd', replace: true } });
  for (const id of ['plain', 'gone']) await queue.add('x', 1, { id });
  await (await queue.getJob('gone'))?.remove();
  await queue.add('x', 1, { id: 'ranked', priority: 5 });
  for (const id of ['g1', 'g2']) await queue.add('x', 1, { id, group: 'g' });
  await queue.add('x', 1, { id: 'h1', group: 'h' });
  await queue.add('x', 1, { id: 'delayed', delayMs: 3_600_000, dedupe: { id: 'e' } });
  const late = { name: 'x', data: 1, options: { id: 'late', delayMs: 3_600_000 } };
  for (const id of ['parent', 'second-parent']) await queue.add('x', 1, { id, children: [late] });
  await queue.add('x', 1, { id: 'parent-elsewhere', children: [{ queue: 'other', name: 'x', data: 1, options: { id: 'there' } }] });
  await other.add('x', 1, { id: 'parent-there', children: [{ queue: 'work', name: 'x', data: 1, options: { id: 'child-here' } }] });
  await queue.schedule('often', { everyMs: 3_600_000 }, { name: 'tick', data: 1 });
  await queue.schedule('nightly', { cron: '0 3 * * *', tz: 'Europe/Berlin' }, { name: 'tick', data: 1, options: { priority: 3 } });
  await until(async () => (await queue.getJob('child-here')) !== null && (await other.getJob('there')) !== null, { what: 'the children' });
  await command('HSET', key('owners'), 'somebody', '5 a-worker');
  await command('SADD', key('blocked'), 'blocked');
  await command('ZADD', key('group:blocked'), '1', 'nobody');
  const jobs = [['sent', '1 9 0 0\nx{"a":1}12', { u: true }]];
  await command('HSET', key('outbox'), 'a-message', JSON.stringify({ t: 'add', q: 'other', jobs }));
  const news = { t: 'child', q: 'other', id: 'parent-there', name: 'work:child-here', how: 'f', value: 'no', n: '7' };
  await command('HSET', key('outbox'), 'c7', JSON.stringify(news));
  // What is due is due now: leases have ended, schedules tick, parents are looked at.
  for (const set of ['leases', 'ticks']) {
    for (const member of (await command('ZRANGE', key(set), '0', '-1')) as string[]) await command('ZADD', key(set), '1', member);
  }
  await Promise.all([queue.close(), other.close()]);
  const keys = ((await command('KEYS', `${backend.namespace}*`)) as string[]).sort();
  const all = await Promise.all(keys.map((one) => stored(command, one)));
  await manager.disconnect();
  return all;
}

/** The first call that meets a key of a wrong type fails; then that is put aside. */
async function again<T>(call: () => Promise<T>): Promise<T> {
  const done = await until(async () => ({ value: await call() }), { what: 'a call to succeed' });
  return done.value;
}

/** As it is written for another namespace, of the same length. */
function elsewhere(args: Args, from: string, to: string): Args {
  return args.map((arg) => (typeof arg === 'string' ? arg.replaceAll(from, to) : arg));
}

describeBackends('what is damaged', (backend) => {
  /** A queue with one damage serves what is sound, shows what it has, and can be emptied. */
  async function survives(manager: RedisConnectionManager, all: Args[], how: Args[]): Promise<void> {
    const command: Command = (...args) => manager.command(...(args as [string]));
    await Promise.all(all.map((args) => command(...args)));
    for (const args of how) await command(...args);
    const queue = new TaskQueue<number, string>('work', manager);
    const errors: string[] = [];
    queue.on('error', () => {});
    const worker = queue.process(() => 'fine', {
      concurrency: 5,
      leaseMs: 1_000,
      groupConcurrency: 2,
      rateLimit: { max: 1_000, perMs: 3_600_000 },
    });
    worker.on('error', (error) => errors.push(error.message));
    try {
      const add = async (options: object) => {
        // The first call may be what finds the damage.
        const job = await until(async () => queue.add('sound', 1, options).catch((error: RedisError) => void errors.push(error.message)), {
          what: () => `a job with ${JSON.stringify(options)} to be added: ${errors.at(-1)}`,
        });
        await until(async () => (await job.refresh())?.state === 'completed', {
          what: () => `the job with ${JSON.stringify(options)} to be done: ${errors.slice(-3).join('; ')}`,
        });
      };
      await Promise.all([
        add({}),
        add({ priority: 2 }),
        add({ group: 'sound' }),
        add({ delayMs: 1 }),
        add({ children: [{ name: 'sound', data: 1 }] }),
      ]);
      await again(() => queue.counts());
      const listed = await again(() => queue.list([...STATES], { limit: 1_000 }));
      await again(() => queue.schedules());
      await again(() => queue.schedule('another', { everyMs: 3_600_000 }, { name: 'tick', data: 1 }));
      expect(await again(() => queue.unschedule('another'))).toBe(true);
      await again(() => queue.retryFailed());
      await again(() => queue.drain({ delayed: true }));
      await Promise.all(listed.map((job) => job.remove().catch((error: RedisError) => expect(error.redisErrorKind).toBe('config'))));
      await again(() => queue.clean('failed'));
      await again(() => queue.clean('completed'));
    } finally {
      await worker.close({ graceMs: 0 });
    }
    await again(() => queue.obliterate({ force: true }));
    await queue.close();
    // What belonged to a record that is damaged nobody can know of; and its listener is noted anew.
    const left = (await command('KEYS', '*~queue:{work}*')) as string[];
    const rest = new RegExp(`^${String(all[0]?.[1]).split(':')[0]}:.*}:(?!meta$|once:|kids:|log:|held:|group:)`);
    expect(left.filter((key) => rest.test(key))).toEqual([]);
  }

  test('spoils nothing else, and can be removed', async () => {
    const namespace = backend.namespace;
    const all = await arrange(backend);
    const spots = all.flatMap(damages);
    expect(all.length).toBeGreaterThan(30);
    const failures: string[] = [];
    let next = 0;
    const lane = async (number: number) => {
      const own = namespace.slice(0, -2) + String(number + 10);
      const manager = new RedisConnectionManager({ url: backend.url, namespace: own });
      manager.on('error', () => {});
      for (let at = next++; at < spots.length; at = next++) {
        const { what, how } = spots[at] as (typeof spots)[number];
        const commands = all.flat().map((args) => elsewhere(args, namespace, own));
        try {
          await survives(
            manager,
            commands,
            how.map((args) => elsewhere(args, namespace, own)),
          );
        } catch (error) {
          failures.push(`${what.slice(namespace.length)}: ${(error as Error).message.split('\n')[0]}`);
        }
        const left = (await manager.command('KEYS', `${own}*`)) as string[];
        if (left.length > 0) await manager.command('DEL', ...left);
      }
      await manager.disconnect();
    };
    await Promise.all([0, 1, 2, 3, 4, 5, 6, 7].map(lane));
    expect(failures).toEqual([]);
  });

  test('is told by the worker and counted; a damaged job fails with that as its reason, and can be removed', async () => {
    const manager = backend.manager();
    const queue = new TaskQueue<number>('work', manager);
    const key = (rest: string) => `${backend.namespace}:~queue:{work}:${rest}`;
    await queue.schedule('bad', { everyMs: 3_600_000 }, { name: 'x', data: 1 });
    await queue.schedule('good', { everyMs: 3_600_000 }, { name: 'tick', data: 1 });
    await manager.command('HSET', key('schedules'), 'bad', '{"when":');
    for (const id of ['bad', 'good']) await manager.command('ZADD', key('ticks'), '1', id);
    for (const id of ['damaged', 'lost']) await queue.add('x', 1, { id, delayMs: id === 'lost' ? 1 : 0 });
    await manager.command('HSET', key('jobs'), 'damaged', 'garbage');
    await manager.command('HDEL', key('run'), 'lost');
    await manager.command('SET', key('cancels'), 'of another type');
    const worker = queue.process(() => null, { leaseMs: 1_000 });
    const errors: RedisError[] = [];
    worker.on('error', (error) => errors.push(error));
    await reaches(queue as TaskQueue, { completed: 2, failed: 1, waiting: 0, delayed: 0 });
    // The schedule, the record of the job, the key.
    const counted = () => manager.metrics().redis_queue_damaged_total;
    await until(() => counted() === 3, { what: () => `3 damaged records to be counted; they are ${counted()}` });
    expect(errors.map((error) => error.redisErrorKind)).toContain('serialization');
    expect(errors.map((error) => error.message).join()).toMatch(/damaged records/);
    expect((await queue.list('failed')).map((job) => [job.id, job.failedReason])).toEqual([['damaged', 'the stored job is damaged']]);
    expect(await (await queue.list('failed'))[0]?.remove()).toBe(true);
    expect((await queue.schedules()).map(({ id }) => id)).toEqual(['good']);
    expect(await queue.unschedule('bad')).toBe(true);
    await worker.close();
    await queue.obliterate();
    await queue.close();
    expect(await manager.command('KEYS', `${backend.namespace}*`)).toEqual([]);
  });
});

/** Records of a consumer group that are lost, or that somebody else has written over: one suite on every backend. */
import { type BusEvents, MessageBus, memoryControl, type RedisConnectionManager } from 'redis-backplane';
import { afterEach, expect, it } from 'vitest';
import { describeBackends } from '../support/backends.ts';
import { until } from '../support/until.ts';

const GARBAGE: Record<string, string | Buffer> = {
  garbage: 'garbage',
  'no UTF-8': Buffer.from([0xff, 0xfe, 0x00, 0x80]),
  huge: 'x'.repeat(1 << 20),
};
/** What the group holds when it is damaged. */
const RECORDS = { lanes: 'hash', due: 'zset', parked: 'zset', notes: 'hash', consumers: 'zset', dead: 'stream' } as const;
type Kind = keyof typeof RECORDS;

interface Damage {
  what: string;
  kind: Kind;
  apply(manager: RedisConnectionManager, key: string): Promise<unknown>;
}

/** The member or field at a place, and what stands beside it. */
async function at(manager: RedisConnectionManager, kind: Kind, key: string, place: number): Promise<[string, string]> {
  const flat =
    RECORDS[kind] === 'hash'
      ? Object.entries(await manager.command<Record<string, string>>('HGETALL', key)).flat()
      : (await manager.command<unknown[]>('ZRANGE', key, 0, -1, 'WITHSCORES')).flat();
  return [String(flat[2 * place]), String(flat[2 * place + 1])];
}

function damages(): Damage[] {
  const all: Damage[] = [];
  const add = (kind: Kind, what: string, apply: Damage['apply']): void => void all.push({ kind, what: `${kind}: ${what}`, apply });
  for (const kind of Object.keys(RECORDS) as Kind[]) {
    add(kind, 'deleted', (manager, key) => manager.command('DEL', key));
    add(kind, 'a string instead', (manager, key) => manager.command('SET', key, 'mine'));
    // In one step: a consumer may make the key anew in between.
    add(kind, 'a list instead', (manager, key) =>
      manager.transaction([
        ['DEL', key],
        ['RPUSH', key, 'mine'],
      ]),
    );
    // As many records as the group has of a kind, more or less.
    for (const place of RECORDS[kind] === 'stream' ? [] : [0, 1, 2]) {
      if (RECORDS[kind] === 'hash') {
        add(kind, `field ${place} deleted`, async (manager, key) => manager.command('HDEL', key, (await at(manager, kind, key, place))[0]));
        for (const [name, text] of Object.entries(GARBAGE)) {
          add(kind, `field ${place} ${name}`, async (manager, key) =>
            manager.command('HSET', key, (await at(manager, kind, key, place))[0], text),
          );
        }
        continue;
      }
      add(kind, `member ${place} deleted`, async (manager, key) => manager.command('ZREM', key, (await at(manager, kind, key, place))[0]));
      for (const [name, text] of Object.entries(GARBAGE)) {
        add(kind, `member ${place} ${name}`, async (manager, key) => {
          const [member, score] = await at(manager, kind, key, place);
          await manager.command('ZREM', key, member);
          await manager.command('ZADD', key, Number.isNaN(Number(score)) ? 0 : score, text);
        });
      }
      add(kind, `member ${place} with another score`, async (manager, key) => {
        const [member] = await at(manager, kind, key, place);
        if (member !== 'undefined') await manager.command('ZADD', key, kind === 'parked' ? 0 : '9e15', member);
      });
    }
    if (RECORDS[kind] === 'zset') {
      add(kind, 'the name of nobody', (manager, key) => manager.command('ZADD', key, 0, '~waiting'));
      add(kind, 'cut members', (manager, key) => manager.command('ZADD', key, 0, '00000000000000000001-', 0, '3:k', 0, '1:k:1-1', 0, ':'));
    }
  }
  add('lanes', 'all of a consumer that is none', async (manager, key) => {
    for (const field of Object.keys(await manager.command<Record<string, string>>('HGETALL', key))) {
      await manager.command('HSET', key, field, '7:nobody');
    }
  });
  return all;
}

describeBackends('a consumer group', (backend) => {
  const buses: MessageBus[] = [];
  afterEach(async () => {
    await Promise.all(buses.splice(0).map((bus) => bus.close()));
  });

  function bus(manager = backend.manager()): MessageBus {
    const made = new MessageBus(manager);
    buses.push(made);
    return made;
  }

  const keyOf = (topic: string, kind: Kind): string => `${backend.namespace}:~${kind}:{${backend.namespace}:${topic}}:g`;
  const streamOf = (topic: string): string => `${backend.namespace}:~stream:{${backend.namespace}:${topic}}`;

  function letter(manager: RedisConnectionManager, topic: string, payload: unknown): Promise<unknown> {
    const data = JSON.stringify({ msg: { id: `of ${payload}`, type: 't', ts: '', corrId: 'c', attempts: 0, payload } });
    return manager.command('XADD', keyOf(topic, 'dead'), '*', 'id', '1-1', 'attempts', '3', 'error', 'e', 'data', data);
  }

  async function pendingOf(manager: RedisConnectionManager, topic: string): Promise<number> {
    return (await manager.command<[number]>('XPENDING', streamOf(topic), 'g'))[0];
  }

  /** What a topic's consumer has done, and how it is brought to a state in which the group has one record of each kind. */
  async function prepared(on: MessageBus, manager: RedisConnectionManager, topic: string) {
    const done: unknown[] = [];
    const failed = new Set<unknown>();
    await on.subscribe(
      topic,
      ({ payload }) => {
        if (['plain', 'k1', 'l1'].includes(payload as string) && !failed.has(payload)) {
          failed.add(payload);
          throw new Error('first');
        }
        done.push(payload);
      },
      { group: 'g', from: 'start', concurrency: 5, claimAfterMs: 1_000, retry: { minDelayMs: 1_000, maxDelayMs: 1_000 } },
    );
    for (const key of ['k', 'l']) for (const n of [1, 2, 3]) await on.publish(topic, `${key}${n}`, { durable: true, key });
    await on.publish(topic, 'plain', { durable: true });
    await letter(manager, topic, 'letter 1');
    await letter(manager, topic, 'letter 2');
    return done;
  }

  async function settled(manager: RedisConnectionManager, topic: string): Promise<boolean> {
    const counts = await Promise.all((['due', 'parked'] as const).map((kind) => manager.command<number>('ZCARD', keyOf(topic, kind))));
    return counts[0] === 3 && counts[1] === 4;
  }

  for (const kind of Object.keys(RECORDS) as Kind[]) {
    it(`delivers everything once though any record of its ${kind} is lost or damaged`, async () => {
      const manager = backend.manager();
      const one = bus(manager);
      const errors: unknown[] = [];
      one.on('error', ({ error }) => errors.push(String((error as Error).message)));
      await Promise.all(
        damages()
          .filter((damage) => damage.kind === kind)
          .map(async ({ what, apply }, n) => {
            const topic = `t${n}`;
            const done = await prepared(one, manager, topic);
            await until(() => settled(manager, topic), { what: () => `the records of ${what}`, timeoutMs: 20_000 });
            await apply(manager, keyOf(topic, kind));
            await one.publish(topic, 'after', { durable: true });
            await one.publish(topic, 'k4', { durable: true, key: 'k' });
            const all = ['after', 'k1', 'k2', 'k3', 'k4', 'l1', 'l2', 'l3', 'plain'];
            await until(() => all.every((payload) => done.includes(payload)), {
              timeoutMs: 30_000,
              what: () => `all messages though ${what}; done: ${done}; errors: ${[...new Set(errors)].join('\n')}`,
            });
            await until(async () => (await pendingOf(manager, topic)) === 0, { what: () => `nothing to be pending: ${what}` });
            expect([...done].sort(), what).toEqual(all);
            if (kind !== 'lanes' && kind !== 'parked') {
              const of = (key: string) => done.filter((payload) => String(payload).startsWith(key));
              expect(of('l'), what).toEqual(['l1', 'l2', 'l3']);
            }
            const letters = one.deadLetters(topic, 'g');
            const rightType = async () => ['stream', 'none'].includes(await manager.command<string>('TYPE', keyOf(topic, 'dead')));
            await until(rightType, { what: () => `dead letters to be readable: ${what}` });
            const left = kind === 'dead' ? 0 : 2;
            expect((await letters.list()).length, what).toBe(left);
            expect(await letters.redrive(), what).toBe(left);
            await until(() => done.length === all.length + left, { what: () => `the letters: ${what}; done: ${done}` });
            expect(await letters.purge(), what).toBe(0);
          }),
      );
    });
  }

  it('has what was stranded put back and says so, by an event and a number', async () => {
    const manager = backend.manager();
    const one = bus(manager);
    const errors: BusEvents['error'][] = [];
    one.on('error', (event) => errors.push(event));
    const done = await prepared(one, manager, 't');
    await until(() => settled(manager, 't'), { what: 'the records' });
    await manager.command('DEL', keyOf('t', 'due'), keyOf('t', 'parked'), keyOf('t', 'lanes'));
    await until(() => done.length === 7, { what: () => `all of it; done: ${done}`, timeoutMs: 15_000 });
    expect(manager.metrics().redis_bus_restored_total).toBe(7);
    const told = errors.filter(({ envelopeId }) => envelopeId === undefined);
    expect(told).toEqual([{ topic: 't', group: 'g', error: expect.objectContaining({ message: expect.stringContaining('7 messages') }) }]);
  });

  // Only the engine in this process has a clock of its own.
  if (backend.kind === 'memory') {
    it('takes nothing from the living when the clock of the server steps forward', async () => {
      const seen: unknown[] = [];
      const released: (() => void)[] = [];
      // The one looks ten times as often as the other gives a sign of life.
      for (const claimAfterMs of [300, 3_000]) {
        await bus().subscribe(
          't',
          ({ payload }, { attempt }) => {
            seen.push([payload, attempt]);
            return new Promise<void>((resolve) => released.push(resolve));
          },
          { group: 'g', claimAfterMs },
        );
      }
      const manager = backend.manager();
      const publisher = bus(manager);
      for (const n of [1, 2]) await publisher.publish('t', n, { durable: true });
      await until(() => seen.length === 2, { what: 'both to be in hand' });
      memoryControl(backend.url.replace('memory://', '')).advance(3_600_000);
      const ends = async () => (await manager.command<unknown[]>('ZRANGE', keyOf('t', 'consumers'), 0, -1, 'WITHSCORES')).flat();
      const now = async () => Number((await manager.command<string[]>('TIME'))[0]) * 1_000;
      const renewed = async () => Number((await ends())[1]) > (await now());
      await until(renewed, { what: 'both leases to be renewed', timeoutMs: 10_000 });
      expect(await ends()).toHaveLength(4);
      for (const release of released) release();
      await until(async () => (await pendingOf(manager, 't')) === 0, { what: 'nothing to be pending' });
      expect(seen).toHaveLength(2);
    });
  }

  it('waits no longer for what a clock set back has put far ahead: retries, and the leases of the dead', async () => {
    const manager = backend.manager();
    const one = bus(manager);
    const seen: unknown[] = [];
    const retry = { minDelayMs: 500, maxDelayMs: 500 };
    await one.subscribe(
      't',
      ({ payload }, { attempt }) => {
        seen.push([payload, attempt]);
        if (payload === 'fails' && attempt === 1) throw new Error('first');
      },
      { group: 'g', claimAfterMs: 500, retry },
    );
    await one.publish('t', 'fails', { durable: true });
    await until(async () => (await manager.command('ZCARD', keyOf('t', 'due'))) === 1, { what: 'the retry' });
    // As the clock would be an hour behind those that wrote this.
    await manager.command('ZINCRBY', keyOf('t', 'due'), 3_600_000, String(await manager.command('ZRANGE', keyOf('t', 'due'), 0, 0)));
    const later = 3_600_000 + Number((await manager.command<string[]>('TIME'))[0]) * 1_000;
    await manager.command('ZADD', keyOf('t', 'consumers'), later, 'dead');
    await manager.command('XADD', streamOf('t'), '*', 'data', '"of the dead"');
    await manager.command('XREADGROUP', 'GROUP', 'g', 'dead', 'COUNT', 1, 'STREAMS', streamOf('t'), '>');
    await until(() => seen.length === 3, { what: () => `all of it; seen ${JSON.stringify(seen)}`, timeoutMs: 10_000 });
    expect(seen[0]).toEqual(['fails', 1]);
    expect(seen).toContainEqual(['fails', 2]);
    expect(seen).toContainEqual(['of the dead', 2]);
  });

  it('lists, redrives and purges dead letters among entries that anyone has written', async () => {
    const manager = backend.manager();
    const one = bus(manager);
    const malformed: BusEvents['malformed'][] = [];
    one.on('malformed', (event) => malformed.push(event));
    const done: unknown[] = [];
    await one.subscribe('t', ({ payload, attempts }) => void done.push([payload, attempts]), { group: 'g' });
    const letters = one.deadLetters('t', 'g');
    const dead = keyOf('t', 'dead');
    const data = JSON.stringify('damaged');
    const entries: (string | Buffer)[][] = [
      ['foreign', 'entry'],
      ['id', '1-1'],
      ['id', '1-1', 'attempts', '3', 'data', data],
      ['attempts', '3', 'id', '1-1', 'error', 'e', 'data', data],
      Array.from({ length: 3_000 }, (_, n) => (n % 2 === 0 ? 'id' : `${n}`)),
      [GARBAGE['no UTF-8'] as Buffer, GARBAGE.huge as string],
    ];
    const strays: string[] = [];
    await letter(manager, 't', 1);
    // More than one page of them.
    for (let n = 0; n < 120; n++)
      strays.push(await manager.command<string>('XADD', dead, '*', ...(entries[n % entries.length] as string[])));
    // Its own fields may be anything.
    for (const fields of [
      ['id', GARBAGE['no UTF-8'], 'attempts', '1e400', 'error', GARBAGE.huge, 'data', '2'],
      ['id', '', 'attempts', '-5', 'error', GARBAGE['no UTF-8'], 'key', GARBAGE['no UTF-8'], 'data', '3'],
    ] as string[][]) {
      await manager.command('XADD', dead, '*', ...fields);
    }
    expect(await letters.count()).toBe(123);
    const listed = await letters.list({ limit: 1_000 });
    expect(listed.filter(({ damaged }) => damaged).map(({ id }) => id)).toEqual(strays);
    const readable = listed.filter(({ damaged }) => !damaged);
    expect(readable.map(({ envelope, attempts }) => [envelope?.payload, attempts])).toEqual([
      [1, 3],
      [2, 0],
      [3, 0],
    ]);
    for (const { streamId, lastError, key = '' } of readable) {
      expect([streamId, lastError, key].every((text) => typeof text === 'string' && text.length <= 1_024)).toBe(true);
    }

    expect(await letters.redrive()).toBe(3);
    await until(() => done.length === 3, { what: 'the good ones' });
    expect(done).toEqual([
      [1, 3],
      [2, 0],
      [3, 0],
    ]);
    expect(malformed.map(({ letterId }) => letterId)).toEqual(strays);
    expect(malformed[0]).toEqual({ topic: 't', group: 'g', letterId: strays[0], bytes: 12 });
    expect(manager.metrics().redis_bus_malformed_total).toBe(120);
    expect(await letters.purge(strays.slice(0, 1))).toBe(1);
    expect(await letters.purge()).toBe(119);
    expect(await letters.count()).toBe(0);

    // Something else stands where dead letters would.
    await manager.command('DEL', dead);
    await manager.command('SET', dead, 'mine');
    expect(await letters.purge()).toBe(1);
    expect(await letters.list()).toEqual([]);
  });

  it('redrives a dead letter once, though its id is given twice, in one call or in two at once', async () => {
    const manager = backend.manager();
    const one = bus(manager);
    const done: unknown[] = [];
    await one.subscribe('t', ({ payload }) => void done.push(payload), { group: 'g' });
    const letters = one.deadLetters('t', 'g');
    const ids: string[] = [];
    for (let n = 0; n < 150; n++) ids.push(String(await letter(manager, 't', n)));
    const [first, second] = await Promise.all([letters.redrive(ids.flatMap((id) => [id, id])), letters.redrive(ids)]);
    expect(Number(first) + Number(second)).toBe(150);
    await until(async () => done.length >= 150 && (await pendingOf(manager, 't')) === 0, { what: 'all of them' });
    expect(done.sort((a, b) => Number(a) - Number(b))).toEqual(ids.map((_, n) => n));
  });

  it('takes entries that anyone has appended, and goes on', async () => {
    const manager = backend.manager();
    const one = bus(manager);
    const done: unknown[] = [];
    const retry = { maxAttempts: 1 };
    await one.subscribe('t', ({ payload }) => void done.push(payload), { group: 'g', from: 'start', retry });
    const entries: [string | Buffer, string | Buffer][][] = [
      [['foreign', 'entry']],
      [['data', GARBAGE['no UTF-8'] as Buffer]],
      [['data', 'garbage']],
      [['key', GARBAGE.huge as string]],
      [['key', GARBAGE['no UTF-8'] as Buffer]],
      [['data', `${'['.repeat(200_000)}${']'.repeat(200_000)}`]],
      Array.from({ length: 5_000 }, (_, n): [string, string] => [`field ${n}`, '']),
    ];
    for (const entry of entries) await manager.command('XADD', streamOf('t'), '*', ...entry.flat());
    for (const [name, text] of [
      ['~attempts', '1e400'],
      ['~attempts', 'nan'],
      ['~attempts', '18446744073709551615'],
      ['~error', GARBAGE['no UTF-8'] as Buffer],
      ['~error', GARBAGE.huge as string],
      ['~group', 'g'],
    ] as [string, string][]) {
      await manager.command('XADD', streamOf('t'), '*', name, text, 'data', JSON.stringify(name));
    }
    await one.publish('t', 'good', { durable: true, key: 'k' });
    const readable = ['~attempts', '~attempts', '~attempts', '~error', '~error', '~group', 'good'];
    await until(() => done.length >= readable.length, {
      what: () => `the readable ones; done: ${JSON.stringify(done)}`,
      timeoutMs: 15_000,
    });
    await until(async () => (await pendingOf(manager, 't')) === 0, { what: 'nothing to be pending' });
    expect(done.filter((payload) => typeof payload === 'string').sort()).toEqual(readable.sort());
  });
});

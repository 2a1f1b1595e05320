/** The engine behind `memory://`: a test's control of it, who shares its state and for how long, and that nothing falls back to it. */
import { randomUUID } from 'node:crypto';
import { createRequire } from 'node:module';
import { Worker } from 'node:worker_threads';
import { createTestRedisConfig, type MemoryControl, memoryControl, type RedisConnectionManager, RedisError } from 'redis-backplane';
import { beforeEach, describe, expect, it } from 'vitest';
import { failureOf } from './support/failure.ts';
import { freePort } from './support/port.ts';
import { PACKAGE_ROOT, runProcess } from './support/process.ts';
import { durationOf, reaches, recordEvents, settledAll, useRig } from './support/rig.ts';
import { stretched } from './support/starvation.ts';
import { until, within } from './support/until.ts';

const rig = useRig();

/** An engine of the test's own. */
let name: string;
let url: string;
let memory: MemoryControl;
let manager: RedisConnectionManager;
beforeEach(async () => {
  name = `spec-${randomUUID()}`;
  url = `memory://${name}`;
  memory = memoryControl(name);
  manager = rig.manager(url);
  await manager.connect();
});

/** What `act` throws. */
function thrownBy(act: () => unknown): RedisError {
  try {
    act();
  } catch (error) {
    expect(error).toBeInstanceOf(RedisError);
    return error as RedisError;
  }
  throw new Error('expected an error');
}

describe('advance', () => {
  it('expires a key exactly when its time has come', async () => {
    await manager.command('SET', 'k', 'v', 'EX', 3_600);
    await manager.command('SET', 'stays', 'v');
    memory.advance(3_590_000);
    expect(await manager.command('EXISTS', 'k', 'stays')).toBe(2);
    expect(await manager.command<number>('PTTL', 'k')).toBeLessThanOrEqual(10_000);
    memory.advance(10_000);
    expect(memory.dump().map(({ key }) => key)).toEqual(['stays']);
    expect(await manager.command('EXISTS', 'k', 'stays')).toBe(1);
  });

  it('ends the wait of a BLPOP', async () => {
    const popped = manager.command('BLPOP', 'queue', 600);
    await until(async () => (await manager.command<string>('INFO', 'clients')).includes('blocked_clients:1'), {
      what: 'the BLPOP to block',
    });
    memory.advance(600_000);
    expect(await within(5_000, popped, 'the BLPOP')).toBeNull();
  });

  it('moves what TIME says', async () => {
    const seconds = async () => Number((await manager.command<string[]>('TIME'))[0]);
    const before = await seconds();
    memory.advance(86_400_000);
    expect((await seconds()) - before).toBeGreaterThanOrEqual(86_400);
    expect((await seconds()) - before).toBeLessThan(86_460);
  });
});

describe('pause', () => {
  it('lets commands run into their deadline, and resume executes what was sent', async () => {
    const hurried = rig.manager({ url, commandTimeoutMs: 200 });
    await hurried.connect();
    memory.pause();
    const error = await failureOf(hurried.command('INCR', 'n'));
    expect(error).toMatchObject({ redisErrorKind: 'timeout', delivery: 'maybe-executed' });
    memory.resume();
    await until(async () => (await hurried.command('GET', 'n')) === '1', { what: 'the INCR to be executed' });
    expect(await hurried.command('INCR', 'n')).toBe(2);
  });

  it('keeps a command that has time until resume', async () => {
    memory.pause();
    const reply = manager.command('ECHO', 'late');
    memory.resume();
    expect(await reply).toBe('late');
  });
});

describe('dropReplies', () => {
  it('executes an INCR once, and its error says that it may have been', async () => {
    memory.dropReplies(1);
    const error = await failureOf(manager.command('INCR', 'n'));
    expect(error).toMatchObject({ redisErrorKind: 'connection', delivery: 'maybe-executed' });
    expect(await manager.command('GET', 'n')).toBe('1');
  });

  it('lets a read through, which is sent again', async () => {
    await manager.command('SET', 'k', 'v');
    memory.dropReplies(1);
    expect(await manager.command('GET', 'k')).toBe('v');
    expect(manager.metrics().redis_commands_resent_total).toBe(1);
  });
});

describe('killClients', () => {
  it('makes the manager reconnect, and the data is kept', async () => {
    const events = recordEvents(manager);
    await manager.command('SET', 'k', 'v');
    memory.killClients();
    await until(() => events.counts.ready === 1, { what: 'the manager to be ready again' });
    await reaches(manager, 'ready');
    expect(events.states).toEqual(['reconnecting', 'ready']);
    expect(await manager.command('GET', 'k')).toBe('v');
  });
});

describe('latency', () => {
  it('delays every reply, until 0 ends it', async () => {
    memory.latency(150);
    expect(await durationOf(manager.command('PING'))).toBeGreaterThanOrEqual(149);
    memory.latency(0);
    expect(await durationOf(manager.command('PING'))).toBeLessThan(stretched(149));
  });
});

describe('readonly', () => {
  it('refuses writes as a replica does, and reads go on', async () => {
    await manager.command('SET', 'k', 'v');
    memory.readonly(true);
    const error = await failureOf(manager.command('SET', 'k', 'w'));
    expect(error).toMatchObject({ redisErrorKind: 'server', serverCode: 'READONLY', delivery: 'rejected' });
    expect(await manager.command('GET', 'k')).toBe('v');
    memory.readonly(false);
    expect(await manager.command('SET', 'k', 'w')).toBe('OK');
  });

  it('keeps the data while the manager looks for the master on another connection', async () => {
    await manager.command('SET', 'k', 'v');
    memory.readonly(true);
    await failureOf(manager.command('SET', 'k', 'w'));
    expect(manager.metrics().redis_reconnection_attempts_total).toBeGreaterThan(0);
    expect(memory.dump()).toMatchObject([{ key: 'k', value: 'v' }]);
  });
});

describe('flush and dump', () => {
  it('dump shows every key with its type and its time, and flush leaves none', async () => {
    await manager.command('SET', 's', 'text', 'PX', 5_000);
    await manager.command('RPUSH', 'l', 'a', 'b');
    await manager.command('HSET', 'h', 'f', 'v');
    await manager.command('SADD', 'm', 'x');
    await manager.command('ZADD', 'z', 1.5, 'x');
    await manager.command('XADD', 'x', '1-1', 'f', 'v');
    const other = rig.manager({ url, db: 1 });
    await other.command('SET', 'elsewhere', 1);
    const dump = memory.dump();
    const ttl = dump.find(({ key }) => key === 's')?.ttl;
    expect(ttl).toBeGreaterThan(0);
    expect(ttl).toBeLessThanOrEqual(5_000);
    expect(dump).toEqual([
      { db: 0, key: 'h', type: 'hash', ttl: null, value: { f: 'v' } },
      { db: 0, key: 'l', type: 'list', ttl: null, value: ['a', 'b'] },
      { db: 0, key: 'm', type: 'set', ttl: null, value: ['x'] },
      { db: 0, key: 's', type: 'string', ttl, value: 'text' },
      { db: 0, key: 'x', type: 'stream', ttl: null, value: [['1-1', ['f', 'v']]] },
      { db: 0, key: 'z', type: 'zset', ttl: null, value: [['x', 1.5]] },
      { db: 1, key: 'elsewhere', type: 'string', ttl: null, value: '1' },
    ]);
    memory.flush();
    expect(memory.dump()).toEqual([]);
    expect(await manager.command('DBSIZE')).toBe(0);
  });
});

describe('maxMemory', () => {
  it('refuses writes beyond it with OOM, and 0 takes the bound away', async () => {
    memory.maxMemory(100_000);
    const outcomes = await settledAll(Array.from({ length: 200 }, (_, i) => manager.command('SET', `k${i}`, 'x'.repeat(1_000))));
    const refused = outcomes.flatMap(({ error }) => (error ? [error] : []));
    expect(refused.length).toBeGreaterThan(50);
    expect(refused.length).toBeLessThan(200);
    for (const error of refused) expect(error).toMatchObject({ redisErrorKind: 'server', serverCode: 'OOM', delivery: 'rejected' });
    expect(await manager.command('GET', 'k0')).toBe('x'.repeat(1_000));
    expect(await manager.command('DEL', 'k0')).toBe(1);
    memory.maxMemory(0);
    expect(await manager.command('SET', 'k199', 'x')).toBe('OK');
  });

  it('is not used up by keys that expire', async () => {
    memory.maxMemory(100_000);
    for (let round = 0; round < 20; round += 1) {
      const writes = Array.from({ length: 50 }, (_, i) => manager.command('SET', `r${round}-${i}`, 'x'.repeat(1_000), 'PX', 100));
      expect((await settledAll(writes)).filter(({ error }) => error)).toEqual([]);
      // As in Redis, a key is there until its time has passed, not only come.
      memory.advance(101);
    }
    expect(memory.dump()).toEqual([]);
  });
});

describe('a wrong call of memoryControl', () => {
  it('for a name that nothing is connected to is of kind closed', () => {
    const unknown = memoryControl(`nobody-${randomUUID()}`);
    const calls: (() => unknown)[] = [
      () => unknown.advance(1),
      () => unknown.pause(),
      () => unknown.resume(),
      () => unknown.dropReplies(1),
      () => unknown.killClients(),
      () => unknown.latency(1),
      () => unknown.readonly(true),
      () => unknown.flush(),
      () => unknown.maxMemory(1),
      () => unknown.dump(),
    ];
    for (const call of calls) expect(thrownBy(call).redisErrorKind).toBe('closed');
  });

  it.each([
    ['a name that is no string', () => memoryControl(1 as never)],
    ['an empty name', () => memoryControl('')],
    ['a negative time', () => memory.advance(-1)],
    ['a time that is none', () => memory.advance(Number.NaN)],
    ['an endless time', () => memory.latency(Number.POSITIVE_INFINITY)],
    ['a time as text', () => memory.advance('1' as never)],
    ['a negative count', () => memory.dropReplies(-1)],
    ['negative memory', () => memory.maxMemory(-1)],
  ])('with %s is of kind config', async (_, call) => {
    expect(thrownBy(call).redisErrorKind).toBe('config');
    expect(await manager.command('PING')).toBe('PONG');
  });
});

describe('the state of memory://name', () => {
  it('is shared by every manager of that name', async () => {
    const other = rig.manager(url);
    await manager.command('SET', 'k', 'v');
    expect(await other.command('GET', 'k')).toBe('v');
    const popped = other.command('BLPOP', 'queue', 5);
    await manager.command('RPUSH', 'queue', 'item');
    expect(await popped).toEqual(['queue', 'item']);
  });

  it('is not shared with another name', async () => {
    const other = rig.manager(`memory://${randomUUID()}`);
    await manager.command('SET', 'k', 'v');
    expect(await other.command('GET', 'k')).toBeNull();
  });

  it('is shared with worker threads', async () => {
    await manager.command('SET', 'from-main', 'hello');
    const code = `
      const { parentPort, workerData } = require('node:worker_threads');
      const { RedisConnectionManager } = require(workerData.entry);
      (async () => {
        const manager = new RedisConnectionManager(workerData.url);
        const seen = await manager.command('GET', 'from-main');
        for (let i = 0; i < 100; i += 1) await manager.command('INCR', 'n');
        await manager.disconnect();
        parentPort.postMessage(seen);
      })();`;
    const entry = createRequire(`${PACKAGE_ROOT}/`).resolve('./dist/index.js');
    const seen = await Promise.all(
      Array.from({ length: 4 }, async () => {
        const worker = new Worker(code, { eval: true, workerData: { url, entry } });
        const message = await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject));
        await worker.terminate();
        return message;
      }),
    );
    expect(seen).toEqual(Array(4).fill('hello'));
    expect(await manager.command('GET', 'n')).toBe('400');
  });

  it('outlives a manager while another one is connected, and is gone after the last', async () => {
    const other = rig.manager(url);
    await other.command('SET', 'k', 'v');
    await other.disconnect();
    expect(await manager.command('GET', 'k')).toBe('v');
    await manager.disconnect();
    expect(thrownBy(() => memory.dump()).redisErrorKind).toBe('closed');
    await manager.connect();
    expect(await manager.command('GET', 'k')).toBeNull();
    expect(memory.dump()).toEqual([]);
  });

  it('is private to each manager without a name', async () => {
    const [first, second] = [rig.manager('memory://'), rig.manager('memory://')];
    await first.command('SET', 'k', 'v');
    expect(await second.command('GET', 'k')).toBeNull();
    // The connection that a blocking command gets belongs to the same manager.
    expect(await first.command('RPUSH', 'queue', 'item')).toBe(1);
    expect(await first.command('BLPOP', 'queue', 1)).toEqual(['queue', 'item']);
  });
});

describe('many managers', () => {
  /** What a thousand more of them, made, used and disconnected, leave in a process that has had three hundred. */
  const growth = async () => {
    const ended = await runProcess(
      async ({ redis, emit, require }) => {
        const { readdirSync } = require('node:fs') as typeof import('node:fs');
        const cycle = async (count: number) => {
          for (let i = 0; i < count; i += 1) {
            const manager = new redis.RedisConnectionManager(`memory://many-${i}`);
            await manager.command('SET', 'k', 'x'.repeat(100_000));
            await manager.script('return redis.call("GET", KEYS[1])', ['k']);
            await manager.disconnect();
          }
          for (let i = 0; i < 5; i += 1) {
            globalThis.gc?.();
            await new Promise((resolve) => setTimeout(resolve, 20));
          }
        };
        const measure = () => ({
          mib: process.memoryUsage.rss() / 2 ** 20,
          handles: process.getActiveResourcesInfo().length,
          threads: readdirSync('/proc/self/task').length,
          files: readdirSync('/proc/self/fd').length,
        });
        await cycle(1_000);
        const before = measure();
        await cycle(1_000);
        emit([before, measure()]);
      },
      { nodeOptions: ['--expose-gc'], timeoutMs: 60_000 },
    );
    expect(ended).toMatchObject({ code: 0, stderr: '' });
    type Measure = Record<'mib' | 'handles' | 'threads' | 'files', number>;
    const [before, after] = ended.lines[0] as [Measure, Measure];
    return { before, after };
  };

  it('a thousand made, used and disconnected leave no handle, no thread, no file and no engine', async () => {
    const { before, after } = await growth();
    for (const what of ['handles', 'threads', 'files'] as const) expect(after[what], what).toBeLessThanOrEqual(before[what]);
    // The engines alone, each with its 100 kB, would be 100 MiB.
    expect(after.mib - before.mib).toBeLessThan(8);
  }, 70_000);

  it('a hundred at once work, each on an engine of its own', async () => {
    const managers = Array.from({ length: 100 }, () => rig.manager('memory://'));
    expect(await Promise.all(managers.map((each) => each.command('INCR', 'n')))).toEqual(Array(100).fill(1));
  });
});

describe('nothing falls back to memory', () => {
  it('an unreachable server is an error', async () => {
    const unreachable = rig.manager({ url: `redis://127.0.0.1:${await freePort()}`, connectTimeoutMs: 500 });
    expect((await failureOf(unreachable.command('SET', 'k', 'v'))).redisErrorKind).toBe('connection');
    expect(unreachable.state).toBe('failed');
  });
});

describe('createTestRedisConfig', () => {
  const urlIn = async (env: Record<string, string>) => {
    const { lines } = await runProcess(
      ({ redis, emit }) =>
        emit([redis.createTestRedisConfig().url, redis.REDIS_TEST_CONFIG.url, redis.createTestRedisConfig({ port: 1 }).url]),
      { env },
    );
    return lines[0];
  };

  it('uses memory:// without REDIS_TEST_URL', async () => {
    const expected = 'memory://redis-backplane-tests';
    expect(await urlIn({ REDIS_TEST_URL: '' })).toEqual([expected, expected, null]);
    const config = createTestRedisConfig(process.env.REDIS_TEST_URL ? { url: expected } : {});
    expect(await rig.manager(config).command('PING')).toBe('PONG');
  });

  it('uses the server of REDIS_TEST_URL', async () => {
    const expected = 'redis://example.test:7000/3';
    expect(await urlIn({ REDIS_TEST_URL: expected })).toEqual([expected, expected, null]);
  });
});

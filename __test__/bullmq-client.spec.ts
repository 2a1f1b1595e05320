/** The client that BullMQ is given: its commands, its scripts, its transactions, its life. */
import { inspect } from 'node:util';
import { type BullMQClient, type BullMQTransaction, bullmqConnection, RedisError } from 'redis-backplane';
import { describe, expect, it, vi } from 'vitest';
import { describeBackends } from './support/backends.ts';
import { until, within } from './support/until.ts';

/** Commands that BullMQ itself does not use. */
type Names =
  | 'exists'
  | 'sadd'
  | 'zadd'
  | 'incrby'
  | 'lpush'
  | 'xadd'
  | 'xlen'
  | 'xread'
  | 'xtrim'
  | 'hset'
  | 'hmset'
  | 'set'
  | 'zrange'
  | 'scan'
  | 'keys';
type Named<R> = { [name in Names]: (...args: unknown[]) => R };

/** Gives back what it was given: keys, then arguments; bytes as hex. */
const ECHO = `local out = {}
for _, key in ipairs(KEYS) do out[#out + 1] = 'key ' .. key end
for _, arg in ipairs(ARGV) do out[#out + 1] = 'arg ' .. arg:gsub('[^ -~]', function(c) return string.format('%02x', c:byte()) end) end
return out`;

describeBackends('a client for BullMQ', (backend) => {
  const make = (): BullMQClient => bullmqConnection(backend.manager());
  const key = (name: string): string => `${backend.namespace}:${name}`;

  it('becomes ready without being asked', async () => {
    const client = make();
    const ready = new Promise<void>((resolve) => client.on('ready', () => resolve()));
    await within(10_000, ready, "the event 'ready'");
    expect(client.status).toBe('ready');
  });

  describe('commands', () => {
    it('on hashes, strings and lists give what ioredis gives', async () => {
      const client = make();
      expect(await client.hset(key('h'), { a: '1', b: 2, ü: '€' })).toBe(3);
      expect(await client.hgetall(key('h'))).toEqual({ a: '1', b: '2', ü: '€' });
      expect(await client.hgetall(key('none'))).toEqual({});
      expect(await client.hget(key('h'), 'b')).toBe('2');
      expect(await client.hget(key('h'), 'none')).toBeNull();
      expect(await client.hmget(key('h'), 'a', 'none')).toEqual(['1', null]);
      expect(await client.hexists(key('h'), 'a')).toBe(1);
      expect(await client.hdel(key('h'), 'a', 'none')).toBe(1);
      expect(await client.set(key('s'), 7, { PX: 60_000 })).toBe('OK');
      expect(await client.set(key('s'), 'x', { EX: 60 })).toBe('OK');
      expect(await client.get(key('s'))).toBe('x');
      expect(await client.get(key('none'))).toBeNull();
      expect(await client.lrange(key('none'), 0, -1)).toEqual([]);
      expect(await client.llen(key('none'))).toBe(0);
      expect(await client.ltrim(key('none'), 0, 1)).toBe('OK');
      expect(await client.lpos(key('none'), 'x')).toBeNull();
      expect(await client.del(key('h'), key('s'))).toBe(2);
    });

    it("are all there by their names, with the server's order of arguments, lists, objects and maps", async () => {
      const client = make() as BullMQClient & Named<Promise<unknown>>;
      expect(await client.exists(key('a'), key('b'))).toBe(0);
      expect(await client.sadd(key('s'), ['a', 'b'], 'c')).toBe(3);
      expect(await client.zadd(key('z'), 1, 'a', 2, 'b')).toBe(2);
      expect(await client.incrby(key('n'), 5)).toBe(5);
      expect(await client.lpush(key('l'), 'a', Buffer.from('b'))).toBe(2);
      expect(await client.xadd(key('x'), 'MAXLEN', '~', 10, '*', 'field', 'value')).toMatch(/^\d+-\d+$/);
      expect(await client.xadd(key('x'), '*', 'field', 'value')).toMatch(/^\d+-\d+$/);
      expect(await client.xlen(key('x'))).toBe(2);
      expect(await client.xread('COUNT', 1, 'STREAMS', key('x'), '0')).toEqual([[key('x'), [[expect.any(String), ['field', 'value']]]]]);
      expect(await client.xtrim(key('x'), 'MAXLEN', '=', 1)).toBe(1);
      expect(await client.hset(key('h'), 'a', 1, 'b', 2)).toBe(2);
      expect(await client.hmset(key('h'), new Map([['c', '3']]))).toBe('OK');
      expect(await client.set(key('t'), 'v', 'PX', 60_000, 'NX')).toBe('OK');
      expect(await client.zrange(key('z'), 0, -1, 'WITHSCORES')).toEqual(['a', '1', 'b', '2']);
      expect(await client.scan(0, 'MATCH', key('t'), 'COUNT', 10_000)).toEqual(['0', [key('t')]]);
      expect(await client.keys(key('[nt]'))).toHaveLength(2);
      expect(await client.call('TYPE', key('z'))).toBe('zset');
      const pipeline = client.pipeline() as BullMQTransaction & Named<unknown>;
      pipeline.incrby(key('n'), 2);
      pipeline.hset(key('h'), 'd', 4);
      expect(await pipeline.exec()).toEqual([
        [null, 7],
        [null, 1],
      ]);
      for (const name of ['subscribe', 'select', 'hello', 'reset']) expect(Reflect.get(client, name)).toBeUndefined();
    });

    it('del() without keys does nothing', async () => {
      const client = make();
      expect(await client.del()).toBe(0);
      expect(await client.pipeline().del().exec()).toEqual([]);
      expect(await client.multi().del().exec()).toEqual([]);
    });

    it('on sorted sets give scores as text, members and scores in turn', async () => {
      const [client, manager] = [make(), backend.manager()];
      await manager.command('ZADD', key('z'), 1, 'a', 2.5, 'b', '+inf', 'c');
      expect(await client.zrange(key('z'), 0, -1)).toEqual(['a', 'b', 'c']);
      expect(await client.zrange(key('z'), 0, -1, { WITHSCORES: true })).toEqual(['a', '1', 'b', '2.5', 'c', 'inf']);
      expect(await client.zrevrange(key('z'), 0, 0, { WITHSCORES: true })).toEqual(['c', 'inf']);
      expect(await client.zscore(key('z'), 'b')).toBe('2.5');
      expect(await client.zscore(key('z'), 'none')).toBeNull();
      expect(await client.zcard(key('z'))).toBe(3);
      expect(await client.bzpopmin(key('z'), 1)).toEqual([key('z'), 'a', '1']);
      expect(await client.bzpopmin(key('none'), 0.01)).toBeNull();
    });

    it('on streams give entries by stream', async () => {
      const client = make();
      const id = await client.xadd(key('x'), '*', { event: 'added', n: 1 });
      expect(await client.xadd(key('x'), '*', { event: 'b' }, { MAXLEN: 100, approximate: true })).toMatch(/^\d+-\d+$/);
      const streams = [{ key: key('x'), id: '0' }];
      expect(await client.xread(streams, { COUNT: 1 })).toEqual([[key('x'), [[id, ['event', 'added', 'n', '1']]]]]);
      expect(await client.xread(streams, { BLOCK: 1_000, COUNT: 1 })).toEqual([[key('x'), [[id, ['event', 'added', 'n', '1']]]]]);
      expect(await client.xread([{ key: key('x'), id: '$' }], { BLOCK: 10 })).toBeNull();
      expect(await client.xtrim(key('x'), 'MAXLEN', 1, { approximate: false })).toBe(1);
    });

    it('about keys and the server', async () => {
      const client = make();
      const names = Array.from({ length: 40 }, (_, n) => key(`k${n}`));
      for (const name of names) await client.set(name, 1);
      const seen: string[] = [];
      for await (const keys of client.scanStream({ match: key('k*'), count: 5 })) seen.push(...(keys as string[]));
      expect([...new Set(seen)].sort()).toEqual([...names].sort());
      const [cursor, some] = await client.scan('0', { MATCH: key('k1'), COUNT: 1_000 });
      expect([cursor, some]).toEqual(['0', [key('k1')]]);
      expect(await client.info()).toContain('redis_version:');
      expect(await client.clientList()).toContain('name=redis-backplane');
      expect(await client.clientInfo()).toContain('name=redis-backplane');
      expect(await client.clientSetName('of my own')).toBe('OK');
      expect(await client.clientInfo()).toContain('name=redis-backplane');
    });
  });

  describe('scripts', () => {
    it('take nothing as an empty string, numbers as text, bytes as they are', async () => {
      const client = make();
      client.defineCommand('echo:1', { numberOfKeys: 1, lua: ECHO });
      const args = [key('k'), null, undefined, 1.5, true, Buffer.from([0, 0xff]), new Uint8Array([0xfe]), 'ü'];
      const want = [`key ${key('k')}`, 'arg ', 'arg ', 'arg 1.5', 'arg true', 'arg 00ff', 'arg fe', 'arg c3bc'];
      expect(await client.runCommand('echo:1', args)).toEqual(want);
      const results = await client.multi().runCommand('echo:1', args).runCommand('echo:1', args).exec();
      expect(results).toEqual([
        [null, want],
        [null, want],
      ]);
    });

    it('are properties of the client, and of its duplicates', async () => {
      const client = make();
      expect((client as unknown as Record<string, unknown>)['echo:1']).toBeUndefined();
      client.defineCommand('echo:1', { numberOfKeys: 1, lua: ECHO });
      for (const each of [client, client.duplicate(), client.duplicate().duplicate()]) {
        const run = (each as unknown as Record<string, (...args: unknown[]) => Promise<unknown>>)['echo:1'];
        expect(await run?.([key('k'), 1])).toEqual([`key ${key('k')}`, 'arg 1']);
        expect(await run?.(key('k'), 1)).toEqual([`key ${key('k')}`, 'arg 1']);
        expect(await each.runCommand('echo:1', [key('k')])).toEqual([`key ${key('k')}`]);
      }
    });

    it('that the server has forgotten are no reason for a transaction to fail in part', async () => {
      const client = make();
      client.defineCommand('push', { numberOfKeys: 1, lua: "return redis.call('RPUSH', KEYS[1], ARGV[1])" });
      client.defineCommand('pop', { numberOfKeys: 1, lua: "return redis.call('LPOP', KEYS[1])" });
      const multi = client.multi();
      for (const n of [1, 2, 3]) multi.runCommand('push', [key('l'), n]);
      expect(
        await multi
          .runCommand('pop', [key('l')])
          .llen(key('l'))
          .exec(),
      ).toEqual([
        [null, 1],
        [null, 2],
        [null, 3],
        [null, '1'],
        [null, 2],
      ]);
      expect(await client.runCommand('pop', [key('l')])).toBe('2');
    });

    it('that nobody has defined are refused', async () => {
      const client = make();
      await expect(client.runCommand('nobody', [])).rejects.toMatchObject({ redisErrorKind: 'config' });
      expect(() => client.multi().runCommand('nobody', [])).toThrow(RedisError);
      client.defineCommand('two', { numberOfKeys: 2, lua: 'return 1' });
      await expect(client.runCommand('two', ['one'])).rejects.toMatchObject({ redisErrorKind: 'config' });
    });

    it('may be defined anew under their names', async () => {
      const client = make();
      client.defineCommand('n', { numberOfKeys: 0, lua: 'return 1' });
      expect(await client.runCommand('n', [])).toBe(1);
      client.defineCommand('n', { numberOfKeys: 0, lua: 'return 2' });
      expect(await client.runCommand('n', [])).toBe(2);
      await expect(
        (async () => client.defineCommand('bad', { numberOfKeys: 0, lua: 'this is not Lua' }))().then(() => client.runCommand('bad', [])),
      ).rejects.toMatchObject({ redisErrorKind: 'server' });
    });
  });

  describe('transactions and pipelines', () => {
    it('give cursor and flat list for hscan and sscan', async () => {
      const [client, manager] = [make(), backend.manager()];
      await client.hset(key('h'), { a: 1, b: 2 });
      await manager.command('SADD', key('s'), 'x', 'y');
      for (const steps of [client.pipeline(), client.multi()]) {
        const results = await steps
          .hscan(key('h'), 0, { COUNT: 10 })
          .sscan(key('s'), '0', { COUNT: 10 })
          .hgetall(key('h'))
          .smembers(key('s'))
          .hset(key('h'), { c: 3 })
          .zrange(key('none'), 0, -1)
          .lrange(key('none'), 0, -1)
          .llen(key('none'))
          .exec();
        const [hscan, sscan, hgetall, smembers, ...rest] = (results ?? []).map(([error, result]) => {
          expect(error).toBeNull();
          return result as unknown[];
        });
        expect(hscan).toEqual(['0', ['a', '1', 'b', '2']]);
        expect([sscan?.[0], [...((sscan?.[1] ?? []) as string[])].sort()]).toEqual(['0', ['x', 'y']]);
        expect(hgetall).toEqual({ a: '1', b: '2' });
        expect([...(smembers ?? [])].sort()).toEqual(['x', 'y']);
        expect(rest).toEqual([1, [], [], 0]);
        await client.hdel(key('h'), 'c');
      }
    });

    it('say which command failed, and go on with the others', async () => {
      const client = make();
      await client.set(key('s'), 'text');
      for (const steps of [client.pipeline(), client.multi()]) {
        const [wrong, right] = (await steps.llen(key('s')).hset(key('h'), { a: 1 }).exec()) ?? [];
        expect(wrong?.[0]).toMatchObject({ redisErrorKind: 'server', serverCode: 'WRONGTYPE' });
        expect(wrong?.[1]).toBeNull();
        expect(right?.[0]).toBeNull();
      }
    });

    it('a transaction with a command that the server refuses is not executed', async () => {
      const client = make();
      const multi = client.multi().hset(key('h'), { a: 1 }).hset(key('h'), {});
      await expect(multi.exec()).rejects.toMatchObject({ redisErrorKind: 'server', delivery: 'rejected' });
      expect(await client.hgetall(key('h'))).toEqual({});
    });
  });

  describe('its life', () => {
    it('begins with wait, and connect() makes it ready', async () => {
      const manager = backend.manager();
      const client = bullmqConnection(manager);
      const ready = vi.fn();
      client.on('ready', ready);
      expect([client.status, manager.state]).toEqual(['wait', 'idle']);
      await Promise.all([client.connect(), client.connect()]);
      expect([client.status, manager.state]).toEqual(['ready', 'ready']);
      await client.connect();
      expect(ready).toHaveBeenCalledTimes(1);
      expect(bullmqConnection(manager).status).toBe('ready');
    });

    it('a duplicate has one connection of its own for all that blocks, and nothing else', async () => {
      const manager = backend.manager();
      const client = bullmqConnection(manager).duplicate({ connectionName: 'mine' });
      const connections = () => manager.metrics().redis_connection_pool_size;
      expect(client.status).toBe('wait');
      await client.get(key('k'));
      expect(connections()).toBe(1);
      for (let n = 0; n < 5; n++) expect(await client.bzpopmin(key('none'), 0.01)).toBeNull();
      expect([connections(), client.status]).toEqual([2, 'ready']);
      expect(await client.clientList()).toContain('name=mine ');
      await client.clientSetName('renamed');
      expect(await client.clientList()).toContain('name=renamed ');
      await expect(client.clientSetName('no spaces here')).rejects.toMatchObject({ redisErrorKind: 'server' });
      expect(await client.quit()).toBe('OK');
      expect([connections(), client.status, manager.state]).toEqual([1, 'end', 'ready']);
    });

    it('disconnect() ends what blocks at once, and with true the duplicate opens another connection', async () => {
      const client = make().duplicate();
      const seen: string[] = [];
      for (const event of ['ready', 'close', 'reconnecting', 'end']) client.on(event, () => seen.push(event));
      await client.connect();
      const first = client.bzpopmin(key('none'), 0);
      client.disconnect(true);
      await expect(within(2_000, first)).rejects.toMatchObject({ message: 'Connection is closed.', redisErrorKind: 'closed' });
      await until(() => client.status === 'ready', { what: 'the new connection' });
      const second = client.xread([{ key: key('none'), id: '$' }], { BLOCK: 0 });
      client.disconnect();
      await expect(within(2_000, second)).rejects.toThrow('Connection is closed.');
      await until(() => seen.includes('end'), { what: 'the end' });
      expect(seen).toEqual(['ready', 'close', 'reconnecting', 'ready', 'close', 'end']);
      await expect(client.bzpopmin(key('none'), 1)).rejects.toThrow('Connection is closed.');
      await expect(client.get(key('k'))).rejects.toThrow('Connection is closed.');
      await client.connect();
      expect(client.status).toBe('ready');
      expect(await client.bzpopmin(key('none'), 0.01)).toBeNull();
      expect(await client.quit()).toBe('OK');
    });

    it('an element that is there when the client disconnects is not lost', async () => {
      const [client, manager] = [make().duplicate(), backend.manager()];
      await client.connect();
      for (let n = 0; n < 30; n++) {
        const popped = client.bzpopmin(key('z'), 0).catch(() => null);
        const added = manager.command('ZADD', key('z'), 1, `m${n}`);
        client.disconnect(true);
        const [got] = await Promise.all([within(5_000, popped), added]);
        expect(got?.[1] ?? (await client.zrange(key('z'), 0, -1))[0]).toBe(`m${n}`);
        await manager.command('DEL', key('z'));
        await until(() => client.status === 'ready', { what: 'the new connection' });
      }
      await client.quit();
    });

    it('quit() ends with end, of the first client too, whose manager goes on', async () => {
      const manager = backend.manager();
      const client = bullmqConnection(manager);
      await client.connect();
      const seen: string[] = [];
      for (const event of ['close', 'end']) client.on(event, () => seen.push(event));
      expect(await client.quit()).toBe('OK');
      expect(await client.quit()).toBe('OK');
      expect([client.status, manager.state]).toEqual(['end', 'ready']);
      await until(() => seen.length === 2, { what: 'the events of the end' });
      expect(seen).toEqual(['close', 'end']);
      await expect(client.multi().llen(key('l')).exec()).rejects.toThrow('Connection is closed.');
      await client.connect();
      expect([client.status, await client.llen(key('l'))]).toEqual(['ready', 0]);
    });

    it('follows a manager that is disconnected and connected again', async () => {
      const manager = backend.manager();
      const client = bullmqConnection(manager);
      const duplicate = client.duplicate();
      await Promise.all([client.connect(), duplicate.connect()]);
      const blocked = expect(duplicate.bzpopmin(key('none'), 0)).rejects.toThrow('Connection is closed.');
      await manager.disconnect();
      await blocked;
      expect([client.status, duplicate.status]).toEqual(['end', 'end']);
      await expect(client.connect()).rejects.toThrow('Connection is closed.');
      await expect(duplicate.connect()).rejects.toThrow('Connection is closed.');
      expect(manager.state).toBe('closed');
      await manager.connect();
      expect(client.status).toBe('ready');
      await duplicate.connect();
      expect(await duplicate.bzpopmin(key('none'), 0.01)).toBeNull();
    });

    it('an error without a listener is thrown at nobody, and a listener that throws hurts nobody', async () => {
      const warned = vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
      const client = make();
      client.on('ready', () => {
        throw new Error('in a listener');
      });
      await client.connect();
      expect(client.status).toBe('ready');
      expect(warned.mock.calls.map(([warning]) => String(warning))).toContain('Error: in a listener');
      warned.mockRestore();
    });

    it('a duplicate that nobody ends is no reason for the manager not to', async () => {
      const manager = backend.manager();
      const client = bullmqConnection(manager).duplicate();
      await client.connect();
      await within(1_000, manager.disconnect(), 'disconnect()');
      expect(client.status).toBe('end');
    });
  });
});

it('what is no manager is refused', () => {
  for (const wrong of [undefined, null, {}, 'redis://localhost']) {
    expect(() => bullmqConnection(wrong as never)).toThrow(/bullmqConnection: manager: expected a RedisConnectionManager/);
  }
});

it('a client shows no secret', async () => {
  const { RedisConnectionManager } = await import('redis-backplane');
  const client = bullmqConnection(new RedisConnectionManager('redis://user:hunter2@localhost'));
  for (const each of [client, client.duplicate({ connectionName: 'w' })]) {
    expect(inspect(each, { depth: 20, showHidden: true })).not.toContain('hunter2');
    expect(JSON.stringify(each.options)).not.toContain('hunter2');
    expect(each.options).toMatchObject({ maxRetriesPerRequest: null });
  }
});

/** Large values, in both directions, and large replies. */
import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { Random } from '../support/random.ts';
import { settledAll, useRig } from '../support/rig.ts';

const rig = useRig();
const MIB = 1024 * 1024;

describe('large payloads', () => {
  it('of 64 MiB in both directions at once neither block each other nor are changed', async () => {
    const server = await rig.server();
    const manager = rig.manager({ url: server.url, commandTimeoutMs: 100_000, keepAliveMs: 60_000 });
    const random = new Random(5);
    const block = random.bytes(64 * 1024);
    const value = Buffer.concat(Array.from({ length: 64 * 16 }, () => block));
    const digest = (bytes: Buffer) => createHash('sha1').update(bytes).digest('hex');
    await manager.command('SET', 'in', value);
    const outcomes = await settledAll<unknown>(
      [
        manager.command('GET', 'in'),
        manager.command('SET', 'out', value),
        manager.command('ECHO', 'small'),
        manager.command('GET', 'in'),
        manager.command('STRLEN', 'out'),
      ],
      100_000,
    );
    const [first, set, echo, second, length] = outcomes.map((outcome) => outcome.error ?? outcome.value);
    expect(digest(first as Buffer)).toBe(digest(value));
    expect(digest(second as Buffer)).toBe(digest(value));
    expect([set, echo, length]).toEqual(['OK', 'small', 64 * MIB]);
  });

  it('in many commands at once are not changed', async () => {
    const server = await rig.server();
    const manager = rig.manager({ url: server.url, commandTimeoutMs: 60_000 });
    const values = Array.from({ length: 40 }, (_, i) => `${i}:`.padEnd(MIB, `${i}`));
    await Promise.all(values.map((value, i) => manager.command('SET', `k${i}`, value)));
    const read = await Promise.all(values.map((_, i) => manager.command<string>('GET', `k${i}`)));
    read.forEach((value, i) => {
      expect(value === values[i], `value ${i}`).toBe(true);
    });
  });

  it('sent over a slow network take longer than the keep-alive without being given up', async () => {
    const server = await rig.server();
    const proxy = await rig.proxy(server, { up: { pieceBytes: 256 * 1024, delayMs: 5 } });
    const manager = rig.manager({ url: proxy.url, commandTimeoutMs: 50_000, keepAliveMs: 1_000 });
    await manager.connect();
    const value = 'x'.repeat(64 * MIB);
    expect(await manager.command('SET', 'k', value)).toBe('OK');
    expect(proxy.counters.accepted).toBe(1);
    expect(await manager.command('STRLEN', 'k')).toBe(value.length);
  });
});

describe('large replies', () => {
  it('of a million elements are right', async () => {
    const server = await rig.server();
    const manager = rig.manager({ url: server.url, commandTimeoutMs: 50_000, keepAliveMs: 60_000 });
    await manager.script(
      `for i = 0, 999999, 1000 do
      local part = {}
      for j = 0, 999 do part[j + 1] = 'e' .. (i + j) end
      redis.call('RPUSH', KEYS[1], unpack(part))
    end`,
      ['list'],
    );
    const [list, echo] = await Promise.all([manager.command<string[]>('LRANGE', 'list', 0, -1), manager.command('ECHO', 'behind')]);
    expect(list).toHaveLength(1_000_000);
    expect(list.findIndex((element, i) => element !== `e${i}`)).toBe(-1);
    expect(echo).toBe('behind');
  });

  it('nested to many levels, empty, and of every type are right', async () => {
    const server = await rig.server();
    const manager = rig.manager(server.url);
    const nested = await manager.script<unknown>('local t = {} for i = 1, 6 do t = {t, i} end return t', []);
    expect(JSON.stringify(nested)).toBe('[[[[[[[],1],2],3],4],5],6]');
    const types = await manager.script('redis.setresp(3) return {1, "two", {}, {ok = "fine"}, {double = 1.5}, true, false}', []);
    expect(types).toEqual([1, 'two', [], 'fine', 1.5, expect.anything(), expect.toSatisfy((value) => value === null || value === false)]);
    expect(await manager.command('LRANGE', 'nothing', 0, -1)).toEqual([]);
  });

  it('with keys that are not UTF-8 are arrays of keys and values, in which none is lost', async () => {
    const server = await rig.server();
    const manager = rig.manager(server.url);
    const [one, two] = [Buffer.from([0xff]), Buffer.from([0xfe])];
    await manager.command('HSET', 'h', one, 'one', two, 'two');
    expect(await manager.command('HGETALL', 'h')).toEqual([one, 'one', two, 'two']);
    await manager.command('HSET', 'text', 'é', 'one', '__proto__', 'two');
    expect(Object.entries(await manager.command<object>('HGETALL', 'text'))).toEqual([
      ['é', 'one'],
      ['__proto__', 'two'],
    ]);
  });

  it('longer than a JavaScript string can be reject alone: every other call settles', async () => {
    const server = await rig.server();
    const manager = rig.manager({ url: server.url, commandTimeoutMs: 50_000, keepAliveMs: 60_000 });
    const bytes = 512 * MIB;
    await manager.command('SETRANGE', 'big', bytes - 1, 'x');
    const [before, big, inside, after] = await settledAll<unknown>(
      [
        manager.command('ECHO', 'before'),
        manager.command('GET', 'big'),
        manager.transaction([
          ['ECHO', 'first'],
          ['GET', 'big'],
        ]),
        manager.command('ECHO', 'after'),
      ],
      50_000,
    );
    expect([before?.value, after?.value]).toEqual(['before', 'after']);
    for (const outcome of [big, inside]) {
      expect(outcome?.error).toMatchObject({ redisErrorKind: 'serialization', delivery: 'maybe-executed', retryable: false });
      expect(outcome?.error?.message).toContain(`${bytes} bytes`);
    }
    await manager.command('DEL', 'big');
  });
});

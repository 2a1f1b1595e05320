/**
 * What scripts do to `memory://` that would end a process, exhaust its memory or never end: each script runs in a process
 * of its own, so that one that ends it fails its own test only.
 */
import { describe, expect, it } from 'vitest';
import { runProcess } from './support/process.ts';

/** How long a script may run before it is stopped, in milliseconds: twice what is set as `lua-time-limit`. */
const LIMIT_MS = 300;
const STOPPED = /^ERR script ran longer than the engine allows and was stopped/;
const TOO_LARGE = /^ERR script took more memory than the engine allows and was stopped/;

interface Answer {
  /** The script's value as JSON, or the text of its error. */
  answer: string;
  /** The most memory the process had, in MiB. */
  memory: number;
}

/** Runs a script on an engine of a process of its own; fails where the process does not survive it. */
async function answerOf(script: string, timeLimitMs = LIMIT_MS / 2): Promise<Answer> {
  const { code, lines, stderr } = await runProcess(
    async ({ redis, emit, args }) => {
      const manager = new redis.RedisConnectionManager({ url: 'memory://', commandTimeoutMs: 60_000 });
      await manager.command('CONFIG', 'SET', 'lua-time-limit', args.timeLimitMs);
      const answer = await manager.script(args.script, []).then(
        (value) => JSON.stringify(value),
        (error: Error) => error.message,
      );
      // The engine serves on, and its Lua has nothing broken that the collector would meet.
      if ((await manager.script('collectgarbage() return 1', [])) !== 1) throw new Error('no answer');
      emit({ answer, memory: process.resourceUsage().maxRSS / 1024 });
      await manager.disconnect();
    },
    { args: { script, timeLimitMs }, timeoutMs: 90_000 },
  );
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  return lines[0] as Answer;
}

describe.concurrent('a script gets an error, and the process lives on', () => {
  const refused: [what: string, script: string, answer: RegExp | string][] = [
    [
      'unpack of more elements than an int counts',
      'return {pcall(unpack, {1,2,3}, -2, 2147483647)}',
      '[null,"too many results to unpack"]',
    ],
    ['unpack of every index there is', 'return {pcall(unpack, {1,2,3}, -2147483648, 2147483647)}', '[null,"too many results to unpack"]'],
    [
      'a pattern of three hundred thousand repetitions',
      'return {pcall(string.find, string.rep("a", 300000), string.rep("a?", 300000))}',
      '[null,"pattern too complex"]',
    ],
    ['source that nests deeply', 'return {pcall(loadstring, string.rep("(", 100000))}', '[1]'],
    ['bytecode', 'return {select(2, loadstring("\\27Lua" .. string.rep("\\255", 100))) ~= nil}', '[1]'],
    ['coroutines within coroutines', 'local function f() return coroutine.wrap(f)() end return {(pcall(f))}', '[null]'],
    [
      'a replacement function that replaces',
      'local function f() return string.gsub("a", "a", f) end return {pcall(f)}',
      /C stack overflow/,
    ],
    ['pcall within pcall', 'local function f() return pcall(f) end return #{f()} > 100', '1'],
    ['a range of bytes beyond any string', 'return {pcall(struct.unpack, "!8d", "abc", 1e300)}', /data string too short/],
    [
      'more results than the stack holds',
      'return {pcall(struct.unpack, string.rep("s", 100000), string.rep("a\\0", 100000))}',
      '[null,"stack overflow (too many results)"]',
    ],
    [
      'a member asked for nine billion times',
      'redis.call("SADD", "s", "member") return {redis.pcall("SRANDMEMBER", "s", "-9000000000").err}',
      /at most 10000000 elements/,
    ],
  ];
  it.each(refused)('%s', async (_, script, wanted) => {
    const { answer, memory } = await answerOf(script, 20_000);
    if (typeof wanted === 'string') expect(answer).toBe(wanted);
    else expect(answer).toMatch(wanted);
    expect(memory).toBeLessThan(500);
  });
});

describe.concurrent('a script is stopped at its time within one call of', () => {
  const endless: [what: string, script: string][] = [
    ['string.find with a pattern that explodes', 'return string.find(string.rep("a", 30000), ".-.-.-.-b")'],
    ['string.gmatch', 'for found in string.gmatch(string.rep("a", 30000), ".-.-.-.-b") do end'],
    ['string.gsub', 'return string.gsub(string.rep("a", 30000), ".-.-.-.-b", "")'],
    ['string.find of plain text', 'local s = string.rep("a", 400000) return string.find(string.rep(s, 20), s .. s .. "b", 1, true)'],
    ['string.rep of nothing', 'return string.rep("", 2147483647) .. string.rep("", 2147483647)'],
    ['table.insert far before the first element', 'table.insert({}, -2147483648, 1)'],
    ['table.sort', 'local t = {} for i = 1, 200000 do t[i] = i end while true do table.sort(t) end'],
    ['table.maxn', 'local t = {} for i = 1, 100000 do t[i] = i end while true do table.maxn(t) end'],
    ['loadstring of a long condition', 'return loadstring("return " .. string.rep("a and ", 1000000) .. "a")'],
    ['load of a source that never ends', 'return load(function() return "x " end)'],
    ['collectgarbage', 'local t = {} for i = 1, 100000 do t[i] = {} end while true do collectgarbage() end'],
    ['cjson.encode of a table that doubles', 'local t = {} for i = 1, 60 do t = {t, t} end return cjson.encode(t)'],
    ['pcall of what was stopped', 'while true do pcall(string.find, string.rep("a", 30000), ".-.-.-.-b") end'],
  ];
  it.each(endless)('%s', async (_, script) => {
    const { answer, memory } = await answerOf(script);
    expect(answer).toMatch(STOPPED);
    expect(memory).toBeLessThan(1_000);
  });
});

describe('a script is refused memory', () => {
  const greedy: [what: string, script: string, answer: RegExp][] = [
    ['for tables without end', 'local t = {} while true do t[#t + 1] = {1, 2, 3, 4, 5, 6, 7, 8} end', TOO_LARGE],
    [
      'for strings longer than any value',
      'local s = string.rep("x", 100 * 1024 * 1024) return s .. s .. s .. s .. s .. s',
      /string too long/,
    ],
    [
      'for a reply that repeats a long value',
      'local s, t = string.rep("x", 100000000), {} for i = 1, 1000 do t[i] = s end return t',
      /^ERR the reply is larger than the engine allows/,
    ],
    [
      'for a command that repeats a long key',
      `redis.call("SET", "k", string.rep("x", 100000000)) local t = {} for i = 1, 5000 do t[i] = "k" end return redis.call("MGET", unpack(t))`,
      /^ERR the reply is larger than the engine allows/,
    ],
    [
      'for keys without end',
      'local s = string.rep("x", 100000000) for i = 1, 1000 do redis.call("SET", i, s) end',
      /^OOM the script has added more than the engine allows/,
    ],
    [
      'for arguments that repeat a long string',
      'local s, t = string.rep("x", 100000000), {} for i = 1, 5000 do t[i] = s end return redis.call("RPUSH", "l", unpack(t))',
      /^ERR the arguments are larger than the engine allows/,
    ],
  ];
  it.each(greedy)('%s', async (_, script, wanted) => {
    const { answer, memory } = await answerOf(script, 60_000);
    expect(answer).toMatch(wanted);
    expect(memory).toBeLessThan(3_000);
  });
});

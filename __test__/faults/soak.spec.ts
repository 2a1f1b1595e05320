/**
 * Several managers count, write and read while everything breaks at random; then the books are compared.
 *
 * `SOAK_MS` is how long faults are injected (default 12 000), `SOAK_SEED` what chooses them (default 20 260).
 */

import type { RedisConnectionManager, RedisError } from 'redis-backplane';
import { expect, it } from 'vitest';
import { Random } from '../support/random.ts';
import { useRig } from '../support/rig.ts';
import { until, within } from '../support/until.ts';

const rig = useRig();
const SOAK_MS = Number(process.env.SOAK_MS ?? 12_000);
const SEED = Number(process.env.SOAK_SEED ?? 20_260);
const MANAGERS = 4;
const WORKERS = 16;

it('a soak of faults loses nothing, answers nobody wrongly and executes nothing twice', {
  timeout: SOAK_MS + 90_000,
}, async () => {
  const server = await rig.server({ durable: true });
  const proxy = await rig.proxy(server, { seed: SEED });
  const random = new Random(SEED);
  const managers = Array.from({ length: MANAGERS }, (_, i) =>
    rig.manager({
      // Half of them by the proxy, half directly.
      url: i % 2 ? server.url : proxy.url,
      clientName: `soak-${i}`,
      commandTimeoutMs: 1_500,
      connectTimeoutMs: 500,
      connectRetries: 1_000,
      keepAliveMs: 300,
      reconnect: { minDelayMs: 5, maxDelayMs: 100 },
    }),
  );
  await Promise.all(managers.map((manager) => manager.connect()));

  const counts = { operations: 0, resolved: 0, 'maybe-executed': 0, 'not-sent': 0, rejected: 0 };
  /** What each key that was written once must hold: its value, perhaps its value, or nothing. */
  const written = new Map<string, { value: string; fate: 'resolved' | RedisError['delivery'] }>();
  const counters = new Map<string, 'resolved' | RedisError['delivery']>();
  const wrong: string[] = [];
  let running = true;
  let serial = 0;

  const attempt = async <T>(call: Promise<T>): Promise<{ value: T } | { error: RedisError }> => {
    counts.operations += 1;
    try {
      const value = await within(20_000, call, 'an operation to settle');
      counts.resolved += 1;
      return { value };
    } catch (error) {
      if ((error as RedisError).redisErrorKind === undefined) throw error;
      counts[(error as RedisError).delivery] += 1;
      return { error: error as RedisError };
    }
  };

  const work = async (manager: RedisConnectionManager, worker: string) => {
    while (running) {
      serial += 1;
      const id = `${worker}:${serial}`;
      const [counted, set, echo] = await Promise.all([
        attempt(manager.command<number>('INCR', `count:${id}`)),
        attempt(manager.command<string>('SET', `value:${id}`, id)),
        attempt(manager.command<string>('ECHO', id)),
      ]);
      counters.set(`count:${id}`, 'error' in counted ? counted.error.delivery : 'resolved');
      written.set(`value:${id}`, { value: id, fate: 'error' in set ? set.error.delivery : 'resolved' });
      if ('value' in counted && counted.value !== 1) wrong.push(`INCR ${id} gave ${counted.value}`);
      if ('value' in set && set.value !== 'OK') wrong.push(`SET ${id} gave ${set.value}`);
      if ('value' in echo && echo.value !== id) wrong.push(`ECHO ${id} gave ${echo.value}`);
      if ('value' in set) {
        const got = await attempt(manager.command<string | null>('GET', `value:${id}`));
        if ('value' in got && got.value !== id) wrong.push(`GET ${id} gave ${got.value}`);
      }
      // A refusal at once must not become a loop without a turn for anyone else.
      if ('error' in counted) await new Promise((resolve) => setImmediate(resolve));
    }
  };
  const workers = managers.flatMap((manager, i) => Array.from({ length: WORKERS }, (_, j) => work(manager, `${i}.${j}`)));
  const done = Promise.all(workers);
  // Watched from here on: a worker that fails ends the test even while faults are still being injected.
  let failed: unknown;
  done.catch((error) => {
    failed = error;
    running = false;
  });

  const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
  const faults: Record<string, () => Promise<void>> = {
    'kill -9': async () => {
      await server.kill9();
      await pause(random.between(0, 200));
      await server.restart();
    },
    freeze: async () => {
      await server.freeze();
      await pause(random.between(50, 900));
      server.thaw();
    },
    'CLIENT KILL': async () => {
      await server.cli('CLIENT', 'KILL', 'TYPE', 'normal');
    },
    'CLIENT PAUSE': async () => {
      await server.cli('CLIENT', 'PAUSE', random.between(20, 300), 'WRITE');
    },
    reset: async () => proxy.reset(),
    cut: async () => proxy.cut(),
    'cut replies': async () => {
      proxy.set({ down: { cutAfterBytes: random.between(0, 2_000) } });
      await pause(100);
    },
    'cut requests': async () => {
      proxy.set({ up: { cutAfterBytes: random.between(0, 2_000) } });
      await pause(100);
    },
    'drop replies': async () => {
      proxy.set({ down: { dropAfterBytes: random.between(0, 500) } });
      await pause(100);
    },
    'half-close': async () => {
      proxy.set({ down: { halfCloseAfterBytes: random.between(0, 500) } });
      await pause(100);
    },
    'black hole': async () => {
      proxy.set({ [random.pick(['up', 'down'])]: { blackHole: true } });
      await pause(random.between(100, 900));
    },
    'accept, then silence': async () => {
      proxy.set({ silent: true });
      proxy.reset();
      await pause(random.between(50, 600));
    },
    refuse: async () => {
      await proxy.refuse();
      proxy.reset();
      await pause(random.between(50, 300));
      await proxy.accept();
    },
    slow: async () => {
      proxy.set({ up: { delayMs: [0, 5] }, down: { pieceBytes: [1, 50] } });
      await pause(200);
    },
  };
  const injected: Record<string, number> = Object.fromEntries(Object.keys(faults).map((name) => [name, 0]));
  const end = performance.now() + SOAK_MS;
  while (performance.now() < end && running) {
    const name = random.pick(Object.keys(faults));
    await faults[name]?.();
    injected[name] = (injected[name] ?? 0) + 1;
    proxy.heal();
    await pause(random.between(0, 100));
  }

  // Everything heals without help.
  for (const manager of managers) {
    await until(async () => (await manager.health()).ok, {
      timeoutMs: 20_000,
      what: () => `a manager to recover; it is ${manager.state}`,
    });
  }
  running = false;
  await within(40_000, done, 'the workers to end');
  expect(failed).toBeUndefined();

  const lost: string[] = [];
  const twice: string[] = [];
  const read = async (keys: string[]) => {
    const values: (string | null)[] = [];
    for (let at = 0; at < keys.length; at += 500) {
      values.push(...((await server.cli('MGET', ...keys.slice(at, at + 500))) as (string | null)[]));
    }
    return values;
  };
  const countKeys = [...counters.keys()];
  (await read(countKeys)).forEach((count, i) => {
    const key = countKeys[i] as string;
    const fate = counters.get(key);
    if (Number(count) > 1) twice.push(key);
    if (fate === 'resolved' && count === null) lost.push(key);
    if ((fate === 'not-sent' || fate === 'rejected') && count !== null) wrong.push(`${key} is ${count}, though ${fate}`);
  });
  const valueKeys = [...written.keys()];
  (await read(valueKeys)).forEach((value, i) => {
    const key = valueKeys[i] as string;
    const entry = written.get(key);
    if (entry?.fate === 'resolved' && value === null) lost.push(key);
    if (value !== null && value !== entry?.value) wrong.push(`${key} is ${value}`);
    if ((entry?.fate === 'not-sent' || entry?.fate === 'rejected') && value !== null) wrong.push(`${key} is there, though ${entry.fate}`);
  });
  const report = {
    seed: SEED,
    seconds: SOAK_MS / 1_000,
    faults: { total: Object.values(injected).reduce((sum, n) => sum + n, 0), ...injected },
    ...counts,
    reconnects: managers.reduce((sum, manager) => sum + manager.metrics().redis_reconnection_attempts_total, 0),
    resent: managers.reduce((sum, manager) => sum + manager.metrics().redis_commands_resent_total, 0),
    lost: lost.length,
    'answered wrongly': wrong.length,
    'executed twice': twice.length,
  };
  console.log(`soak: ${JSON.stringify(report)}`);
  expect({ lost, wrong, twice }).toEqual({ lost: [], wrong: [], twice: [] });
  expect(counts.resolved).toBeGreaterThan(100);
  expect(report.faults.total).toBeGreaterThan(SOAK_MS / 3_000);
});

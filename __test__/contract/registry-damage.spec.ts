/**
 * Records that somebody else has written: every element of every key of a registry is damaged in turn, in every way, and all that is
 * not of the damaged record goes on.
 */
import { type MalformedRecord, type RedisConnectionManager, type WorkerInfo, WorkerRegistry } from 'redis-backplane';
import { beforeEach, describe, expect, test } from 'vitest';
import { describeBackends } from '../support/backends.ts';
import { until } from '../support/until.ts';

const MANUAL = { autoHeartbeat: false };
const VICTIM = 'victim';

/** A key and how it is damaged. `spoils` what all workers share: then their holders may have to register them again. */
interface Damage {
  what: string;
  spoils: boolean;
  commands: (string | number | Buffer)[][];
}

const NOT_UTF8 = Buffer.from([0xff, 0x00, 0xfe]);
const TEXTS: readonly (string | Buffer)[] = [
  '',
  'garbage',
  NOT_UTF8,
  '{"x":',
  '{},"id":"another","status":"busy","y":{}',
  'null',
  '[1,{"a":[]}]',
  '-1',
  'nan',
  '9'.repeat(40),
  '"'.repeat(70_000),
  `9007199254740999 - 0 idle 0 1 0 1 2 3 p 1 n 0`,
];
const SCORES = ['-inf', '+inf', 0, 1e15];

describeBackends('a registry with a damaged record', (backend) => {
  let manager: RedisConnectionManager;

  beforeEach(() => {
    manager = backend.manager();
  });

  const raw = (key: string): string => `${backend.namespace}:${key}`;

  class Fleet {
    readonly registry: WorkerRegistry;
    readonly told: MalformedRecord[] = [];
    readonly workers = new Map<string, WorkerInfo>();
    readonly #namespace: string;

    constructor(namespace: string) {
      this.#namespace = namespace;
      this.registry = new WorkerRegistry(manager, { ...MANUAL, namespace });
      this.registry.on('malformed', (record) => this.told.push(record));
    }

    /** Something of everything that a registry stores. */
    async start(): Promise<this> {
      const { registry } = this;
      for (const id of [VICTIM, 'a', 'b']) {
        this.workers.set(id, await registry.register({ id, type: 't', capabilities: ['c'], capacity: 4, metadata: { id } }));
      }
      await registry.heartbeat('a', { degraded: true });
      await registry.heartbeat('a', { degraded: false, load: 0.5 });
      await registry.claim({ capabilities: ['c'] });
      await registry.send(VICTIM, 'pause');
      await registry.heartbeat(VICTIM, { degraded: true, load: 0.25 });
      for (const id of ['dead', 'dying']) await registry.register({ id, type: 't', capabilities: ['c'] });
      // Both crash at once: nobody has heard of them for long.
      for (const id of ['dead', 'dying']) await manager.command('ZADD', await this.key('alive'), 1, id);
      await registry.count();
      await (await registry.elect('role', { leaseMs: 100 })).resign();
      await manager.command('HSET', await this.key('leader:role'), 'owner', 'another', 'until', Date.now() + 100);
      await registry.reap();
      await manager.command('RPUSH', await this.key('unreaped'), 'garbage');
      return this;
    }

    async keys(): Promise<string[]> {
      return ((await manager.command('KEYS', `${raw(this.#namespace)}:*`)) as string[]).sort();
    }

    async key(last: string): Promise<string> {
      return (
        (await this.keys()).find((key) => key.endsWith(`}:${last}`)) ??
        `${raw(this.#namespace)}:~registry:{~${raw(this.#namespace)}:}:${last}`
      );
    }

    /** What must be so for all workers but the victim, whatever has been done to it. */
    async isWell(spoilt: boolean): Promise<void> {
      const { registry } = this;
      await registry.reap();
      for (const id of ['a', 'b']) {
        const lives = await registry.heartbeat(id);
        if (!spoilt) expect(lives).toBe(true);
        if (!lives) this.workers.set(id, await registry.register({ id, type: 't', capabilities: ['c'], capacity: 4, metadata: { id } }));
      }
      // A second look finds what was done meanwhile, and nothing else.
      expect((await registry.reap()).filter(({ id }) => id !== VICTIM && id !== 'dead' && id !== 'dying')).toEqual([]);
      const listed = await registry.list();
      const own = listed.filter(({ id }) => id === 'a' || id === 'b');
      expect(own.map(({ id, epoch, type }) => ({ id, epoch, type })).sort((x, y) => (x.id < y.id ? -1 : 1))).toEqual(
        ['a', 'b'].map((id) => ({ id, epoch: this.workers.get(id)?.epoch, type: 't' })),
      );
      if (!spoilt) for (const { id, metadata } of own) expect(metadata).toEqual({ id });
      for (const { id } of listed) expect([VICTIM, 'a', 'b', 'dead', 'dying']).toContain(id);
      expect((await registry.count()).total).toBe(listed.length);
      for (const id of ['a', 'b']) expect(await registry.get(id)).toMatchObject({ health: 'healthy' });

      const { position } = await registry.snapshot();
      await registry.unregister(VICTIM);
      expect((await registry.list({ capabilities: ['c'], type: 't', health: 'healthy' })).map(({ id }) => id).sort()).toEqual(['a', 'b']);
      const claim = await registry.claim({ capabilities: ['c'], type: 't' });
      expect(['a', 'b']).toContain(claim?.workerId);
      expect(await claim?.release()).toBe(true);
      await registry.register({ id: VICTIM, type: 't', capabilities: ['c'], capacity: 4 });
      expect(await registry.setStatus('a', 'busy')).toBe(true);
      expect(await registry.setStatus('a', 'idle')).toBe(true);
      const { events } = await registry.readEvents(position);
      expect(events.map(({ event, worker }) => `${event} ${worker.id}`)).toEqual(
        expect.arrayContaining([`joined ${VICTIM}`, 'status a', 'status a']),
      );
      const commands: string[] = [];
      registry.on('command', ({ name }, { id }) => commands.push(`${name} ${id}`));
      await registry.heartbeat('b');
      expect(await registry.send('b', 'drain')).toBe(true);
      expect(await registry.heartbeat('b')).toBe(true);
      await until(() => commands.includes('drain b'), { what: 'the command' });
      const leadership = await registry.elect('role', { leaseMs: 100, waitMs: 5_000 });
      await leadership.resign();
      await registry.cleanup();
      expect((await registry.list()).filter(({ health }) => health !== 'crashed')).toEqual([]);
    }
  }

  /** Everything that can be done to a key, one by one. */
  async function damagesOf(key: string): Promise<Damage[]> {
    const type = (await manager.command('TYPE', key)) as string;
    const last = key.slice(key.lastIndexOf('}:') + 2);
    const damages: Damage[] = [];
    const add = (what: string, spoils: boolean, ...commands: Damage['commands']): void => {
      damages.push({ what: `${last} ${what}`, spoils, commands });
    };
    const show = (value: string | number | Buffer): string => (Buffer.isBuffer(value) ? value.toString('hex') : String(value).slice(0, 20));
    add('is of another type', true, ['DEL', key], type === 'string' ? ['RPUSH', key, 'x'] : ['SET', key, 'x']);
    add('is gone', true, ['DEL', key]);
    const spoils = (member: string): boolean => /^(a|b)$/.test(member);
    if (type === 'hash') {
      const fields = Object.keys((await hash(key)) as object);
      for (const field of fields.filter((field) => !spoils(field))) {
        // Every way for one worker, some for the others.
        const texts = last === 'meta' || field === VICTIM || last === 'claimed' ? TEXTS : TEXTS.slice(0, 4);
        for (const text of texts) add(`${field} ${show(text)}`, last === 'meta', ['HSET', key, field, text]);
        add(`${field} is gone`, last === 'meta', ['HDEL', key, field]);
      }
      for (const [field, texts] of [
        ['ghost', TEXTS.slice(0, 5)],
        [NOT_UTF8, TEXTS.slice(5)],
      ] as const)
        for (const text of texts) add(`${show(field)} ${show(text)}`, false, ['HSET', key, field, text]);
    } else if (type === 'zset' || type === 'set') {
      const members = (await manager.command(
        type === 'zset' ? 'ZRANGE' : 'SMEMBERS',
        key,
        ...(type === 'zset' ? [0, -1] : []),
      )) as string[];
      for (const member of [...members.filter((member) => !spoils(member)), 'ghost', NOT_UTF8]) {
        if (type === 'zset') for (const score of SCORES) add(`${show(member)} ${score}`, false, ['ZADD', key, score, member]);
        else add(`${show(member)}`, false, ['SADD', key, member]);
        add(`${show(member)} is gone`, false, [type === 'zset' ? 'ZREM' : 'SREM', key, member]);
      }
      // What is missing in one of many indices is found by chance.
      if (!last.startsWith('has:'))
        for (const member of members.filter(spoils)) add(`${member} is gone`, false, [type === 'zset' ? 'ZREM' : 'SREM', key, member]);
    } else if (type === 'list') {
      for (const text of TEXTS) add(`+ ${show(text)}`, false, ['LPUSH', key, text], ['RPUSH', key, text]);
      for (const text of TEXTS) add(`0 ${show(text)}`, false, ['LSET', key, 0, text]);
    } else if (type === 'stream') {
      for (const text of TEXTS) add(`+ ${show(text)}`, false, ['XADD', key, '*', 'kind', text, 'id', text, 'state', text, 'n', text]);
      add('+ another', false, ['XADD', key, '*', 'other', 'x']);
      add('is full', false, ['XADD', key, '18446744073709551615-18446744073709551615', 'other', 'x']);
    } else {
      for (const text of TEXTS.slice(0, 4)) add(`${show(text)}`, false, ['SET', key, text]);
    }
    return damages;
  }

  async function hash(key: string): Promise<Record<string, string>> {
    const reply = (await manager.command('HGETALL', key)) as string[] | Record<string, string>;
    if (!Array.isArray(reply)) return reply instanceof Map ? Object.fromEntries(reply) : reply;
    return Object.fromEntries(Array.from({ length: reply.length / 2 }, (_, n) => [reply[n * 2], reply[n * 2 + 1]]));
  }

  const LASTS = [
    ['hashes of workers', ['state', 'definition', 'metadata', 'labels']],
    ['the numbers of a registry', ['meta']],
    ['deadlines', ['alive', 'late', 'crashed', 'degraded', 'everyone']],
    ['statuses, types and capabilities', ['idle', 'busy', 'paused', 'draining', 'has:']],
    ['claims, crashes and commands', ['claims', 'claimed', 'unreaped', 'commands:', 'process:', 'leader:']],
    ['events', ['events']],
  ] as const;

  test.each(LASTS)(
    'damaged %s spoil nobody else',
    async (_, lasts) => {
      const pattern = await new Fleet('pattern').start();
      const keys = (await pattern.keys()).filter((key) => lasts.some((last) => key.slice(key.lastIndexOf('}:') + 2).startsWith(last)));
      expect(keys.length).toBeGreaterThan(0);
      const all = (await Promise.all(keys.map(damagesOf))).flat();
      // The scripts are the same on both; the engine as tests have it takes many times as long.
      const damages = backend.kind === 'redis-server' ? all : all.filter((_, n) => n % 3 === 0);
      await pattern.registry.cleanup();
      await Promise.all(
        damages.map(async ({ what, spoils, commands }, n) => {
          const fleet = await new Fleet(`fleet-${n}`).start();
          try {
            for (const [name, key, ...rest] of commands) {
              // A process and a claim have other names in each fleet.
              const own = String(key).replaceAll(`${raw('pattern')}:`, `${raw(`fleet-${n}`)}:`);
              await manager.command(name as string, own, ...rest);
            }
            await fleet.isWell(spoils);
          } catch (error) {
            throw new Error(`${what}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
          }
        }),
      );
    },
    60_000,
  );

  describe('of a worker that beats by itself', () => {
    const key = (last: string): string => raw(`~registry:{~${backend.namespace}:}:${last}`);

    test.each([
      ['state', 'garbage'],
      ['definition', '"type":'],
      ['metadata', '{},"id":"another","status":"busy","y":{}'],
      ['labels', '{}'],
    ])('is told and counted once, and its holder registers it again: %s', async (part, text) => {
      const registry = new WorkerRegistry(manager, { heartbeatIntervalMs: 100 });
      const told: MalformedRecord[] = [];
      const fenced: (WorkerInfo | null)[] = [];
      registry.on('malformed', (record) => told.push(record));
      registry.on('fenced', (_, next) => fenced.push(next));
      const { epoch } = await registry.register({ id: 'w', capabilities: ['c'], metadata: { v: 1 } });
      await registry.register({ id: 'other' });
      await manager.command('HSET', key(part), 'w', text);
      await registry.setStatus('w', 'busy');
      const ids = (await registry.list()).map(({ id }) => id);
      expect(ids).toContain('other');
      expect(ids).not.toContain('another');
      await until(() => fenced.length > 0, { what: 'the worker to be registered again' });
      expect(told).toEqual([{ part, of: 'w' }]);
      expect(manager.metrics()).toMatchObject({ redis_registry_malformed_total: 1 });
      const worker = await registry.get('w');
      expect(worker).toMatchObject({ capabilities: ['c'], metadata: { v: 1 }, health: 'healthy' });
      expect(worker?.epoch).toBeGreaterThan(epoch);
      expect(fenced[0]?.epoch).toBe(worker?.epoch);
      await registry.cleanup();
    });
  });

  test('can be taken away by unregister(), whoever its worker was', async () => {
    const registry = new WorkerRegistry(manager, MANUAL);
    const state = raw(`~registry:{~${backend.namespace}:}:state`);
    await new WorkerRegistry(manager, MANUAL).register({ id: 'w' });
    await manager.command('HSET', state, 'w', 'garbage', 'never', 'garbage');
    for (const id of ['w', 'never']) expect(await registry.unregister(id)).toBe(false);
    expect(await manager.command('HLEN', state)).toBe(0);
    expect(await registry.count()).toMatchObject({ total: 0 });
  });
});

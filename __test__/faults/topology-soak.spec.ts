/**
 * Every feature at once on a cluster, and under sentinels, while servers are killed, frozen, cut off, switched, and slots move; then the books
 * are compared. What an asynchronous replica did not have may be gone with its master, and nothing else: see `support/feature-load.ts`.
 *
 * `TOPOLOGY_SOAK_MS` is how long faults are injected (default 14 000 each), `TOPOLOGY_SOAK_SEED` what chooses them (default 20 263), and
 * `TOPOLOGY_SOAK_FAULTS` a pattern of the names of those that are (default all).
 */
import { expect, it } from 'vitest';
import { type Fault, FeatureLoad } from '../support/feature-load.ts';
import { Random } from '../support/random.ts';
import type { RedisServer } from '../support/redis-server.ts';
import { useRig } from '../support/rig.ts';
import { isMaster, ReplicatedCluster, replicated, Sentinels } from '../support/topology.ts';
import { until } from '../support/until.ts';

const rig = useRig();
const SOAK_MS = Number(process.env.TOPOLOGY_SOAK_MS ?? 14_000);
const SEED = Number(process.env.TOPOLOGY_SOAK_SEED ?? 20_263);
const FAULTS = new RegExp(process.env.TOPOLOGY_SOAK_FAULTS ?? '');
/** How long a topology may take to come to rest after a fault: sentinels that were not given the processor trust nobody for half a minute. */
const REST_MS = 120_000;
const TIMEOUT_MS = SOAK_MS + 400_000;

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

type Step = (master: RedisServer) => Promise<unknown>;

async function soak(name: string, url: string, random: Random, faults: Record<string, Fault>): Promise<void> {
  const load = new FeatureLoad((config) => rig.manager(config), url, random);
  await load.start();
  const end = performance.now() + SOAK_MS;
  let deck: string[] = [];
  while (performance.now() < end && load.running) {
    // Each once before any comes again.
    if (deck.length === 0) deck = Object.keys(faults).filter((fault) => FAULTS.test(fault));
    const [fault] = deck.splice(random.between(0, deck.length - 1), 1) as [string];
    await load.fault(fault, faults[fault] as Fault);
    await pause(random.between(100, 400));
  }
  await load.end();
  const summary = JSON.stringify({ seed: SEED, seconds: SOAK_MS / 1_000, ...load.counts, wrong: load.wrong.length });
  console.info(`${name} soak: ${summary}`);
  expect(load.wrong.slice(0, 20), summary).toEqual([]);
  expect(load.counts.resolved, summary).toBeGreaterThan(SOAK_MS / 10);
}

async function isReplica(server: RedisServer): Promise<boolean> {
  return (await server.info('role')) === 'slave' && (await server.info('master_link_status')) === 'up';
}

const follows = (server: RedisServer) =>
  until(() => isReplica(server), { timeoutMs: REST_MS, what: 'the old master to follow the new one' });

it('a soak of a cluster: no feature loses, repeats or mistakes anything but what was not replicated', { timeout: TIMEOUT_MS }, async () => {
  const random = new Random(SEED);
  await using cluster = await ReplicatedCluster.start(3, { proxySeed: SEED });
  const anyMaster = async () => random.pick(await cluster.masters());
  const rest = async (old: RedisServer) => {
    await follows(old);
    await cluster.agreed();
  };
  /** A replica takes over without its master's help, and nothing that it did not have is owed. */
  const loses =
    (bring: Step, back: Step): Fault =>
    async (took) => {
      const master = await anyMaster();
      const replica = cluster.partnerOf(master);
      const slots = await cluster.slotsOf(master);
      const from = performance.now();
      await replicated(master, replica);
      await bring(master);
      await until(() => isMaster(replica), { timeoutMs: REST_MS, what: 'the replica to take over' });
      await pause(random.between(0, 400));
      await back(master);
      await rest(master);
      took(from, (slot) => slots.has(slot));
    };
  await soak('cluster', cluster.url, random, {
    'kill a master': loses(
      (master) => master.kill9(),
      (master) => master.restart(),
    ),
    'freeze a master until its replica takes over': loses(
      (master) => master.freeze(),
      async (master) => master.thaw(),
    ),
    'freeze a master for a moment': async () => {
      const master = await anyMaster();
      await master.freeze();
      await pause(random.between(50, 500));
      master.thaw();
    },
    'cut a master off from everyone but the nodes': async () => {
      const proxy = cluster.proxies.get(await anyMaster());
      proxy?.set({ up: { blackHole: true }, down: { blackHole: true } });
      await pause(random.between(200, 2_000));
      proxy?.heal();
      await cluster.agreed();
    },
    'planned failover': async () => {
      const master = await anyMaster();
      await replicated(master, cluster.partnerOf(master));
      await cluster.failover(cluster.partnerOf(master));
      await rest(master);
    },
    'move slots': async () => {
      const [from, to] = [await anyMaster(), await anyMaster()];
      if (from === to) return;
      const slots = [...(await cluster.slotsOf(from))];
      for (let n = 0; n < 20; n += 1)
        await cluster.move(...([slots.splice(random.between(0, slots.length - 1), 1)[0], from, to] as [number, RedisServer, RedisServer]));
      await cluster.agreed();
    },
    'reset connections': async () => cluster.proxies.get(await anyMaster())?.reset(),
    'forget scripts': async () => (await anyMaster()).cli('SCRIPT', 'FLUSH'),
  });
});

it('a soak under sentinels: no feature loses, repeats or mistakes anything but what was not replicated', {
  timeout: TIMEOUT_MS,
}, async () => {
  const random = new Random(SEED);
  await using topology = await Sentinels.start(1, { proxySeed: SEED });
  const replicaOf = (master: RedisServer) => topology.servers.find((server) => server !== master) as RedisServer;
  const loses =
    (bring: Step, back: Step): Fault =>
    async (took) => {
      const master = await topology.named();
      const from = performance.now();
      await replicated(master, replicaOf(master));
      await bring(master);
      await topology.promoted(master);
      await pause(random.between(0, 400));
      await back(master);
      await follows(master);
      await topology.agreed();
      took(from, () => true);
    };
  await soak('sentinel', topology.url, random, {
    'kill the master': loses(
      (master) => master.kill9(),
      (master) => master.restart(),
    ),
    'freeze the master until its replica takes over': loses(
      (master) => master.freeze(),
      async (master) => master.thaw(),
    ),
    'cut the master off': loses(
      async (master) => topology.proxies.get(master)?.set({ up: { blackHole: true }, down: { blackHole: true } }),
      async (master) => topology.proxies.get(master)?.heal(),
    ),
    // Sentinel promotes the replica first, and tells the old master after that.
    'planned switch': loses(
      () => topology.failover(),
      async () => {},
    ),
    'freeze the master for a moment': async () => {
      const master = await topology.named();
      await master.freeze();
      await pause(random.between(50, 300));
      master.thaw();
    },
    'kill a sentinel': async () => {
      const sentinel = random.pick(topology.sentinels);
      await sentinel.kill9();
      await pause(random.between(0, 400));
      await sentinel.restart();
      await topology.agreed();
    },
    'reset connections': async () => topology.proxies.get(await topology.named())?.reset(),
    'forget scripts': async () => (await topology.named()).cli('SCRIPT', 'FLUSH'),
  });
});

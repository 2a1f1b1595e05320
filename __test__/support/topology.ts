/** Clusters whose masters have replicas, and servers under sentinels, with their failovers and moves of slots. */
import { RedisServer, type RedisServerOptions, startCluster } from './redis-server.ts';
import { TcpProxy } from './tcp-proxy.ts';
import { until } from './until.ts';

/** How long a topology may take to reach a requested state. */
const PATIENCE_MS = 60_000;

/** The hash slot of a key: CRC16 (XMODEM) of its hash tag, or of the whole key. */
export function slotOf(key: string): number {
  const tag = /^[^{]*\{([^}]+)\}/.exec(key)?.[1] ?? key;
  let crc = 0;
  for (const byte of Buffer.from(tag)) {
    crc ^= byte << 8;
    for (let bit = 0; bit < 8; bit += 1) crc = crc & 0x8000 ? ((crc << 1) ^ 0x1021) & 0xffff : (crc << 1) & 0xffff;
  }
  return crc % 16_384;
}

/** Does the server say that it is a master? `false` if it does not answer. */
export async function isMaster(server: RedisServer): Promise<boolean> {
  return server.running && String(await server.cli('ROLE').catch(() => '')).startsWith('master');
}

/** The replication offset of `server`. */
async function offsetOf(server: RedisServer): Promise<number> {
  return Number(await server.info('master_repl_offset'));
}

/** Resolves when `replica` has every write that `master` had at the time of the call. */
export async function replicated(master: RedisServer, replica: RedisServer): Promise<void> {
  const offset = await offsetOf(master);
  const has = async () => (await replica.info('master_link_status')) === 'up' && Number(await replica.info('slave_repl_offset')) >= offset;
  await until(has, { timeoutMs: PATIENCE_MS, what: 'the replica to have what the master has' });
}

async function proxiesOf(servers: readonly RedisServer[], seed: number | undefined): Promise<Map<RedisServer, TcpProxy>> {
  const proxies = new Map<RedisServer, TcpProxy>();
  if (seed !== undefined) for (const server of servers) proxies.set(server, await TcpProxy.start(server, { seed }));
  return proxies;
}

/** Options of a topology. */
export interface TopologyOptions extends RedisServerOptions {
  /** Puts a proxy with this seed in front of every server. Clients, replicas and sentinels connect through it. */
  proxySeed?: number;
}

/** A cluster whose masters have a replica each. */
export class ReplicatedCluster implements AsyncDisposable {
  /** The nodes that were masters at the start, then their replicas, in the same order. */
  readonly nodes: readonly RedisServer[];
  readonly ids: ReadonlyMap<RedisServer, string>;
  readonly proxies: ReadonlyMap<RedisServer, TcpProxy>;

  private constructor(nodes: RedisServer[], ids: Map<RedisServer, string>, proxies: Map<RedisServer, TcpProxy>) {
    this.nodes = nodes;
    this.ids = ids;
    this.proxies = proxies;
  }

  static async start(masters = 3, { proxySeed, ...options }: TopologyOptions = {}): Promise<ReplicatedCluster> {
    const config = { 'cluster-replica-validity-factor': 0, 'cluster-migration-barrier': 9, 'repl-ping-replica-period': 1 };
    // Frequent pings, because a replica appears in `CLUSTER SLOTS` only after its master has sent it something.
    const given = { ...options, config: { ...config, ...options.config } };
    const nodes = await startCluster(masters, given);
    const replicas = await Promise.all(nodes.map(() => RedisServer.start({ ...given, cluster: true })));
    const all = [...nodes, ...replicas];
    const ids = new Map<RedisServer, string>();
    for (const node of all) ids.set(node, String(await node.cli('CLUSTER', 'MYID')));
    const proxies = await proxiesOf(all, proxySeed);
    for (const [node, { port }] of proxies) {
      await node.cli('CONFIG', 'SET', 'cluster-announce-ip', node.host, 'cluster-announce-port', port);
    }
    const cluster = new ReplicatedCluster(all, ids, proxies);
    await Promise.all(
      replicas.map(async (replica, at) => {
        // Every node is met directly, because gossip takes seconds.
        for (const node of all) if (node !== replica) await replica.cli('CLUSTER', 'MEET', ...node.clusterAddress);
        const master = ids.get(nodes[at] as RedisServer) as string;
        const follow = async () => (await replica.cli('CLUSTER', 'REPLICATE', master)) === 'OK';
        await until(follow, { timeoutMs: PATIENCE_MS, what: 'a replica to know its master' });
        const inStep = async () => (await replica.info('master_link_status')) === 'up';
        await until(inStep, { timeoutMs: PATIENCE_MS, what: 'a replica to be in step' });
      }),
    );
    await cluster.agreed();
    // As what they became they come back after a restart.
    for (const node of all) await node.cli('CONFIG', 'REWRITE');
    return cluster;
  }

  get url(): string {
    return `redis+cluster://${this.nodes.map((node) => `${node.host}:${this.portOf(node)}`).join(',')}`;
  }

  /** The port at which clients reach a node. */
  portOf(node: RedisServer): number {
    return this.proxies.get(node)?.port ?? node.port;
  }

  /** The other node of a master and its replica. */
  partnerOf(node: RedisServer): RedisServer {
    const at = this.nodes.indexOf(node);
    return this.nodes[(at + this.nodes.length / 2) % this.nodes.length] as RedisServer;
  }

  /** Resolves when every running node knows all running nodes, and reports that every slot is served. */
  async agreed(): Promise<void> {
    const running = this.nodes.filter((node) => node.running);
    const settled = async (node: RedisServer): Promise<boolean> => {
      const slots = String(await node.cli('CLUSTER', 'SLOTS'));
      const knows = (other: RedisServer) => slots.includes(`${other.host},${this.portOf(other)},${this.ids.get(other)}`);
      return running.every(knows) && /cluster_slots_ok:16384/.test(String(await node.cli('CLUSTER', 'INFO')));
    };
    for (const node of running) await until(() => settled(node), { timeoutMs: PATIENCE_MS, what: 'the cluster to agree' });
  }

  async masters(): Promise<RedisServer[]> {
    const are = await Promise.all(this.nodes.map(isMaster));
    return this.nodes.filter((_, at) => are[at]);
  }

  /** The slots of `node`, by its own report. */
  async slotsOf(node: RedisServer): Promise<Set<number>> {
    const me = /^.*myself.*$/m.exec(String(await node.cli('CLUSTER', 'NODES')))?.[0] ?? '';
    const slots = new Set<number>();
    for (const range of me.split(' ').slice(8)) {
      const [, first, last] = /^(\d+)(?:-(\d+))?$/.exec(range) ?? [];
      for (let slot = Number(first); slot <= Number(last ?? first); slot += 1) slots.add(slot);
    }
    return slots;
  }

  /** A planned failover to `replica`, which loses nothing. Resolves when every running node knows. */
  async failover(replica: RedisServer): Promise<void> {
    const id = this.ids.get(replica) as string;
    const done = async () => {
      // Repeated, because a failover may fail for want of votes.
      if (!(await isMaster(replica))) await replica.cli('CLUSTER', 'FAILOVER');
      return isMaster(replica);
    };
    await until(done, { timeoutMs: PATIENCE_MS, what: 'a replica to be promoted' });
    const told = async (node: RedisServer) => new RegExp(`^${id} .*master.*\\d$`, 'm').test(String(await node.cli('CLUSTER', 'NODES')));
    for (const node of this.nodes.filter((node) => node.running)) {
      await until(() => told(node), { timeoutMs: PATIENCE_MS, what: 'every node to know the new master' });
    }
  }

  /** The first step of moving `slot`: from now on its keys can be moved, one by one. */
  async open(slot: number, from: RedisServer, to: RedisServer): Promise<void> {
    await to.cli('CLUSTER', 'SETSLOT', slot, 'IMPORTING', this.ids.get(from) as string);
    await from.cli('CLUSTER', 'SETSLOT', slot, 'MIGRATING', this.ids.get(to) as string);
  }

  /** Moves every key of `slot`. */
  async moveKeys(slot: number, from: RedisServer, to: RedisServer): Promise<void> {
    for (;;) {
      const keys = (await from.cli('CLUSTER', 'GETKEYSINSLOT', slot, 200)) as string[];
      if (keys.length === 0) return;
      await from.cli('MIGRATE', to.host, to.port, '', 0, 5_000, 'KEYS', ...keys);
    }
  }

  /** The last step of moving `slot`: it belongs to `to`. */
  async close(slot: number, to: RedisServer): Promise<void> {
    const others = (await this.masters()).filter((node) => node !== to);
    for (const node of [to, ...others]) await node.cli('CLUSTER', 'SETSLOT', slot, 'NODE', this.ids.get(to) as string);
  }

  /** Moves `slot` with all its keys. */
  async move(slot: number, from: RedisServer, to: RedisServer): Promise<void> {
    await this.open(slot, from, to);
    await this.moveKeys(slot, from, to);
    await this.close(slot, to);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.proxies.values(), ...this.nodes].map((one) => one[Symbol.asyncDispose]()));
  }
}

/** A master with replicas, watched by three sentinels. */
export class Sentinels implements AsyncDisposable {
  readonly servers: readonly RedisServer[];
  readonly sentinels: readonly RedisServer[];
  readonly proxies: ReadonlyMap<RedisServer, TcpProxy>;

  private constructor(servers: RedisServer[], sentinels: RedisServer[], proxies: Map<RedisServer, TcpProxy>) {
    this.servers = servers;
    this.sentinels = sentinels;
    this.proxies = proxies;
  }

  static async start(replicas = 2, { proxySeed, ...given }: TopologyOptions = {}): Promise<Sentinels> {
    // A ping every second, so that a sentinel soon knows the state of a replica.
    const options = { ...given, config: { 'repl-ping-replica-period': 1, ...given.config } };
    const servers = await Promise.all(Array.from({ length: replicas + 1 }, () => RedisServer.start(options)));
    const [master, ...others] = servers as [RedisServer, ...RedisServer[]];
    const proxies = await proxiesOf(servers, proxySeed);
    for (const [server, { port }] of proxies)
      await server.cli('CONFIG', 'SET', 'replica-announce-ip', server.host, 'replica-announce-port', port);
    for (const replica of others) await replica.replicaOf(master, proxies.get(master)?.port);
    const sentinel = { name: 'main', server: master, port: proxies.get(master)?.port, quorum: 2 };
    const sentinels = await Promise.all(Array.from({ length: 3 }, () => RedisServer.start({ sentinel })));
    const topology = new Sentinels([...servers], sentinels, proxies);
    for (const server of servers) await server.willBeReplicaOf(master);
    await topology.agreed();
    // As what they became they come back after a restart.
    for (const server of servers) await server.cli('CONFIG', 'REWRITE');
    return topology;
  }

  get url(): string {
    return `redis+sentinel://${this.sentinels.map((one) => `${one.host}:${one.port}`).join(',')}/main`;
  }

  /** Resolves when every sentinel knows the other sentinels and every server, and reports the status `ok`. */
  async agreed(): Promise<void> {
    const expected = new RegExp(`status=ok,.*slaves=${this.servers.length - 1},sentinels=${this.sentinels.length}`);
    for (const sentinel of this.sentinels) {
      const knows = async () => expected.test(String(await sentinel.cli('INFO', 'sentinel')));
      await until(knows, { timeoutMs: PATIENCE_MS, what: 'the sentinels to agree' });
    }
  }

  /** The port at which clients reach a server. */
  portOf(server: RedisServer): number {
    return this.proxies.get(server)?.port ?? server.port;
  }

  /** The master by the sentinels' report. */
  async named(): Promise<RedisServer> {
    for (const sentinel of this.sentinels) {
      const said = (await sentinel.cli('SENTINEL', 'get-master-addr-by-name', 'main').catch(() => [])) as string[];
      const server = this.servers.find((server) => this.portOf(server) === Number(said[1]));
      if (server) return server;
    }
    throw new Error('no sentinel names a master');
  }

  /** A planned failover. Resolves with the new master. */
  async failover(): Promise<RedisServer> {
    const before = await this.named();
    const begin = async () => (await (this.sentinels[0] as RedisServer).cli('SENTINEL', 'FAILOVER', 'main')) === 'OK';
    await until(begin, { timeoutMs: PATIENCE_MS, what: 'a sentinel to begin a switch' });
    return this.promoted(before);
  }

  /** Resolves with the new master, once another server than `before` is the master. */
  async promoted(before: RedisServer): Promise<RedisServer> {
    const other = async () => {
      const now = await this.named();
      return now !== before && (await isMaster(now)) && now;
    };
    return until(other, { timeoutMs: PATIENCE_MS, what: 'a replica to be promoted' });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const all = [...this.sentinels, ...this.proxies.values(), ...this.servers];
    await Promise.all(all.map((one) => one[Symbol.asyncDispose]()));
  }
}

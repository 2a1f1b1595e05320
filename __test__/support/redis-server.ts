/**
 * A real redis-server that one test owns: it may be frozen, killed and brought back.
 *
 * The harness itself uses its own ACL user (`harness`), so that passwords, ACL rules and CLIENT LIST
 * of the test stay as the test made them.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { randomBytes, randomUUID } from 'node:crypto';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { installHint } from '../../scripts/install-hints.mjs';
import { type Certificate, type Certificates, certificates } from './certificates.ts';
import { freePort } from './port.ts';
import { type RawArgument, RawClient, type RawReply } from './raw-client.ts';
import { until, within } from './until.ts';
import { watchedFolder, watchProcess } from './watched.ts';

export interface RedisServerOptions {
  /** Also listen on a Unix socket, `server.socketPath`. */
  unixSocket?: boolean;
  /** `requirepass`: the default user's password. */
  password?: string;
  /** ACL lines without the word `user`, such as `alice on >secret ~app:* +@all`. */
  acl?: string[];
  /** Speak TLS on the port; `mutual` also demands a client certificate. */
  tls?: boolean | 'mutual';
  /** With `tls`: the server's certificate, instead of the usual one, and the authority that signs the clients' certificates. */
  certificate?: Pick<Certificate, 'certFile' | 'keyFile'> & { caFile: string };
  /** The directive `maxmemory`, such as `3mb`. */
  maxmemory?: string;
  /** Keep the data over `kill9()` and `restart()`: every write is written to disk before the answer. */
  durable?: boolean;
  /** A cluster node. It serves no slot until it is given slots (see `startCluster`). */
  cluster?: boolean;
  /** A sentinel that watches `server` under `name`, at `port`, for example that of a proxy. Default: the server's own port. */
  sentinel?: { name: string; server: RedisServer; port?: number; quorum?: number; downAfterMs?: number };
  /** Further directives; an array gives one line each. */
  config?: Record<string, string | number | (string | number)[]>;
}

/** One line of CLIENT LIST. */
export type ClientInfo = Record<string, string>;

/** How long a server may take to start, stop or answer the harness. */
const PATIENCE_MS = 10_000;
const HARNESS_USER = 'harness';

let major: number | undefined;

/** Is the redis-server on PATH 7 or later? An older one refuses directives that came with 7. */
function isFrom7(): boolean {
  major ??= Number(/\bv=(\d+)/.exec(spawnSync('redis-server', ['--version'], { encoding: 'utf8' }).stdout ?? '')?.[1] ?? 7);
  return major >= 7;
}

export class RedisServer implements AsyncDisposable {
  readonly host = '127.0.0.1';
  readonly port: number;
  readonly dir: string;
  readonly socketPath: string;
  /** The certificates in use, for a server started with `tls`. */
  readonly certificates: Certificates | undefined;
  readonly #options: RedisServerOptions;
  readonly #harnessPassword = randomBytes(16).toString('hex');
  readonly #clusterPort: number;
  #process: ChildProcess | undefined;
  #ended: Promise<void> = Promise.resolve();
  #frozen = false;

  private constructor(options: RedisServerOptions, port: number, clusterPort: number, certs?: Certificates) {
    this.#options = options;
    this.port = port;
    this.#clusterPort = clusterPort;
    this.certificates = certs;
    this.dir = watchedFolder();
    this.socketPath = join(this.dir, 's');
  }

  /** Starts a server and resolves when it answers. Rejects with the end of its log when it does not. */
  static async start(options: RedisServerOptions = {}): Promise<RedisServer> {
    const certs = options.tls ? await certificates() : undefined;
    for (;;) {
      const port = await freePort();
      const server = new RedisServer(options, port, isFrom7() ? await freePort() : port + 10_000, certs);
      try {
        await server.#launch();
        return server;
      } catch (error) {
        await server[Symbol.asyncDispose]();
        // Another process took the port after `freePort()` had found it free: try another port.
        if (!/Address already in use/.test(String((error as Error).message))) throw error;
      }
    }
  }

  /** The server's URL with the default user's password, if it has one. */
  get url(): string {
    const credentials = this.#options.password ? `:${encodeURIComponent(this.#options.password)}@` : '';
    return `${this.#options.tls ? 'rediss' : 'redis'}://${credentials}${this.host}:${this.port}`;
  }

  get pid(): number {
    if (!this.#process?.pid) throw new Error('redis-server is not running');
    return this.#process.pid;
  }

  get running(): boolean {
    return this.#process !== undefined;
  }

  /** The tail of the server's log. */
  get log(): string {
    // A server reports errors of its configuration before it opens its log, on its standard output.
    const files = ['output', 'log'].map((name) => join(this.dir, name)).filter((file) => existsSync(file));
    return files.flatMap((file) => readFileSync(file, 'utf8').split('\n').slice(-15)).join('\n');
  }

  /** Kills the server (SIGKILL): nothing is saved unless `durable`. Resolves when the process has ended. */
  async kill9(): Promise<void> {
    this.#process?.kill('SIGKILL');
    await within(PATIENCE_MS, this.#ended, 'a killed redis-server to end');
  }

  /** Shuts the server down (SIGTERM). Resolves when the process has ended; at once if it is not running. */
  async stop(): Promise<void> {
    this.thaw();
    this.#process?.kill('SIGTERM');
    await within(PATIENCE_MS, this.#ended, 'redis-server to shut down');
  }

  /** Stops the process (SIGSTOP): connections stay open, the kernel accepts more, nothing is answered. */
  async freeze(): Promise<void> {
    const { pid } = this;
    this.#frozen = true;
    process.kill(pid, 'SIGSTOP');
    await until(() => processState(pid) === 'T', { what: 'redis-server to stand still' });
  }

  /** Lets a frozen server go on. */
  thaw(): void {
    if (this.#frozen) this.#process?.kill('SIGCONT');
    this.#frozen = false;
  }

  /** Brings the server (back) up on the same port, shutting it down first if it runs. */
  async restart(): Promise<void> {
    await this.stop();
    await this.#launch();
  }

  /** Kills the server and removes its folder. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill9();
    rmSync(this.dir, { recursive: true, force: true });
  }

  /** A connection as the harness' user, for the caller to close. */
  connect(onOpen?: (localPort: number) => void): Promise<RawClient> {
    const { certificates } = this;
    const usual = certificates && { ca: certificates.ca.cert, cert: certificates.client.cert, key: certificates.client.key };
    const tls = this.#options.certificate ? { rejectUnauthorized: false } : usual;
    const address = { host: this.host, port: this.port, tls, username: HARNESS_USER, password: this.#harnessPassword };
    return RawClient.connect(address, onOpen);
  }

  /** One command as the harness' user, on a connection of its own. */
  async cli(name: string, ...args: RawArgument[]): Promise<RawReply> {
    return this.#with((client) => client.call(name, ...args));
  }

  /** CLIENT LIST without the harness' own connections. */
  async clients(): Promise<ClientInfo[]> {
    const list = String(await this.cli('CLIENT', 'LIST'));
    const lines = list.split('\n').filter((line) => line !== '');
    return lines
      .map((line) => Object.fromEntries(line.split(' ').map((field) => splitOnce(field, '='))) as ClientInfo)
      .filter((client) => client.user !== HARNESS_USER);
  }

  /** Have the clients read everything that the server has sent, on every connection? */
  async drained(): Promise<boolean> {
    if (!(await this.clients()).every(({ omem }) => omem === '0')) return false;
    // For each connection the kernel shows how many bytes are still unsent and unread, as `tx:rx`. Ports are in hex.
    const port = `:${this.port.toString(16).toUpperCase().padStart(4, '0')}`;
    const rows = readFileSync('/proc/net/tcp', 'utf8').split('\n').slice(1);
    return rows
      .map((row) => row.trim().split(/\s+/))
      .filter(([, local, remote]) => local?.endsWith(port) || remote?.endsWith(port))
      .every(([, , , state, queues]) => state !== '01' || queues === '00000000:00000000');
  }

  /** Every key of every database, read with SCAN. */
  async keys(): Promise<{ db: number; key: string }[]> {
    return this.#with(async (client) => {
      const keyspace = String(await client.call('INFO', 'keyspace'));
      const found: { db: number; key: string }[] = [];
      for (const [, db] of keyspace.matchAll(/^db(\d+):/gm)) {
        await client.call('SELECT', Number(db));
        let cursor = '0';
        do {
          const [next, keys] = (await client.call('SCAN', cursor, 'COUNT', 1_000)) as [string, string[]];
          found.push(...keys.map((key) => ({ db: Number(db), key })));
          cursor = next;
        } while (cursor !== '0');
      }
      return found;
    });
  }

  /** One field of INFO. */
  async info(field: string): Promise<string> {
    const text = String(await this.cli('INFO', 'everything'));
    const value = new RegExp(`^${field}:(.*?)\\r?$`, 'm').exec(text)?.[1];
    if (value === undefined) throw new Error(`INFO has no field ${field}`);
    return value;
  }

  /** How often the server has executed a command since it started. Tests use it to prove that a command ran only once. */
  async calls(command: string): Promise<number> {
    const text = String(await this.cli('INFO', 'commandstats'));
    return Number(new RegExp(`^cmdstat_${command.toLowerCase()}:calls=(\\d+)`, 'm').exec(text)?.[1] ?? 0);
  }

  /** Records the commands of all clients other than the harness from now on, until `stop()`. */
  async monitor(): Promise<Monitor> {
    const client = await this.connect();
    const commands: MonitoredCommand[] = [];
    const reached = new Map<string, () => void>();
    client.onPush = (line) => {
      const command = parseMonitorLine(String(line));
      if (!command) return;
      if (!this.#harnessPorts.has(command.from)) commands.push(command);
      else if (command.name === 'ECHO') reached.get(command.args[0] ?? '')?.();
    };
    await client.call('MONITOR');
    return {
      commands: async () => {
        const mark = randomUUID();
        const seen = new Promise<void>((resolve) => reached.set(mark, resolve));
        await this.cli('ECHO', mark);
        await within(PATIENCE_MS, seen, 'the monitor to report what was answered');
        reached.delete(mark);
        return [...commands];
      },
      stop: () => client.destroy(),
      [Symbol.asyncDispose]: async () => client.destroy(),
    };
  }

  readonly #harnessPorts = new Set<string>();

  async #with<T>(use: (client: RawClient) => Promise<T>): Promise<T> {
    const hide = (port: number) => this.#harnessPorts.add(`127.0.0.1:${port}`);
    const client = await within(PATIENCE_MS, this.connect(hide), 'redis-server to accept the harness');
    try {
      return await within(PATIENCE_MS, use(client), 'redis-server to answer the harness');
    } finally {
      client.destroy();
    }
  }

  async #launch(): Promise<void> {
    mkdirSync(this.dir, { recursive: true });
    const file = join(this.dir, 'redis.conf');
    // Written only once, because a sentinel rewrites the file with its own state.
    if (!existsSync(file)) writeFileSync(file, this.#configuration());
    const output = openSync(join(this.dir, 'output'), 'a');
    const child = spawn('redis-server', [file, ...(this.#options.sentinel ? ['--sentinel'] : [])], { stdio: ['ignore', output, output] });
    closeSync(output);
    child.unref();
    let failure: Error | undefined;
    this.#process = child;
    this.#frozen = false;
    const forget = child.pid ? watchProcess(child.pid) : () => {};
    this.#ended = new Promise((resolve) => {
      const end = () => {
        forget();
        if (this.#process === child) this.#process = undefined;
        resolve();
      };
      child.once('error', (error: NodeJS.ErrnoException) => {
        failure = error.code === 'ENOENT' ? new Error(installHint('redis-server', 'the tests start their own servers')) : error;
        end();
      });
      child.once('exit', (code, signal) => {
        failure ??= new Error(`redis-server ended with ${signal ?? code} while starting:\n${this.log}`);
        end();
      });
    });
    await until(() => failure !== undefined || this.cli('PING'), {
      timeoutMs: PATIENCE_MS,
      what: () => `redis-server to answer:\n${this.log}`,
    });
    if (failure) throw failure;
  }

  #configuration(): string {
    const { config, sentinel, tls } = this.#options;
    const lines: string[] = [
      'bind 127.0.0.1',
      'protected-mode no',
      'daemonize no',
      `dir "${this.dir}"`,
      `logfile "${join(this.dir, 'log')}"`,
      `user ${HARNESS_USER} on >${this.#harnessPassword} ~* &* +@all`,
    ];
    if (tls && this.certificates) {
      const { ca } = this.certificates;
      const server = this.#options.certificate ?? this.certificates.server;
      lines.push('port 0', `tls-port ${this.port}`, `tls-cert-file "${server.certFile}"`, `tls-key-file "${server.keyFile}"`);
      lines.push(
        `tls-ca-cert-file "${this.#options.certificate?.caFile ?? ca.certFile}"`,
        `tls-auth-clients ${tls === 'mutual' ? 'yes' : 'optional'}`,
      );
      lines.push('tls-replication yes');
      if (this.#options.cluster) lines.push('tls-cluster yes');
    } else {
      lines.push(`port ${this.port}`);
    }
    if (this.#options.unixSocket) lines.push(`unixsocket "${this.socketPath}"`);
    if (sentinel) {
      const { name, server } = sentinel;
      lines.push(`sentinel monitor ${name} ${server.host} ${sentinel.port ?? server.port} ${sentinel.quorum ?? 1}`);
      lines.push(`sentinel auth-user ${name} ${HARNESS_USER}`, `sentinel auth-pass ${name} ${server.#harnessPassword}`);
      lines.push(`sentinel down-after-milliseconds ${name} ${sentinel.downAfterMs ?? 500}`, `sentinel failover-timeout ${name} 5000`);
    } else {
      lines.push('save ""', `appendonly ${this.#options.durable ? 'yes' : 'no'}`, 'appendfsync always', 'repl-diskless-sync-delay 0');
      if (isFrom7()) lines.push('enable-debug-command yes');
      if (this.#options.maxmemory) lines.push(`maxmemory ${this.#options.maxmemory}`);
      if (this.#options.cluster) {
        lines.push('cluster-enabled yes', 'cluster-config-file nodes', 'cluster-node-timeout 1000');
        if (isFrom7()) lines.push(`cluster-port ${this.#clusterPort}`);
      }
    }
    if (this.#options.password) lines.push(`requirepass "${this.#options.password}"`);
    for (const rule of this.#options.acl ?? []) lines.push(`user ${rule}`);
    for (const [name, value] of Object.entries(config ?? {})) {
      for (const one of Array.isArray(value) ? value : [value]) lines.push(`${name} ${one}`);
    }
    return `${lines.join('\n')}\n`;
  }

  /** The address at which other cluster nodes reach this node: host, port, bus port. */
  get clusterAddress(): [string, number, number] {
    return [this.host, this.port, this.#clusterPort];
  }

  /** Prepares this server for sentinels that make it a replica, of `master` or of another server prepared for the same `master`. */
  async willBeReplicaOf(master: RedisServer): Promise<void> {
    // A sentinel has a single password for the master and for all servers that may become the master.
    await this.cli('ACL', 'SETUSER', HARNESS_USER, `>${master.#harnessPassword}`);
    await this.cli('CONFIG', 'SET', 'masteruser', HARNESS_USER);
    await this.cli('CONFIG', 'SET', 'masterauth', master.#harnessPassword);
  }

  /** Makes this server a replica of `master`, reached at `port`, and resolves when it is in step. */
  async replicaOf(master: RedisServer, port = master.port): Promise<void> {
    await this.willBeReplicaOf(master);
    await this.cli('REPLICAOF', master.host, port);
    await until(async () => (await this.info('master_link_status')) === 'up', {
      timeoutMs: PATIENCE_MS,
      what: 'the replica to be in step',
    });
  }
}

/** Starts a Redis Cluster of `masters` nodes that share all slots evenly; resolves when every node says `ok`. */
export async function startCluster(masters: number, options: RedisServerOptions = {}): Promise<RedisServer[]> {
  const nodes = await Promise.all(Array.from({ length: masters }, () => RedisServer.start({ ...options, cluster: true })));
  const [first] = nodes as [RedisServer, ...RedisServer[]];
  await Promise.all(
    nodes.map(async (node, i) => {
      await node.cli('CLUSTER', 'SET-CONFIG-EPOCH', i + 1);
      const from = Math.floor((i * 16_384) / masters);
      const to = Math.floor(((i + 1) * 16_384) / masters);
      await node.cli('CLUSTER', 'ADDSLOTS', ...Array.from({ length: to - from }, (_, slot) => from + slot));
      if (node !== first) await node.cli('CLUSTER', 'MEET', ...first.clusterAddress);
    }),
  );
  for (const node of nodes) {
    await until(
      async () =>
        /cluster_state:ok[\s\S]*cluster_known_nodes:(\d+)/.exec(String(await node.cli('CLUSTER', 'INFO')))?.[1] === String(masters),
      {
        timeoutMs: PATIENCE_MS,
        what: 'the cluster to agree',
      },
    );
  }
  return nodes;
}

export interface MonitoredCommand {
  /** `host:port` of the client; `lua` for a command of a script. */
  from: string;
  db: number;
  name: string;
  args: string[];
}

export interface Monitor extends AsyncDisposable {
  /** Each command that the server has answered by now, in the server's order. */
  commands(): Promise<MonitoredCommand[]>;
  stop(): void;
}

function parseMonitorLine(line: string): MonitoredCommand | undefined {
  const match = /^[\d.]+ \[(\d+) (\S+)\] (.*)$/s.exec(line);
  if (!match) return undefined;
  const [, db, from, rest] = match as unknown as [string, string, string, string];
  const words = [...rest.matchAll(/"((?:[^"\\]|\\.)*)"/gs)].map(([, word]) => unescapeWord(word as string));
  return { from, db: Number(db), name: (words[0] ?? '').toUpperCase(), args: words.slice(1) };
}

function unescapeWord(word: string): string {
  const named: Record<string, string> = { n: '\n', r: '\r', t: '\t', a: '\x07', b: '\b' };
  const text = word.replace(/\\(?:x([0-9a-f]{2})|(.))/gs, (_, hex?: string, char?: string) =>
    hex ? String.fromCharCode(Number.parseInt(hex, 16)) : (named[char as string] ?? (char as string)),
  );
  return Buffer.from(text, 'latin1').toString();
}

/** The state letter of a process (`R`, `S`, `T`, …), or `undefined` when there is none. */
export function processState(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2, stat.lastIndexOf(')') + 3);
  } catch {
    if (existsSync('/proc/self/stat')) return undefined;
    return spawnSync('ps', ['-o', 'state=', '-p', String(pid)])
      .stdout.toString()
      .trim()[0];
  }
}

function splitOnce(text: string, separator: string): [string, string] {
  const at = text.indexOf(separator);
  return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + separator.length)];
}

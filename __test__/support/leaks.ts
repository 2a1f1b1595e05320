/** Checks that a test leaves nothing behind: no connections, no keys outside of its namespace, no live handles. */
import { afterEach, beforeEach } from 'vitest';
import type { RedisServer } from './redis-server.ts';
import { until } from './until.ts';

/** How long a leak may last: a server notices a close a little later than the client, and a handle closes after a turn of the event loop. */
const GRACE_MS = 2_000;

export interface LeakChecks {
  /** No connection of this server's clients may be left. */
  server?: () => RedisServer | undefined;
  /** Only for connections whose client name or library name contains this. Default: every connection. */
  clientName?: string;
  /** Every key must begin with this (`prefix:` or `{prefix}:` …). Without it keys are not looked at. */
  keyPrefix?: () => string;
}

/** Registers the checks for every test of the enclosing `describe`. */
export function checkLeaks(checks: LeakChecks = {}): void {
  let before: string[] = [];
  beforeEach(() => {
    before = liveHandles();
  });
  afterEach(async () => {
    const server = checks.server?.();
    if (server?.running) {
      await expectNoClients(server, checks.clientName);
      if (checks.keyPrefix) await expectOnlyKeys(server, checks.keyPrefix());
    }
    await expectNoHandlesBeyond(before);
  });
}

/** Rejects when a client is still connected after the time of grace. */
export async function expectNoClients(server: RedisServer, named?: string, timeoutMs = GRACE_MS): Promise<void> {
  let left: string[] = [];
  await until(
    async () => {
      const clients = await server.clients();
      left = clients
        // The connections between a master and its replica are not clients.
        .filter(({ flags }) => !/[MS]/.test(flags ?? ''))
        .filter((client) => named === undefined || client.name?.includes(named) || client['lib-name']?.includes(named))
        .map((client) => `${client.addr} name=${client.name} cmd=${client.cmd}`);
      return left.length === 0;
    },
    { timeoutMs, what: () => `every client connection to be closed; left: ${left.join(', ')}` },
  );
}

/** Rejects when the server holds a key that does not begin with `prefix`, with or without a hash tag's brace. */
export async function expectOnlyKeys(server: RedisServer, prefix: string): Promise<void> {
  const foreign = (await server.keys()).map(({ key }) => key).filter((key) => !key.startsWith(prefix) && !key.startsWith(`{${prefix}`));
  if (foreign.length > 0)
    throw new Error(
      `keys outside the test's namespace ${prefix}: ${foreign
        .slice(0, 20)
        .map((key) => JSON.stringify(key))
        .join(', ')}`,
    );
}

/** The resources that keep the event loop alive, without timers and immediates, which Vitest uses too. */
export function liveHandles(): string[] {
  return process.getActiveResourcesInfo().filter((kind) => !['Timeout', 'Immediate', 'FSReqPromise', 'FSReqCallback'].includes(kind));
}

/** Rejects when there are more live handles of any kind than in `before`, after the time of grace. */
export async function expectNoHandlesBeyond(before: readonly string[], timeoutMs = GRACE_MS): Promise<void> {
  let extra: string[] = [];
  await until(
    () => {
      const known = [...before];
      extra = liveHandles().filter((kind) => {
        const at = known.indexOf(kind);
        if (at >= 0) known.splice(at, 1);
        return at < 0;
      });
      return extra.length === 0;
    },
    { timeoutMs, what: () => `every handle to be closed; left: ${extra.join(', ')}` },
  );
}

/** One contract suite, run on every backend there is: a real redis-server and the embedded engine. */
import { randomUUID } from 'node:crypto';
import { type RedisConfig, RedisConnectionManager } from 'redis-backplane';
import { afterAll, afterEach, beforeAll, beforeEach, describe } from 'vitest';
import { checkLeaks } from './leaks.ts';
import { RedisServer } from './redis-server.ts';
import { stretched } from './starvation.ts';

/** What a manager waits for an answer, on a machine at rest: its default. */
const COMMAND_TIMEOUT_MS = 5_000;

export interface Backend {
  readonly kind: 'redis-server' | 'memory';
  /** Where a manager reaches it. */
  readonly url: string;
  /** The real server behind it, for what only a real one can do. */
  readonly server: RedisServer | undefined;
  /** New for each test. */
  readonly namespace: string;
  /** A manager in the test's namespace, whose deadline of a command follows the machine; it is disconnected after the test. */
  manager(overrides?: RedisConfig): RedisConnectionManager;
}

/** The kinds of backend that suites run on. */
export const BACKENDS: readonly Backend['kind'][] = ['redis-server', 'memory'];

/**
 * Declares `suite` once per backend. Each backend is started for the suite and each test gets a
 * namespace of its own; after each test no connection, no key outside the namespace and no handle
 * may be left.
 */
export function describeBackends(name: string, suite: (backend: Backend) => void, kinds = BACKENDS): void {
  for (const kind of kinds) {
    describe(`${name} on ${kind}`, () => {
      let server: RedisServer | undefined;
      let namespace = '';
      let commandTimeoutMs = COMMAND_TIMEOUT_MS;
      const managers: RedisConnectionManager[] = [];
      const memoryUrl = `memory://${randomUUID()}`;

      beforeAll(async () => {
        commandTimeoutMs = Math.ceil(stretched(COMMAND_TIMEOUT_MS));
        if (kind === 'redis-server') server = await RedisServer.start();
      });
      afterAll(() => server?.[Symbol.asyncDispose]());
      beforeEach(async () => {
        namespace = `test-${randomUUID().slice(0, 8)}`;
        // What the test before left in its own namespace is none of this one's.
        await server?.cli('FLUSHALL');
      });
      checkLeaks({ server: () => server, keyPrefix: () => namespace });
      // Registered last, so it runs before the leak checks.
      afterEach(async () => {
        await Promise.all(managers.splice(0).map((manager) => manager.disconnect()));
      });

      suite({
        kind,
        get url() {
          return server?.url ?? memoryUrl;
        },
        get server() {
          return server;
        },
        get namespace() {
          return namespace;
        },
        manager(overrides = {}) {
          const manager = new RedisConnectionManager({ url: this.url, namespace, commandTimeoutMs, ...overrides });
          managers.push(manager);
          return manager;
        },
      });
    });
  }
}

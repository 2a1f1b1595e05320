/** Runs a contract suite on every backend: a real redis-server, and the embedded engine. */
import { randomUUID } from 'node:crypto';
import { type RedisConfig, RedisConnectionManager } from 'redis-backplane';
import { afterAll, afterEach, beforeAll, beforeEach, describe } from 'vitest';
import { checkLeaks } from './leaks.ts';
import { RedisServer } from './redis-server.ts';
import { stretched } from './starvation.ts';

/** The default of `commandTimeoutMs`, which is meant for a machine at rest. */
const COMMAND_TIMEOUT_MS = 5_000;

export interface Backend {
  readonly kind: 'redis-server' | 'memory';
  /** The URL of the backend. */
  readonly url: string;
  /** The real server; `undefined` for the embedded engine. */
  readonly server: RedisServer | undefined;
  /** The namespace, which is new for each test. */
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
        // Keys of the previous test, in its own namespace, must not count as leaks of this test.
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

/** Values of a store as another program reads and writes them. */
import type { RedisConnectionManager } from 'redis-backplane';
import type { Backend } from './backends.ts';

export function rawValues(backend: Backend, manager: () => RedisConnectionManager) {
  const place = (key: string) => `${backend.namespace}:${key}`;
  return {
    putRaw: (key: string, value: string | Buffer) => manager().command('SET', place(key), value),
    getRaw: (key: string) => manager().command<string | null>('GET', place(key)),
  };
}

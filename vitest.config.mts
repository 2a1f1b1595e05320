import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['__test__/**/*.spec.ts'],
    exclude: ['__test__/consumers/**'],
    setupFiles: ['__test__/support/setup.ts'],
    // Specs use the package as a user does: by its name, loaded by Node itself.
    alias: [
      { find: /^redis-backplane$/, replacement: new URL('./dist/index.js', import.meta.url).pathname },
      { find: /^redis-backplane\/(.*)$/, replacement: new URL('./dist/$1.js', import.meta.url).pathname },
    ],
    server: { deps: { external: [/\/dist\//] } },
    // Most of a test is waiting, for processes and for time to pass: two files run beside each other also where Vitest would run one.
    maxWorkers: Math.max(2, availableParallelism() - 1),
  },
});

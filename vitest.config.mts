import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['__test__/**/*.spec.ts'],
    exclude: ['__test__/consumers/**'],
    // Specs use the package as a user does: by its name, loaded by Node itself.
    alias: { 'redis-backplane': new URL('./dist/index.js', import.meta.url).pathname },
    server: { deps: { external: [/\/dist\//] } },
    testTimeout: 20_000,
    hookTimeout: 20_000,
  },
});

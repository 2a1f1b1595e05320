/** Runs before every test file. */
import { takeCoverage } from 'node:v8';
import { afterAll, vi } from 'vitest';
import { stretched } from './starvation.ts';

// Each wait of a test has its own deadline, whose message says what was missing. This deadline only ends a test that waits for ever.
const timeoutMs = stretched(120_000);
vi.setConfig({ testTimeout: timeoutMs, hookTimeout: timeoutMs });

// Vitest ends its processes with a signal, and then Node writes no coverage. So the coverage is written before, if NODE_V8_COVERAGE names a folder.
afterAll(() => takeCoverage());

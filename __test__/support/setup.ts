/** Before every file of tests. */
import { takeCoverage } from 'node:v8';
import { afterAll, vi } from 'vitest';
import { stretched } from './starvation.ts';

// What a test waits for has a deadline of its own, which says what was missing; this one ends what waits for ever.
const timeoutMs = stretched(120_000);
vi.setConfig({ testTimeout: timeoutMs, hookTimeout: timeoutMs });

// Vitest ends its processes with a signal: what they have executed is written while they live, if NODE_V8_COVERAGE says where to.
afterAll(() => takeCoverage());

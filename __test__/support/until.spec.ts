import { describe, expect, it } from 'vitest';
import { until, within } from './until.ts';

describe('until', () => {
  it('gives the first truthy value', async () => {
    let round = 0;
    expect(await until(() => (++round > 3 ? `round ${round}` : ''), { what: 'round 4' })).toBe('round 4');
  });

  it('says what it waited for when the deadline passes, and why the condition last failed', async () => {
    const failing = () => {
      throw new Error('no such key');
    };
    const error = await until(failing, { timeoutMs: 20, what: 'the key' }).catch((e: Error) => e);
    expect(error).toMatchObject({
      message: expect.stringMatching(/^timed out after \d+ ms \(20 ms on a machine at rest\) waiting for the key$/),
      cause: { message: 'no such key' },
    });
  });

  it('does not wait for a condition that never settles', async () => {
    await expect(until(() => new Promise(() => {}), { timeoutMs: 20, what: 'nothing' })).rejects.toThrow('waiting for nothing');
  });
});

describe('within', () => {
  it('settles as the promise does', async () => {
    expect(await within(1_000, Promise.resolve(7))).toBe(7);
    await expect(within(1_000, Promise.reject(new Error('its own')))).rejects.toThrow('its own');
  });

  it('rejects when the promise is late', async () => {
    await expect(within(10, new Promise(() => {}), 'a reply')).rejects.toThrow(
      /^timed out after \d+ ms \(10 ms on a machine at rest\) waiting for a reply$/,
    );
  });
});

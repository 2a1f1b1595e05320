import { describe, expect, it } from 'vitest';
import { refusals } from '../scripts/check-words.mjs';

describe('words that lint refuses', () => {
  it('are found where a comment is wrapped in the middle of them, with the line and what to write instead', () => {
    const [first, ...others] = refusals(' * A key.\n * No `~` at its\n * begin or after a colon.');
    expect(others).toEqual([]);
    expect(first).toMatchObject({ line: 2, found: 'its begin' });
    expect(first?.instead).toContain('"start"');
  });

  it('are found in comments of Rust and Lua, in texts and in pages', () => {
    const lines = ['//! A reply of whatever', '//! kind.', '-- the begins of names', '"the next use begins anew"', '| at most so many |'];
    expect(refusals(lines.join('\n')).map(({ line }) => line)).toEqual([3, 4, 1, 5]);
  });

  it('leave the verb alone', () => {
    expect(refusals('Names that begin with `~`. The lease begins. `pem.find("-----BEGIN CERTIFICATE-----")`. bytes.begin(2)')).toEqual([]);
  });
});

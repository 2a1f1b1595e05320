/** What may be linked into the binaries, as `scripts/licenses.mjs` judges it. */
import { expect, test } from 'vitest';
import { isAllowed, linked, refused } from '../scripts/licenses.mjs';

const allow = ['MIT', 'Apache-2.0', 'ISC', 'Unicode-3.0'];

test.each([
  ['MIT', true],
  ['GPL-3.0', false],
  ['MIT OR GPL-3.0', true],
  ['MIT/Apache-2.0', true],
  ['Apache-2.0 AND ISC', true],
  ['Apache-2.0 AND OpenSSL', false],
  ['(MIT OR GPL-3.0) AND Unicode-3.0', true],
  ['MIT AND (GPL-3.0 OR AGPL-3.0)', false],
  ['GPL-3.0 OR (MIT AND ISC)', true],
  ['Apache-2.0 WITH LLVM-exception', false],
  ['Apache-2.0 WITH LLVM-exception OR MIT', true],
  ['MIT)', false],
])('%s: allowed is %s', (expression, expected) => {
  expect(isAllowed(expression, allow)).toBe(expected);
});

const crate = (name: string, fields: object = {}) => ({
  id: name,
  name,
  version: '1.0.0',
  license: 'MIT' as string | null,
  source: 'registry+https://crates.example' as string | null,
  authors: [],
  manifest_path: '',
  targets: [{ kind: ['lib'] }],
  ...fields,
});

test('a crate from elsewhere, or without a licence that is allowed, is refused by its name', () => {
  const packages = [
    crate('own', { source: null }),
    crate('fine'),
    crate('forked', { source: 'git+https://example.com/forked#1234' }),
    crate('copyleft', { license: 'GPL-3.0' }),
    crate('silent', { license: null }),
  ];
  const failures = refused({ packages, resolve: { root: 'own', nodes: [] } }, { allow, registries: ['https://crates.example'] });
  expect(failures.map((failure) => failure.split(' ')[0])).toEqual(['forked', 'copyleft', 'silent']);
});

test('what only runs while a binary is built is not linked into it', () => {
  const packages = ['own', 'used', 'builder', 'tested', 'beneath'].map((name) => crate(name));
  packages.push(crate('macro', { targets: [{ kind: ['proc-macro'] }] }), crate('of-macro'));
  const node = (id: string, ...deps: [pkg: string, kind: string | null][]) => ({
    id,
    deps: deps.map(([pkg, kind]) => ({ pkg, dep_kinds: [{ kind }] })),
  });
  const nodes = [
    node('own', ['used', null], ['builder', 'build'], ['tested', 'dev'], ['macro', null]),
    node('used', ['beneath', null]),
    node('macro', ['of-macro', null]),
  ];
  const found = linked({ packages, resolve: { root: 'own', nodes } });
  expect(found.map(({ name }) => name).sort()).toEqual(['beneath', 'used']);
});

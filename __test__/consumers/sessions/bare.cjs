/** Without its peer the package itself works, and what needs the peer says what is missing. */
const assert = require('node:assert/strict');
const { cpSync, mkdirSync, mkdtempSync, readdirSync } = require('node:fs');
const { createRequire } = require('node:module');
const { tmpdir } = require('node:os');
const { join } = require('node:path');

const home = join(mkdtempSync(join(tmpdir(), 'bare-')), 'node_modules');
mkdirSync(home);
const modules = join(__dirname, 'node_modules');
for (const name of readdirSync(modules).filter((each) => each.startsWith('redis-backplane'))) {
  cpSync(join(modules, name), join(home, name), { recursive: true });
}
const bare = createRequire(join(home, 'service.js'));
assert.equal(typeof bare('redis-backplane').SessionStore, 'function');
assert.throws(() => bare('redis-backplane/express-session'), /Cannot find module 'express-session'/);

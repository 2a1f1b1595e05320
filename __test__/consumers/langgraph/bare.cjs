/** Without its peers the package itself works, and what needs a peer says what is missing. With them `require` and `import` extend one base class each. */
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
assert.equal(typeof bare('redis-backplane').CheckpointStore, 'function');
assert.throws(() => bare('redis-backplane/langgraph'), /Cannot find module '@langchain\/langgraph-checkpoint'/);

require('redis-backplane');
assert.ok(!Object.keys(require.cache).some((file) => file.includes('@langchain')), 'requiring the package loads no peer');
assert.ok(
  require('redis-backplane/langgraph').RedisSaver.prototype instanceof require('@langchain/langgraph-checkpoint').BaseCheckpointSaver,
);
(async () => {
  const [{ RedisSaver }, { BaseCheckpointSaver }] = [
    await import('redis-backplane/langgraph'),
    await import('@langchain/langgraph-checkpoint'),
  ];
  assert.ok(RedisSaver.prototype instanceof BaseCheckpointSaver);
})();

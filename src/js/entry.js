// Becomes dist/index.js unchanged. Its syntax is old enough for any Node, so that a Node that is too old gets this message and not a syntax error.

const [major, minor] = process.versions.node.split('.').map(Number);
if (major < 20 || (major === 20 && minor < 12)) {
  throw new Error(`redis-backplane needs Node.js 20.12 or later, and this is ${process.versions.node}`);
}
module.exports = require('./face.js');

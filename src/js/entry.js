// dist/index.js, as it stands. Any Node can read it: one that is too old is told so here, and not by an error of syntax further in.

const [major, minor] = process.versions.node.split('.').map(Number);
if (major < 20 || (major === 20 && minor < 12)) {
  throw new Error(`redis-backplane needs Node.js 20.12 or later, and this is ${process.versions.node}`);
}
module.exports = require('./face.js');

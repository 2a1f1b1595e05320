/** A Node that is too old is told so, and not by an error of syntax. */
try {
  require('redis-backplane');
} catch (error) {
  const expected = `redis-backplane needs Node.js 20.12 or later, and this is ${process.versions.node}`;
  if (error.message !== expected) throw error;
  console.log(`told: ${error.message}`);
  process.exit(0);
}
throw new Error(`Node ${process.versions.node} loaded it`);

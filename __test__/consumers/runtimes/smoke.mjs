/** Named imports from an ES module; the connection is left open and idle, and the process ends all the same. */
import assert from 'node:assert/strict';
import { createTestRedisConfig, makeRedisSuite } from 'redis-backplane';

const suite = await makeRedisSuite(createTestRedisConfig());
assert.equal((await suite.base.health()).ok, true);
assert.equal(await suite.base.command('ECHO', 'hi'), 'hi');
console.log('smoke: ok');

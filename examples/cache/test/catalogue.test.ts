import assert from 'node:assert/strict';
import { after, beforeEach, test } from 'node:test';
import { createTestRedisConfig, KVStore, memoryControl, RedisConnectionManager } from 'redis-backplane';
import { Catalogue, type Database, type Product } from '../src/catalogue.js';

const redis = new RedisConnectionManager({ ...createTestRedisConfig(), url: 'memory://catalogue' });
after(() => redis.disconnect());

const products = new Map<string, Product>();
let queries = 0;
const database: Database = {
  find: async (sku) => {
    queries++;
    return products.get(sku) ?? null;
  },
  save: async (product) => void products.set(product.sku, product),
};
const kv = new KVStore(redis);
const catalogue = new Catalogue(kv, database);

beforeEach(async () => {
  await kv.clear();
  products.clear();
  products.set('tea', { sku: 'tea', price: 4 });
  queries = 0;
});

test('a thousand callers cost one query', async () => {
  const found = await Promise.all(Array.from({ length: 1_000 }, () => catalogue.find('tea')));
  assert.ok(found.every((product) => product?.price === 4));
  assert.equal(queries, 1);
});

test('a new price is seen by the next caller', async () => {
  await catalogue.find('tea');
  await catalogue.save({ sku: 'tea', price: 5 });
  assert.equal((await catalogue.find('tea'))?.price, 5);
});

test('after a minute the old price is given at once, and the new one is fetched', async () => {
  await catalogue.find('tea');
  products.set('tea', { sku: 'tea', price: 5 }); // past the catalogue
  memoryControl('catalogue').advance(61_000); // nothing waits in this test
  assert.equal((await catalogue.find('tea'))?.price, 4);
  while ((await catalogue.find('tea'))?.price === 4) await new Promise(setImmediate);
  assert.equal(queries, 2);
});

import { createContainer } from 'redis-backplane';
import { Catalogue, type Database, type Product } from './catalogue.js';

const products = new Map<string, Product>([['tea', { sku: 'tea', price: 4 }]]);
let queries = 0;
const database: Database = {
  find: async (sku) => {
    queries++;
    await new Promise((resolve) => setTimeout(resolve, 100));
    return products.get(sku) ?? null;
  },
  save: async (product) => void products.set(product.sku, product),
};

const redis = await createContainer({ url: process.env.REDIS_URL ?? 'memory://dev', namespace: 'shop' });
try {
  const catalogue = new Catalogue(redis.getKV(), database);
  const found = await Promise.all(Array.from({ length: 1_000 }, () => catalogue.find('tea')));
  console.log(`${found.length} callers, ${queries} query`);
  await catalogue.save({ sku: 'tea', price: 5 });
  console.log(await catalogue.find('tea'));
} finally {
  await redis.shutdown();
}

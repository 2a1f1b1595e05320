/** Products from a slow database, kept in Redis. */

import type { IKVStore } from 'redis-backplane';

export interface Product {
  sku: string;
  price: number;
}

export interface Database {
  find(sku: string): Promise<Product | null>;
  save(product: Product): Promise<void>;
}

export class Catalogue {
  readonly #kv: IKVStore;
  readonly #database: Database;

  constructor(kv: IKVStore, database: Database) {
    this.#kv = kv;
    this.#database = database;
  }

  /**
   * One process of the fleet asks the database; the others wait for its answer. After a minute the old answer is given at once, for up to an hour,
   * while one process asks again.
   */
  find(sku: string): Promise<Product | null> {
    return this.#kv.getOrSet(key(sku), () => this.#database.find(sku), { ttlSec: 60, staleSec: 3_600 });
  }

  /** The write first, then the removal: it also ends a load that is under way, which may have read the old price. */
  async save(product: Product): Promise<void> {
    await this.#database.save(product);
    await this.#kv.del(key(product.sku));
  }
}

function key(sku: string): string {
  return `product:${sku}`;
}

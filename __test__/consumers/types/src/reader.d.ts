/** What the examples of the guides take from their reader. */

interface Order {
  id: number;
  customerId: string;
}
interface Query {
  sku: string;
}
interface Price {
  eur: number;
}

declare const manager: import('redis-backplane').RedisConnectionManager;
declare const suite: { base: import('redis-backplane').RedisConnectionManager };
declare const container: import('redis-backplane').Container;
declare const order: Order;
declare const to: string;

declare function charge(...args: unknown[]): Promise<void>;
declare function ship(...args: unknown[]): Promise<void>;
declare function send(...args: unknown[]): Promise<{ messageId: string }>;
declare function log(text: string): void;
declare function cleanUpAfter(worker: import('redis-backplane').WorkerInfo): void;
declare function afterAll(run: () => Promise<void>): void;

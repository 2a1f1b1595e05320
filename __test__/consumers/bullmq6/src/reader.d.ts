/** What the examples of the guides take from their reader. */

declare const connection: import('redis-backplane').BullMQClient;
declare const to: string;

declare function paint(data: unknown): Promise<void>;
declare function send(data: unknown): Promise<void>;

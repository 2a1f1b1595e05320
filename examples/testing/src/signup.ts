/** What is to be tested: a sign-up that sends one mail, however often it is called. */

import { deduplicateEvent, type IKVStore, type IMessageBus, type ITaskQueue } from 'redis-backplane';

export interface User {
  email: string;
}

const WEEK_SEC = 604_800;

export class SignUp {
  readonly #kv: IKVStore;
  readonly #mails: ITaskQueue<User, void>;
  readonly #bus: IMessageBus;

  constructor(kv: IKVStore, mails: ITaskQueue<User, void>, bus: IMessageBus) {
    this.#kv = kv;
    this.#mails = mails;
    this.#bus = bus;
  }

  /** @returns true the first time. */
  async add(user: User): Promise<boolean> {
    if (!(await deduplicateEvent(this.#kv, `signup:${user.email}`, WEEK_SEC))) return false;
    await this.#mails.add('welcome', user, { attempts: 3, backoff: { type: 'exponential', delayMs: 1_000 } });
    await this.#bus.publish('users.new', user);
    return true;
  }
}

/** Claims: a slot of a worker, for a time. */

import type { Internals } from './internals.js';
import { verb } from './native.js';
import type { WorkerInfo } from './registry-worker.js';

/** What is asked of a worker to be claimed. */
export interface ClaimRequest {
  /** It has every one of them. */
  capabilities?: string[];
  type?: string;
  /** Milliseconds from 10 to 2 147 483 647 until the claim lapses, unless it is renewed. Default 30 000. */
  leaseMs?: number;
}

/** A claimed slot of a worker. */
export interface WorkerClaim {
  readonly workerId: string;
  /** The worker when it was claimed. */
  readonly worker: WorkerInfo;
  /** A fencing token: every later claim in this registry has a larger one. */
  readonly token: number;
  /**
   * Holds it for `leaseMs` from now. It is not renewed by itself.
   *
   * @param leaseMs Milliseconds from 10. Default: what it was claimed with.
   * @returns `false` if it had lapsed, or its worker crashed, left or was registered again.
   */
  renew(leaseMs?: number): Promise<boolean>;
  /** Gives the slot back; `false` if it was not held any more. */
  release(): Promise<boolean>;
  /** The same as {@link release}. */
  [Symbol.asyncDispose](): Promise<void>;
}

const RENEW = verb('registry.claimRenew');
const RELEASE = verb('registry.claimRelease');

export class HeldClaim implements WorkerClaim {
  readonly worker: WorkerInfo;
  readonly token: number;
  readonly #home: Internals;
  readonly #claim: string;
  readonly #leaseMs: number | undefined;
  /** The registry, which must not be collected before the claim. */
  readonly #owner: object;

  constructor(home: Internals, owner: object, made: { claim: string; token: number; worker: WorkerInfo }, leaseMs: number | undefined) {
    this.#home = home;
    this.#owner = owner;
    this.#claim = made.claim;
    this.#leaseMs = leaseMs;
    this.token = made.token;
    this.worker = made.worker;
  }

  get workerId(): string {
    return this.worker.id;
  }

  async renew(leaseMs: number | undefined = this.#leaseMs): Promise<boolean> {
    return this.#call(RENEW, leaseMs);
  }

  async release(): Promise<boolean> {
    return this.#call(RELEASE);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.release();
  }

  async #call(verb: number, ...args: unknown[]): Promise<boolean> {
    void this.#owner;
    return (await this.#home.port.call(this.#home.handle, verb, this.#claim, ...args)) as boolean;
  }
}

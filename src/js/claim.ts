/** Claims: the right to a slot of a worker, for a time. */

import type { Internals } from './internals.js';
import { verbs } from './native.js';
import type { WorkerInfo } from './registry-worker.js';

/** The requirements on the worker. */
export interface ClaimRequest {
  /** The worker has all these capabilities. Default: none are required. */
  capabilities?: string[] | undefined;
  /** The worker has this type. Default: any. */
  type?: string | undefined;
  /** Milliseconds from 10 to 2 147 483 647 until the claim lapses, unless it is renewed. Default 30 000. */
  leaseMs?: number | undefined;
}

/** A claimed slot of a worker. */
export interface WorkerClaim {
  /** The id of the worker whose slot is claimed. */
  readonly workerId: string;
  /** The worker when it was claimed. */
  readonly worker: WorkerInfo;
  /** The fencing token: every later claim in this registry has a larger token. */
  readonly token: number;
  /**
   * Holds the slot for `leaseMs` from now. A claim is not renewed by itself.
   *
   * @param leaseMs Milliseconds from 10. Default: the `leaseMs` of the claim.
   * @returns `false` if the claim had lapsed, or its worker crashed, left or was registered again.
   */
  renew(leaseMs?: number): Promise<boolean>;
  /** Gives the slot back. `false`: the claim was already over. */
  release(): Promise<boolean>;
  /** The same as {@link release}. */
  [Symbol.asyncDispose](): Promise<void>;
}

const V = verbs('registry', 'claimRenew', 'claimRelease');

/** A held claim. `renew` and `release` work without `this`, so that they can be destructured. */
export class HeldClaim implements WorkerClaim {
  readonly workerId: string;
  readonly worker: WorkerInfo;
  readonly token: number;
  readonly renew: WorkerClaim['renew'];
  readonly release: WorkerClaim['release'];

  /** @param owner The registry, which must not be garbage-collected before the claim. */
  constructor(target: Internals, owner: object, made: { claim: string; token: number; worker: WorkerInfo }, leaseMs: number | undefined) {
    const call = async (verb: number, ...args: unknown[]): Promise<boolean> => {
      void owner;
      return (await target.port.call(target.handle, verb, made.claim, ...args)) as boolean;
    };
    this.workerId = made.worker.id;
    this.worker = made.worker;
    this.token = made.token;
    this.renew = (length = leaseMs) => call(V.claimRenew, length);
    this.release = () => call(V.claimRelease);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.release();
  }
}

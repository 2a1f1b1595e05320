/** Leader election: one leader per role among all processes. */

import { acquire } from './acquire.js';
import { debugEvent, isDebugging } from './debug.js';
import type { NumberingTarget } from './internals.js';
import { verbs } from './native.js';

/** Options of {@link WorkerRegistry.elect}. */
export interface ElectOptions {
  /**
   * Milliseconds from 100 to 2 147 483 647: how long the role stays without a leader after this process is gone. While the process lives, Rust renews
   * the lease every third of that time. Default 15 000.
   */
  leaseMs?: number | undefined;
  /**
   * Milliseconds to wait for the role, then kind `timeout`, even if the server does not answer. 0: one attempt, without this bound. Default: no
   * bound.
   */
  waitMs?: number | undefined;
  /** Ends the wait, with kind `cancelled`. It does not touch a leadership that is held. */
  signal?: AbortSignal | undefined;
}

/** A role that this process leads. */
export interface Leadership {
  /** The role that was given to `elect`. */
  readonly role: string;
  /** The fencing token: every later leader has a larger token. Send the token along with writes, and let the receiver refuse smaller tokens. */
  readonly token: number;
  /**
   * Aborted when the leadership is lost: its lease ran out unconfirmed, another process leads, or the manager was disconnected. Its reason is a
   * `RedisError` of kind `lease-lost`. {@link resign} does not abort it.
   */
  readonly signal: AbortSignal;
  /** Gives the role up and wakes waiting candidates. Idempotent. */
  resign(): Promise<void>;
  /** The same as {@link resign}. */
  [Symbol.asyncDispose](): Promise<void>;
}

/** The part of a registry that a leadership uses. */
export interface LeadershipTarget extends NumberingTarget {
  /** Changes the number of held leaderships by `leading`. The registry is not garbage-collected while it holds one. */
  lead(leading: number): void;
}

const V = verbs('registry', 'elect', 'electCancel', 'led', 'resign');

/** A held leadership. `resign` works without `this`, so that it can be destructured. */
class HeldLeadership implements Leadership {
  readonly role: string;
  readonly token: number;
  readonly signal: AbortSignal;
  readonly resign: Leadership['resign'];

  constructor(target: LeadershipTarget, id: number, role: string, token: number) {
    const { port, handle } = target;
    const controller = new AbortController();
    this.role = role;
    this.token = token;
    this.signal = controller.signal;
    this.resign = async () => {
      await port.call(handle, V.resign, id);
    };
    target.lead(1);
    // `led` answers when the leadership is lost. Quietly: a leadership does not keep the process alive.
    port
      .callQuietly(handle, V.led, id)
      .catch((error: unknown) => {
        if (isDebugging) debugEvent('Leadership', 'lost', [error]);
        controller.abort(error);
      })
      .finally(() => target.lead(-1));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.resign();
  }
}

/** Waits until this process leads `role`. */
export function lead(target: LeadershipTarget, role: string, options: ElectOptions | undefined): Promise<Leadership> {
  return acquire<Leadership>(target, role, options, {
    call: 'WorkerRegistry.elect',
    verb: V.elect,
    cancel: V.electCancel,
    hold: (id, token) => new HeldLeadership(target, id, role, token),
    giveBack: (leadership) => leadership.resign(),
  });
}

import { Annotation, Command, END, interrupt, START, StateGraph } from '@langchain/langgraph';
import type { CheckpointRun, IRedisConnection, Resumer } from 'redis-backplane';
import { RedisSaver } from 'redis-backplane/langgraph';

/** Pays an order back, once for each order, however often it is asked. */
export type Pay = (order: string, amount: number) => Promise<string>;

export interface Refund {
  status: 'waiting' | 'paid' | 'refused';
  receipt?: string;
}

const State = Annotation.Root({
  order: Annotation<string>,
  amount: Annotation<number>,
  approved: Annotation<boolean>,
  receipt: Annotation<string>,
});

/** Refunds that somebody has to approve: perhaps days later, and in another process. */
export class Refunds {
  readonly #saver: RedisSaver;
  readonly #pay: Pay;
  readonly #leaseMs: number;

  constructor(redis: IRedisConnection, pay: Pay, leaseMs = 30_000) {
    this.#saver = new RedisSaver(redis, { namespace: 'refunds', ttlSec: 30 * 86_400 });
    this.#pay = pay;
    this.#leaseMs = leaseMs;
  }

  /** Asks for the approval. */
  async request(order: string, amount: number): Promise<Refund> {
    return this.#own(order, (graph, config) => graph.invoke({ order, amount }, config));
  }

  /** Answers it. Of two who answer at once one is heard. */
  async answer(order: string, isApproved: boolean): Promise<Refund> {
    return this.#own(order, async (graph, config) => {
      const { next } = await graph.getState(config);
      if (next.includes('ask')) await graph.invoke(new Command({ resume: isApproved }), config);
      // The payment failed before: once more.
      else if (next.length > 0) await graph.invoke(null, config);
    });
  }

  /** Goes on with the refunds of processes that died in the middle of one. */
  takeOver(): Resumer {
    return this.#saver.store.resume(async (run) => {
      const config = { configurable: { thread_id: run.thread }, signal: run.signal };
      await this.#graph(run).invoke(null, config);
      await run.finish();
    });
  }

  /** Works on a refund as its owner: nobody else changes it meanwhile. */
  async #own(order: string, work: (graph: Graph, config: { configurable: { thread_id: string } }) => Promise<unknown>): Promise<Refund> {
    // Given back at the end, also where the work fails.
    await using run = await this.#saver.store.acquire(order, { leaseMs: this.#leaseMs, waitMs: 10_000 });
    if (run === null) throw new Error(`somebody else works on the refund of ${order}`);
    const graph = this.#graph(run);
    const config = { configurable: { thread_id: order }, signal: run.signal };
    await work(graph, config);
    const { values, next } = await graph.getState(config);
    if (next.length > 0) return { status: 'waiting' };
    return values.approved ? { status: 'paid', receipt: values.receipt } : { status: 'refused' };
  }

  #graph(run: CheckpointRun): Graph {
    return compile(this.#saver.ownedBy(run), this.#pay);
  }
}

type Graph = ReturnType<typeof compile>;

function compile(checkpointer: RedisSaver, pay: Pay) {
  return new StateGraph(State)
    .addNode('ask', ({ order, amount }) => ({ approved: interrupt<string, boolean>(`Pay ${amount} back for ${order}?`) }))
    .addNode('pay', async ({ order, amount }) => ({ receipt: await pay(order, amount) }))
    .addEdge(START, 'ask')
    .addConditionalEdges('ask', ({ approved }) => (approved ? 'pay' : END), ['pay', END])
    .addEdge('pay', END)
    .compile({ checkpointer });
}

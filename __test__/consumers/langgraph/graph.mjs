/** A graph that stops for an answer, as a program: `node graph.mjs begin|resume <thread> <namespace>`. */
import { Annotation, Command, END, interrupt, START, StateGraph } from '@langchain/langgraph';
import { RedisConnectionManager } from 'redis-backplane';
import { RedisSaver } from 'redis-backplane/langgraph';

const [step, thread, namespace] = process.argv.slice(2);
const config = { configurable: { thread_id: thread } };
const manager = new RedisConnectionManager({ url: process.env.REDIS_TEST_URL, namespace });
const saver = new RedisSaver(manager);

function tell(what) {
  process.stdout.write(`${JSON.stringify(what)}\n`);
}

function compile(checkpointer) {
  const State = Annotation.Root({
    log: Annotation({ reducer: (all, more) => all.concat(more), default: () => [] }),
  });
  return (
    new StateGraph(State)
      .addNode('prepare', () => ({ log: [`prepared by ${process.pid}`] }))
      // Two tasks of one step: what this one has written is there when the other one stops.
      .addNode('beside', () => ({ log: [`beside by ${process.pid}`] }))
      .addNode('ask', () => ({ log: [`answered ${interrupt('which one?')}`] }))
      .addNode('conclude', () => ({ log: [`concluded by ${process.pid}`] }))
      .addEdge(START, 'prepare')
      .addEdge('prepare', 'beside')
      .addEdge('prepare', 'ask')
      .addEdge(['beside', 'ask'], 'conclude')
      .addEdge('conclude', END)
      .compile({ checkpointer })
  );
}

async function begin() {
  const run = await saver.store.acquire(thread, { leaseMs: 1_000 });
  const { __interrupt__: asked } = await compile(saver.ownedBy(run)).invoke({ log: [] }, config);
  tell({ pid: process.pid, fence: run.fence, asked: asked.map(({ value }) => value) });
  // Its lease is renewed until it is killed.
  setInterval(() => {}, 1_000);
}

async function resume() {
  const done = new Promise((resolve, reject) => {
    const resumer = saver.store.resume(async (run, { attempt }) => {
      const graph = compile(saver.ownedBy(run));
      const before = await graph.getState(config);
      const { log } = await graph.invoke(new Command({ resume: 'the second' }), config);
      await run.finish();
      resolve({ pid: process.pid, fence: run.fence, attempt, next: before.next, log, resumer });
    });
    resumer.on('error', reject);
  });
  const { resumer, ...told } = await done;
  await resumer.close();
  tell(told);
  for (const key of await manager.command('KEYS', `${namespace}*`)) await manager.command('DEL', key);
  await manager.disconnect();
}

await (step === 'begin' ? begin() : resume());

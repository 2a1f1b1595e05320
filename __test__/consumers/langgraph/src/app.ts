/** A service with a graph, under `tsc --strict`, without a cast. */
import { Annotation, type BaseCheckpointSaver, END, START, StateGraph } from '@langchain/langgraph';
import { JsonPlusSerializer } from '@langchain/langgraph-checkpoint';
import { type Container, RedisConnectionManager } from 'redis-backplane';
import { RedisSaver, type RedisSaverOptions } from 'redis-backplane/langgraph';

const options: RedisSaverOptions = { namespace: 'agents', ttlSec: 86_400, keep: { last: 100 }, serde: new JsonPlusSerializer() };
const manager = new RedisConnectionManager('redis://localhost');
const saver = new RedisSaver(manager, options);
export const asBase: BaseCheckpointSaver = saver;
export const inContainer = (container: Container) => new RedisSaver(container.getCheckpoints(), { serde: saver.serde });

const State = Annotation.Root({ count: Annotation<number> });
const compile = (checkpointer: RedisSaver) =>
  new StateGraph(State)
    .addNode('add', ({ count }) => ({ count: count + 1 }))
    .addEdge(START, 'add')
    .addEdge('add', END)
    .compile({ checkpointer });

export const resumer = saver.store.resume(async (run, { signal }) => {
  const graph = compile(saver.ownedBy(run));
  const { count } = await graph.invoke(null, { configurable: { thread_id: run.thread }, signal });
  count.toFixed();
  await run.finish();
});

export async function last(thread: string): Promise<number | undefined> {
  const tuple = await saver.getTuple({ configurable: { thread_id: thread } });
  for await (const { metadata } of saver.list({ configurable: { thread_id: thread } }, { limit: 1, filter: { source: 'loop' } })) {
    return metadata?.step;
  }
  return tuple?.metadata?.step;
}

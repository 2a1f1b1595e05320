/**
 * Graphs that branch, go back in time, send, delegate and keep deltas have on Redis the history that they have in LangGraph's `MemorySaver`, which
 * keeps every checkpoint whole.
 */
import assert from 'node:assert/strict';
import { Annotation, Command, DeltaChannel, END, interrupt, MemorySaver, Send, START, StateGraph } from '@langchain/langgraph';
import { RedisConnectionManager } from 'redis-backplane';
import { RedisSaver } from 'redis-backplane/langgraph';

const concat = (all, more) => all.concat(more);
const State = Annotation.Root({
  log: Annotation({ reducer: concat, default: () => [] }),
  turn: Annotation(),
  rest: Annotation({
    reducer: (_, last) => last,
    default: () => ({ at: new Map([['a', new Set([1])]]), bytes: new Uint8Array([0, 255]) }),
  }),
  deltas: () => new DeltaChannel((all = [], writes) => all.concat(...writes), { snapshotFrequency: 3 }),
});

function compile(checkpointer) {
  const inner = new StateGraph(State)
    .addNode('inside', ({ turn }) => ({ log: [`inside ${interrupt(`turn ${turn}`)}`], deltas: [`inside ${turn}`] }))
    .addEdge(START, 'inside')
    .compile({ checkpointer: true });
  return new StateGraph(State)
    .addNode('one', ({ turn }) => ({ log: [`one ${turn}`], deltas: [`one ${turn}`] }))
    .addNode('worker', ({ part }) => ({ log: [`worker ${part}`], deltas: [`worker ${part}`] }))
    .addNode('inner', inner)
    .addEdge(START, 'one')
    .addConditionalEdges('one', ({ turn }) => ['b', 'a', 'c'].map((part) => new Send('worker', { part: `${part}${turn}` })), ['worker'])
    .addEdge('worker', 'inner')
    .addEdge('inner', END)
    .compile({ checkpointer });
}

/** What the histories of a thread are, but for ids, times and versions, which no two runs have in common. */
async function historyOf(graph, saver) {
  const names = new Map();
  const name = (id) => id && (names.get(id) ?? names.set(id, `#${names.size}`).get(id));
  const histories = {};
  const tuples = [];
  for await (const tuple of saver.list({ configurable: { thread_id: 'travel' } })) tuples.push(tuple);
  tuples.sort((a, b) => (a.checkpoint.id < b.checkpoint.id ? -1 : 1));
  for (const { checkpoint } of tuples) name(checkpoint.id);
  for (const { config, parentConfig, checkpoint, metadata, pendingWrites } of tuples) {
    const scope = config.configurable.checkpoint_ns.replace(/[0-9a-f-]{36}/g, '…');
    const { id, ts: _, channel_versions: versions, channel_values: values, versions_seen: seen, ...rest } = checkpoint;
    const { parents, ...told } = metadata;
    histories[scope] ??= [];
    histories[scope].push({
      id: name(id),
      parent: name(parentConfig?.configurable.checkpoint_id),
      ...rest,
      // A channel without a version has what the graph begins with. A snapshot of deltas is found until the channel has another version.
      values: Object.fromEntries(Object.entries(values).filter(([channel]) => channel in versions && channel !== 'deltas')),
      metadata: { ...told, parents: Object.values(parents).map(name) },
      versions: Object.keys(versions).sort(),
      seen: Object.keys(seen).sort(),
      writes: pendingWrites.map(([, channel, value]) => [channel, channel === '__interrupt__' ? value.map((each) => each.value) : value]),
    });
  }
  const states = [];
  for await (const { values, next, tasks } of graph.getStateHistory({ configurable: { thread_id: 'travel' } })) {
    states.push({ values, next, tasks: tasks.map((task) => task.name) });
  }
  // What interrupts are called is of the run, too.
  return JSON.parse(JSON.stringify({ histories, states }), (key, value) => (key === 'id' && !`${value}`.startsWith('#') ? '…' : value));
}

/** Runs, goes back to a step of the first turn twice, and goes on from there: branches that count their versions from one and the same. */
async function travel(saver, durability) {
  const graph = compile(saver);
  const config = { configurable: { thread_id: 'travel' }, durability };
  const turn = async (at, where = config) => {
    await graph.invoke({ turn: at }, { ...where, durability });
    await graph.invoke(new Command({ resume: `answer ${at}` }), config);
  };
  await turn(1);
  await turn(2);
  const states = [];
  for await (const state of graph.getStateHistory(config)) states.push(state);
  const early = states.find(({ next, values }) => next.includes('inner') && values.turn === 1);
  for (const at of [7, 8]) {
    const forked = await graph.updateState(early.config, { log: [`edited ${at}`], turn: at }, 'worker');
    await graph.invoke(null, { ...forked, durability });
    await graph.invoke(new Command({ resume: `answer ${at}` }), config);
    await turn(at * 10);
  }
  // The branch that was left has its own values still.
  const left = await graph.getState(states[0].config);
  assert.deepEqual(left.values, states[0].values);
  return { left: left.values.log, history: await historyOf(graph, saver) };
}

async function run(url) {
  // When LangGraph stores a step: beside the next one, before it, or all at the end.
  for (const durability of ['async', 'sync', 'exit']) {
    const namespace = `consumer-langgraph-travel-${process.pid}`;
    const manager = new RedisConnectionManager({ url, namespace });
    const expected = await travel(new MemorySaver(), durability);
    assert.ok(expected.history.states.length > (durability === 'exit' ? 5 : 20));
    assert.deepEqual(await travel(new RedisSaver(manager), durability), expected, durability);
    for (const key of await manager.command('KEYS', `${namespace}*`)) await manager.command('DEL', key);
    await manager.disconnect();
  }
}

await run(process.env.REDIS_TEST_URL);
await run('memory://consumer-langgraph-travel');

/** Whoever lost a thread changes nothing there any more. */
import assert from 'node:assert/strict';
import { Annotation, END, START, StateGraph } from '@langchain/langgraph';
import { RedisConnectionManager } from 'redis-backplane';
import { RedisSaver } from 'redis-backplane/langgraph';

const State = Annotation.Root({ log: Annotation({ reducer: (all, more) => all.concat(more), default: () => [] }) });
// A step begins when the one before is stored.
const config = { configurable: { thread_id: 'owned' }, durability: 'sync' };

async function run(url) {
  const namespace = `consumer-langgraph-owner-${process.pid}`;
  const [one, other] = [url, url].map((each) => new RedisConnectionManager({ url: each, namespace }));
  const [mine, theirs] = [new RedisSaver(one), new RedisSaver(other)];

  const owner = await mine.store.acquire('owned', { leaseMs: 60_000 });
  let later;
  const graph = (checkpointer, within) =>
    new StateGraph(State)
      .addNode('first', () => ({ log: ['first'] }))
      .addNode('second', async () => {
        await within();
        return { log: ['second'] };
      })
      .addEdge(START, 'first')
      .addEdge('first', 'second')
      .addEdge('second', END)
      .compile({ checkpointer });

  const refused = (error) => error.redisErrorKind === 'lease-lost' && error.delivery === 'rejected';
  const handOver = async () => {
    await owner.pause();
    later = await theirs.store.acquire('owned', { leaseMs: 60_000 });
  };
  await assert.rejects(graph(mine.ownedBy(owner), handOver).invoke({ log: ['begin'] }, config), refused, 'in the middle of a step');
  assert.ok(later.fence > owner.fence);
  await assert.rejects(graph(mine, async () => {}).invoke({ log: ['begin'] }, config), refused, 'nor does who never owned it');

  const left = await theirs.getTuple(config);
  await assert.rejects(mine.ownedBy(owner).putWrites(left.config, [['log', ['late']]], 'task'), refused);
  await assert.rejects(
    mine.ownedBy(owner).put(left.config, { ...left.checkpoint, id: `${left.checkpoint.id}0` }, left.metadata, {}),
    refused,
  );
  assert.deepEqual(await theirs.getTuple(config), left, 'nothing has changed');
  assert.deepEqual(left.checkpoint.channel_values.log, ['begin', 'first']);
  await assert.rejects(
    mine.ownedBy(owner).putWrites({ configurable: { thread_id: 'another', checkpoint_id: '1' } }, [['log', []]], 'task'),
    { redisErrorKind: 'config', message: /expected the thread that is owned, owned, got another/ },
  );

  const { log } = await graph(theirs.ownedBy(later), async () => {}).invoke(null, config);
  assert.deepEqual(log, ['begin', 'first', 'second'], 'the next owner goes on from there');
  await later.finish();
  for (const key of await one.command('KEYS', `${namespace}*`)) await one.command('DEL', key);
  await one.disconnect();
  await other.disconnect();
}

await run(process.env.REDIS_TEST_URL);
await run('memory://consumer-langgraph-owner');

/** The saver for LangGraph when the connection breaks. */
import { emptyCheckpoint } from '@langchain/langgraph-checkpoint';
import { RedisSaver } from 'redis-backplane/langgraph';
import { expect, it } from 'vitest';
import { useRig } from '../support/rig.ts';
import { until } from '../support/until.ts';

const rig = useRig();
const RECONNECT = { minDelayMs: 1, maxDelayMs: 50 };

it('a checkpoint and writes whose answers are lost are there once, and a graph does not hear of it', async () => {
  const server = await rig.server();
  const proxy = await rig.proxy(server);
  const saver = new RedisSaver(rig.manager({ url: proxy.url, reconnect: RECONNECT }));
  /** Makes a call whose answer is lost. */
  const lost = async <T>(call: () => Promise<T>): Promise<T> => {
    const { dropped } = proxy.counters;
    proxy.set({ down: { dropAfterBytes: 0 } });
    const answer = call();
    await until(() => proxy.counters.dropped > dropped, { what: 'the answer to be lost' });
    proxy.heal();
    return answer;
  };
  let config = { configurable: { thread_id: 't' } };
  await saver.getTuple(config);
  for (let step = 0; step < 10; step++) {
    const checkpoint = { ...emptyCheckpoint(), id: `${step}`, channel_values: { step }, channel_versions: { step } };
    const saved = await lost(() => saver.put(config, checkpoint, { source: 'loop', step, parents: {} }, { step }));
    await lost(() => saver.putWrites(saved, [['step', step]], 'task'));
    config = { configurable: { thread_id: 't', ...saved.configurable } };
  }
  const found: unknown[] = [];
  for await (const { checkpoint, parentConfig, pendingWrites } of saver.list({ configurable: { thread_id: 't' } })) {
    found.push([checkpoint.channel_values, parentConfig?.configurable?.checkpoint_id, pendingWrites]);
  }
  const expected = Array.from({ length: 10 }, (_, step) => [{ step }, step === 0 ? undefined : `${step - 1}`, [['task', 'step', step]]]);
  expect(found).toEqual(expected.reverse());
});

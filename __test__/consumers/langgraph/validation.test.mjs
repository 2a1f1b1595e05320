/** The validation suite of LangGraph for its savers, on the server that is named or, where none is, on `memory://`. */
import { deltaChannelHistoryTests, validate } from '@langchain/langgraph-checkpoint-validation';
import { RedisConnectionManager } from 'redis-backplane';
import { RedisSaver } from 'redis-backplane/langgraph';

const url = process.env.REDIS_TEST_URL ?? 'memory://consumer-langgraph';
const managers = new Map();
let made = 0;

const initializer = {
  checkpointerName: 'redis-backplane',
  createCheckpointer() {
    made++;
    const manager = new RedisConnectionManager({ url, namespace: `validation-${process.pid}-${made}` });
    const saver = new RedisSaver(manager);
    managers.set(saver, manager);
    return saver;
  },
  async destroyCheckpointer(saver) {
    for await (const thread of saver.store.threads()) await saver.deleteThread(thread);
    await managers.get(saver).disconnect();
    managers.delete(saver);
  },
};

validate(initializer);
deltaChannelHistoryTests(initializer);

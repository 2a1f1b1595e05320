/** What a closed bus leaves behind, in a process of its own. */
import { expect, it } from 'vitest';
import { runProcess } from './support/process.ts';

it('lets a closed bus go with its listeners and handlers, though nobody reads metrics', async () => {
  const ended = await runProcess(
    async ({ redis, emit }) => {
      const manager = new redis.RedisConnectionManager('memory://');
      const refs: WeakRef<object>[] = [];
      const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
      const once = async (late: boolean): Promise<void> => {
        const bus = new redis.MessageBus(manager, { closeTimeoutMs: 1 });
        const listener = (): void => {};
        bus.on('error', listener);
        let fail = (): void => {};
        let handled = false;
        const handler = (): unknown => {
          handled = true;
          return late ? new Promise((_, reject) => (fail = () => reject(new Error('late')))) : undefined;
        };
        await bus.subscribe('t', handler as () => void);
        await bus.publish('t', 1);
        while (!handled) await turn();
        await bus.close();
        // A handler that was waited for in vain is counted no more.
        fail();
        await turn();
        refs.push(new WeakRef(bus), new WeakRef(listener), new WeakRef(handler));
      };
      for (let n = 0; n < 20; n++) await once(n % 2 === 1);
      const left = (): number => refs.filter((ref) => ref.deref()).length;
      for (let n = 0; n < 50 && left() > 0; n++) {
        await turn();
        (globalThis as unknown as { gc(): void }).gc();
      }
      emit(left());
      emit(manager.metrics().redis_bus_delivered_total);
      await manager.disconnect();
    },
    { nodeOptions: ['--expose-gc'] },
  );
  expect(ended).toMatchObject({ code: 0, lines: [0, 20], stderr: '' });
});

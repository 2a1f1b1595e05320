import { type Container, createContainer, createTestRedisConfig } from 'redis-backplane';

describe('a service under Jest', () => {
  let container: Container;
  beforeAll(async () => {
    container = await createContainer({ redis: createTestRedisConfig() });
  });
  afterAll(() => container.shutdown());

  it('gives handlers objects of this VM context', async () => {
    const bus = container.getBus();
    const heard = new Promise<unknown>((resolve) => void bus.subscribe('topic', ({ payload }) => resolve(payload)));
    await bus.ready();
    expect(await bus.publish('topic', { tags: ['a'] })).toBe(1);
    expect(await heard).toStrictEqual({ tags: ['a'] });
  });

  it('works off a job that fails at first, and one that fails for good', async () => {
    const queue = container.getQueue<string, number>('jobs');
    queue.process((job, { attempt }) => {
      if (job.data === 'never' || attempt === 1) throw new RangeError(job.data);
      return attempt;
    });
    const job = await queue.add('x', 'later', { attempts: 2 });
    expect(await job.waitUntilFinished()).toBe(2);
    const lost = await queue.add('x', 'never');
    await expect(lost.waitUntilFinished()).rejects.toThrow('never');
  });

  it('runs a worker that a claim finds', async () => {
    const registry = container.getRegistry();
    await registry.register({ id: 'w', capabilities: ['gpu'] });
    await using claim = await registry.claim({ capabilities: ['gpu'] });
    expect(claim?.workerId).toBe('w');
  });

  it('leaves a worker running that must not keep Jest from ending once the container is shut down', async () => {
    container.getQueue('idle').process(() => null, { concurrency: 3 });
    await container.getBus().subscribe('unused', () => {}, { group: 'g' });
    expect((await container.health()).ok).toBe(true);
  });
});

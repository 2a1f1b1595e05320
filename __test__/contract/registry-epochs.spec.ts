/** What a registry may do to a worker: to its own by its own epoch only, to another's as an operator does. */
import { type WorkerInfo, WorkerRegistry } from 'redis-backplane';
import { beforeEach, expect, test } from 'vitest';
import { describeBackends } from '../support/backends.ts';

const MANUAL = { autoHeartbeat: false };

describeBackends('registrations', (backend) => {
  let registry: WorkerRegistry;
  let other: WorkerRegistry;

  beforeEach(() => {
    registry = new WorkerRegistry(backend.manager(), MANUAL);
    other = new WorkerRegistry(backend.manager(), MANUAL);
  });

  /** Whatever the old holder says of the id, it is `false`, and the living worker is as it was. */
  async function leavesAlone({ id, epoch }: WorkerInfo): Promise<void> {
    const claim = await other.claim();
    const before = await other.get(id);
    for (const [name, call] of [
      ['heartbeat', () => registry.heartbeat(id, { status: 'draining' })],
      ['setStatus', () => registry.setStatus(id, 'draining')],
      ['send', () => registry.send(id, 'shutdown')],
      ['unregister', () => registry.unregister(id)],
    ] as const) {
      expect([name, await call()]).toEqual([name, false]);
    }
    await registry.cleanup();
    expect(await registry.unregister(id)).toBe(false);
    const commands: string[] = [];
    other.on('command', ({ name }) => commands.push(name));
    expect(await other.heartbeat(id)).toBe(true);
    expect(commands).toEqual([]);
    const after = await other.get(id);
    expect(after).toMatchObject({ epoch, status: before?.status, claimed: 1 });
    expect(await claim?.renew()).toBe(true);
  }

  test('an old holder that was told so cannot end, drain or command who has registered its id since', async () => {
    await registry.register({ id: 'w' });
    const successor = await other.register({ id: 'w' });
    expect(await registry.heartbeat('w')).toBe(false);
    await leavesAlone(successor);
  });

  test('an old holder that does not know yet cannot either', async () => {
    await registry.register({ id: 'w' });
    await leavesAlone(await other.register({ id: 'w' }));
  });

  test('who has unregistered its worker, and does it once more, does not end who has registered the id since', async () => {
    await registry.register({ id: 'w' });
    expect(await registry.unregister('w')).toBe(true);
    await leavesAlone(await other.register({ id: 'w' }));
  });

  test('who has ended all of its workers does not end who has registered an id of theirs since', async () => {
    await registry.register({ id: 'w' });
    await registry.cleanup();
    await leavesAlone(await other.register({ id: 'w' }));
  });

  test('an old holder whose worker was ended by an operator touches no later one', async () => {
    await registry.register({ id: 'w' });
    expect(await other.unregister('w')).toBe(true);
    await leavesAlone(await other.register({ id: 'w' }));
  });

  test('who registers its id again speaks of the worker again', async () => {
    await registry.register({ id: 'w' });
    await other.register({ id: 'w' });
    expect(await registry.unregister('w')).toBe(false);
    await registry.register({ id: 'w' });
    expect(await registry.setStatus('w', 'paused')).toBe(true);
    expect(await registry.send('w', 'pause')).toBe(true);
    expect(await other.setStatus('w', 'idle')).toBe(false);
    expect(await registry.unregister('w')).toBe(true);
  });

  test('a registry that never held a worker may command, drain and end it, as an operator does', async () => {
    await other.register({ id: 'w' });
    expect(await registry.send('w', 'drain')).toBe(true);
    expect(await registry.setStatus('w', 'draining')).toBe(true);
    expect(await registry.unregister('w')).toBe(true);
    expect(await other.heartbeat('w')).toBe(false);
    expect(await registry.get('w')).toBeNull();
  });
});

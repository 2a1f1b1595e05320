import { describe, expect, it } from 'vitest';
import { runProcess, startProcess } from './process.ts';
import { processState } from './redis-server.ts';

describe('a child process', () => {
  it('gives back what it emitted, printed and exited with', async () => {
    const ended = await runProcess<{ n: number }>(
      ({ emit, args }) => {
        emit({ twice: args.n * 2 });
        emit('second');
        console.log('plain');
        process.exitCode = 3;
      },
      { args: { n: 21 } },
    );
    expect(ended).toMatchObject({ code: 3, lines: [{ twice: 42 }, 'second'], stderr: '' });
    expect(ended.stdout).toContain('plain');
  });

  it('exits with 70 and the error on stderr when its code rejects', async () => {
    const ended = await runProcess(async () => {
      throw new Error('went wrong');
    });
    expect(ended.code).toBe(70);
    expect(ended.stderr).toContain('went wrong');
  });

  it('is killed when it does not end by itself, and the error shows its output', async () => {
    const child = startProcess(
      ({ emit }) => {
        emit('hanging');
        setInterval(() => {}, 1_000);
      },
      { timeoutMs: 3_000 },
    );
    await expect(child.ended).rejects.toThrow(/the child process to end by itself[\s\S]*hanging/);
  });

  it('can be stopped, continued and killed', async () => {
    const child = startProcess(({ emit }) => {
      emit('up');
      setInterval(() => emit('tick'), 5);
    });
    await child.line((line) => line === 'up');
    await child.freeze();
    expect(processState(child.pid)).toBe('T');
    child.thaw();
    await child.line((line) => line === 'tick');
    expect((await child.kill9()).code).toBe('SIGKILL');
  });
});

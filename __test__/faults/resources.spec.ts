/** What the operating system refuses: an error of the call, with the system's reason; no panic, no promise left open. */
import { describe, expect, it } from 'vitest';
import { runProcess } from '../support/process.ts';

describe.runIf(process.platform === 'linux')('a process that is refused', () => {
  it('file descriptors gets a RedisError of the first manager and of a connection, and works once it has some', async () => {
    const ended = await runProcess(
      async ({ redis, emit, require }) => {
        const fs = require('node:fs') as typeof import('node:fs');
        const { RedisConnectionManager } = redis;
        const taken: number[] = [];
        const takeAll = () => {
          for (;;) {
            try {
              taken.push(fs.openSync('/dev/null', 'r'));
            } catch {
              return;
            }
          }
        };
        const giveAll = () => {
          for (const descriptor of taken.splice(0)) fs.closeSync(descriptor);
        };
        const said = (error: unknown) => {
          const { name, redisErrorKind, cause } = error as { name: string; redisErrorKind: string; cause?: { code?: string } };
          emit([name, redisErrorKind, cause?.code]);
        };
        takeAll();
        try {
          new RedisConnectionManager('memory://');
        } catch (error) {
          said(error);
        }
        giveAll();
        const manager = new RedisConnectionManager('memory://');
        await manager.ping();
        takeAll();
        await new RedisConnectionManager({ host: '127.0.0.1', port: 1 }).connect().catch(said);
        giveAll();
        emit(await manager.command('PING'));
        await manager.disconnect();
      },
      { through: ['bash', '-c', 'ulimit -n 128; exec "$@"', 'bash'] },
    );
    expect(ended.stderr).toBe('');
    expect(ended.lines).toEqual([['RedisError', 'connection', 'EMFILE'], ['RedisError', 'connection', 'EMFILE'], 'PONG']);
  });

  it('a thread for memory:// gets a RedisError of the call, and works once it has one', async () => {
    const ended = await runProcess(async ({ redis, emit, require }) => {
      const fs = require('node:fs') as typeof import('node:fs');
      const { execFileSync } = require('node:child_process') as typeof import('node:child_process');
      const elsewhere = new redis.RedisConnectionManager({ host: '127.0.0.1', port: 1, connectTimeoutMs: 1_000 });
      await elsewhere.ping().catch(() => {});
      const limit = (bytes: string) => execFileSync('prlimit', ['--pid', String(process.pid), `--as=${bytes}:unlimited`]);
      // Room for what V8 does meanwhile, but not for the stack of an engine's thread, 16 MiB.
      const size = Number(/VmSize:\s+(\d+)/.exec(fs.readFileSync('/proc/self/status', 'utf8'))?.[1]) * 1024;
      const manager = new redis.RedisConnectionManager({ url: 'memory://refused', commandTimeoutMs: 2_000 });
      limit(String(size + 12 * 1024 * 1024));
      const outcomes = await Promise.allSettled([manager.ping(), manager.connect(), manager.command('GET', 'key')]);
      limit('unlimited');
      for (const outcome of outcomes) {
        const { name, redisErrorKind, message } = (outcome as PromiseRejectedResult).reason;
        emit([name, redisErrorKind, message]);
      }
      emit(await manager.command('PING'));
      await manager.disconnect();
    });
    expect(ended.stderr).toBe('');
    const refused = [
      'RedisError',
      'connection',
      expect.stringMatching(/^cannot connect to memory:\/\/refused: no thread for its engine: /),
    ];
    expect(ended.lines).toEqual([refused, refused, refused, 'PONG']);
  });
});

/** What `require('redis-backplane')` costs the process it runs in. */
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { runProcess } from './support/process.ts';
import { watchedFolder } from './support/watched.ts';

describe.runIf(process.platform === 'linux')('require()', () => {
  it('asks for no diagnostic report, which looks up the name of every open socket’s peer and blocks meanwhile', async () => {
    const ended = await runProcess(({ emit, require }) => {
      let reports = 0;
      const { report } = process;
      if (report) {
        report.getReport = () => {
          reports += 1;
          return {};
        };
      }
      emit(typeof (require('redis-backplane') as object));
      emit(reports);
    });
    expect(ended.lines).toEqual(['object', 0]);
  });

  it.each([
    ['musl', '/lib/ld-musl-x86_64.so.1', 'musl'],
    ['glibc', '/nix/store/abc-glibc/lib/ld-linux-x86-64.so.2', 'gnu'],
  ])('reads from the program itself that it runs on %s', async (_, interpreter, name) => {
    const program = join(watchedFolder(), 'node');
    writeFileSync(program, elf(interpreter));
    chmodSync(program, 0o755);
    const ended = await runProcess<string>(
      ({ emit, args, require }) => {
        process.execPath = args;
        const Module = require('node:module') as typeof import('node:module') & { _load: (...given: unknown[]) => unknown };
        const load = Module._load;
        Module._load = (...given) => {
          const [wanted] = given;
          if (String(wanted).endsWith('.node') || String(wanted).startsWith('redis-backplane-')) emit(wanted);
          return load(...given);
        };
        try {
          require('redis-backplane');
        } catch {
          // The one it looks for is not there.
        }
      },
      { args: program },
    );
    expect(String(ended.lines[0])).toContain(`-${name}`);
  });
});

it('bundling renames no class that `util.inspect` shows', async () => {
  const ended = await runProcess(async ({ emit, redis }) => {
    const container = await redis.createContainer({ redisUrl: 'memory://names' });
    const parts = [container.manager, container.getBus(), container.getKV(), container.getRegistry(), container.getQueue('q')];
    emit(parts.map((part) => part.constructor.name));
    await container.shutdown();
  });
  expect(ended.lines).toEqual([['RedisConnectionManager', 'MessageBus', 'KVStore', 'WorkerRegistry', 'TaskQueue']]);
});

/** A 64-bit little-endian ELF file that is nothing but the name of its interpreter. */
function elf(interpreter: string): Buffer {
  const [header, program, name] = [Buffer.alloc(64), Buffer.alloc(56), Buffer.from(`${interpreter}\0`)];
  header.write('\x7fELF\x02\x01\x01', 'latin1');
  header.writeBigUInt64LE(64n, 32);
  header.writeUInt16LE(program.length, 54);
  header.writeUInt16LE(1, 56);
  program.writeUInt32LE(3, 0);
  program.writeBigUInt64LE(BigInt(header.length + program.length), 8);
  program.writeBigUInt64LE(BigInt(name.length), 32);
  return Buffer.concat([header, program, name]);
}

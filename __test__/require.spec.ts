/** What `require('redis-backplane')` costs the process it runs in. */
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { elf } from './support/elf.ts';
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
    ['musl', elf('/lib/ld-musl-x86_64.so.1'), 'musl'],
    ['glibc', elf('/nix/store/abc-glibc/lib/ld-linux-x86-64.so.2'), 'gnu'],
    ['musl, with 32 bits', elf('/lib/ld-musl-armhf.so.1', { bits: 32 }), 'musl'],
    ['musl, with the high byte first', elf('/lib/ld-musl-s390x.so.1', { isLittle: false }), 'musl'],
    ['glibc, with 32 bits and the high byte first', elf('/lib/ld-linux.so.2', { bits: 32, isLittle: false }), 'gnu'],
  ])('reads from the program itself that it runs on %s', async (_, program, name) => {
    // What is asked next would say the opposite.
    expect(await libraryOf({ program, ldd: name === 'musl' ? GNU : MUSL })).toBe(name);
  });

  it.each([
    ['names no interpreter', elf(undefined)],
    ['is cut in its header', elf('/lib/ld-musl-x86_64.so.1').subarray(0, 40)],
    ['is cut before its table', elf('/lib/ld-musl-x86_64.so.1').subarray(0, 64)],
    ['is of another format', Buffer.from('MZ')],
    ['names an unknown one', elf('/lib/ld-uClibc.so.0')],
    ['is gone', undefined],
  ])('of a program that %s, asks what is installed', async (_, program) => {
    expect(await libraryOf({ program, ldd: MUSL, glibc: '2.36' })).toBe('musl');
  });

  it.each(['#! /bin/sh\n', undefined])('asks the report last, where what is installed says %j', async (ldd) => {
    const program = elf(undefined);
    expect(await libraryOf({ program, ldd: GNU })).toBe('gnu');
    expect(await libraryOf({ program, ldd, glibc: '2.36' })).toBe('gnu');
    expect(await libraryOf({ program, ldd })).toBe('musl');
  });
});

/** What `/usr/bin/ldd` says of itself. */
const GNU = '#! /bin/bash\n# This file is part of the GNU C Library.\nTEXTDOMAIN=libc\necho "ldd (GNU libc) 2.36"\n';
const MUSL = '#!/bin/sh\nexec /lib/ld-musl-x86_64.so.1 --list -- "$@"\n';

interface System {
  /** The content of the program; `undefined`: it cannot be read. */
  program: Buffer | undefined;
  /** The content of `/usr/bin/ldd`; `undefined`: there is none. */
  ldd: string | undefined;
  /** What Node's report says. */
  glibc?: string;
}

/** Which library the package takes a process to run on: that of the binary it looks for. */
async function libraryOf({ program, ...system }: System): Promise<string | undefined> {
  const path = join(watchedFolder(), 'node');
  if (program) {
    writeFileSync(path, program);
    chmodSync(path, 0o755);
  }
  const ended = await runProcess<Omit<System, 'program'> & { path: string }>(
    ({ emit, args, require }) => {
      process.execPath = args.path;
      const fs = require('node:fs') as typeof import('node:fs');
      const { readFileSync } = fs;
      fs.readFileSync = ((...given: Parameters<typeof readFileSync>) => {
        if (given[0] !== '/usr/bin/ldd') return readFileSync(...given);
        if (args.ldd === undefined) throw new Error('ENOENT');
        return args.ldd;
      }) as typeof readFileSync;
      if (process.report) process.report.getReport = () => ({ header: { glibcVersionRuntime: args.glibc } });
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
    { args: { path, ...system } },
  );
  return /-(musl|gnu)\b/.exec(String(ended.lines[0]))?.[1];
}

it('bundling renames no class that `util.inspect` shows', async () => {
  const ended = await runProcess(async ({ emit, redis }) => {
    const container = await redis.createContainer({ redisUrl: 'memory://names' });
    const parts = [container.manager, container.getBus(), container.getKV(), container.getRegistry(), container.getQueue('q')];
    emit(parts.map((part) => part.constructor.name));
    await container.shutdown();
  });
  expect(ended.lines).toEqual([['RedisConnectionManager', 'MessageBus', 'KVStore', 'WorkerRegistry', 'TaskQueue']]);
});

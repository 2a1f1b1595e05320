/** Which C library this process runs on. */

import { closeSync, openSync, readFileSync, readSync } from 'node:fs';

/** The type of the program header that names the interpreter, which is the C library's loader. */
const PT_INTERP = 3;

/**
 * Is it musl? The program itself says so: its interpreter is `/lib/ld-musl-x86_64.so.1` there. Node's report, which looks up the name of
 * every open socket's peer and so can block for minutes, is asked last, and without the network.
 */
export function isMusl(): boolean {
  const interpreter = interpreterOf(process.execPath);
  if (interpreter?.includes('ld-musl-')) return true;
  if (interpreter?.includes('ld-linux')) return false;
  // A program without one is linked statically, or started in another way.
  const ldd = contentOf('/usr/bin/ldd');
  if (ldd?.includes('musl')) return true;
  if (ldd?.includes('GLIBC') || ldd?.includes('GNU libc')) return false;
  return !hasGlibcReport();
}

/** The interpreter that an ELF file names; `undefined` where it names none, or is no such file. */
function interpreterOf(path: string): string | undefined {
  let file: number | undefined;
  try {
    const fd = openSync(path, 'r');
    file = fd;
    const read = (from: number, length: number): Buffer => {
      const bytes = Buffer.alloc(length);
      return bytes.subarray(0, readSync(fd, bytes, 0, length, from));
    };
    const head = read(0, 64);
    if (head.toString('latin1', 0, 4) !== '\x7fELF') return undefined;
    const [is64, isLittle] = [head[4] === 2, head[5] === 1];
    const half = (bytes: Buffer, at: number): number => (isLittle ? bytes.readUInt16LE(at) : bytes.readUInt16BE(at));
    const word = (bytes: Buffer, at: number): number => (isLittle ? bytes.readUInt32LE(at) : bytes.readUInt32BE(at));
    const long = (bytes: Buffer, at: number): number => Number(isLittle ? bytes.readBigUInt64LE(at) : bytes.readBigUInt64BE(at));
    const [start, size, count] = is64 ? [long(head, 32), half(head, 54), half(head, 56)] : [word(head, 28), half(head, 42), half(head, 44)];
    const headers = read(start, size * count);
    for (let at = 0; at + size <= headers.length; at += size) {
      if (word(headers, at) !== PT_INTERP) continue;
      const [from, length] = is64 ? [long(headers, at + 8), long(headers, at + 32)] : [word(headers, at + 4), word(headers, at + 16)];
      return read(from, Math.min(length, 4096)).toString('latin1');
    }
    return undefined;
  } catch {
    // It cannot be read, or is cut.
    return undefined;
  } finally {
    if (file !== undefined) closeSync(file);
  }
}

function contentOf(path: string): string | undefined {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return undefined;
  }
}

function hasGlibcReport(): boolean {
  const { report } = process;
  if (report === undefined) return false;
  // Known to later versions of Node than some that this package runs on.
  const settings = report as typeof report & { excludeNetwork?: boolean | undefined };
  const before = settings.excludeNetwork;
  settings.excludeNetwork = true;
  try {
    const { header } = report.getReport() as { header?: { glibcVersionRuntime?: string | undefined } | undefined };
    return header?.glibcVersionRuntime !== undefined;
  } finally {
    settings.excludeNetwork = before ?? false;
  }
}

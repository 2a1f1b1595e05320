/** Finds out which C library this process runs on. */

import { closeSync, openSync, readFileSync, readSync } from 'node:fs';

/** The type of the ELF program header that names the interpreter, which is the C library's loader. */
const PT_INTERP = 3;

/**
 * Is the C library musl? The interpreter of the program tells: with musl it is `/lib/ld-musl-x86_64.so.1` or similar. Node's report is asked last, and
 * without its network part, which looks up the name of every open socket's peer and can block for minutes.
 */
export function isMusl(): boolean {
  const interpreter = interpreterOf(process.execPath);
  if (interpreter?.includes('ld-musl-')) return true;
  if (interpreter?.includes('ld-linux')) return false;
  // A program without an interpreter is statically linked, or was started by its loader.
  const ldd = contentOf('/usr/bin/ldd');
  if (ldd?.includes('musl')) return true;
  if (ldd?.includes('GLIBC') || ldd?.includes('GNU libc')) return false;
  return glibcVersion() === undefined;
}

/** The interpreter that an ELF file names; `undefined` if the file names none, or is not an ELF file. */
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
    // The file cannot be read, or is truncated.
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

/** The version of glibc that this process runs on, from Node's report; `undefined` on another C library. */
export function glibcVersion(): string | undefined {
  const { report } = process;
  if (report === undefined) return undefined;
  // Older versions of Node, on which this package runs too, do not have `excludeNetwork`.
  const settings = report as typeof report & { excludeNetwork?: boolean | undefined };
  const before = settings.excludeNetwork;
  settings.excludeNetwork = true;
  try {
    return (report.getReport() as { header?: { glibcVersionRuntime?: string | undefined } | undefined }).header?.glibcVersionRuntime;
  } finally {
    settings.excludeNetwork = before ?? false;
  }
}

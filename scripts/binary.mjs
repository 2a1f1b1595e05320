/** Reads the headers of a native binary: its system and processor, its C library, and the oldest glibc with which it loads. */
import { readFileSync } from 'node:fs';

/** @typedef {{ os: string, cpu: string, libc?: 'glibc' | 'musl', glibc?: string }} Binary */

/** @type {Record<number, string>} */
const elfProcessors = { 62: 'x64', 183: 'arm64' };
/** @type {Record<number, string>} */
const machProcessors = { 16777223: 'x64', 16777228: 'arm64' };
/** @type {Record<number, string>} */
const windowsProcessors = { 34404: 'x64', 43620: 'arm64' };

const [STRINGS_OF_DYNAMIC, VERSIONS_NEEDED] = [6, 0x6ffffffe];
const DT_NEEDED = 1n;

/** @param {string} file @returns {Binary} */
export function readBinary(file) {
  const bytes = readFileSync(file);
  if (bytes.toString('latin1', 0, 6) === '\x7fELF\x02\x01') return readElf(bytes, file);
  if (bytes.length > 8 && bytes.readUInt32LE(0) === 0xfeedfacf)
    return { os: 'darwin', cpu: named(machProcessors, bytes.readUInt32LE(4), file) };
  if (bytes.toString('latin1', 0, 2) === 'MZ' && bytes.length > 64) {
    const at = bytes.readUInt32LE(60);
    if (bytes.toString('latin1', at, at + 4) === 'PE\0\0')
      return { os: 'win32', cpu: named(windowsProcessors, bytes.readUInt16LE(at + 4), file) };
  }
  throw new Error(`${file} is no native binary that is known here: a 64-bit ELF, Mach-O or Windows file`);
}

/** @param {Record<number, string>} processors @param {number} number @param {string} file */
function named(processors, number, file) {
  const name = processors[number];
  if (name === undefined) throw new Error(`${file} is for a processor that is unknown here: ${number}`);
  return name;
}

/** @param {Buffer} bytes @param {string} file @returns {Binary} */
function readElf(bytes, file) {
  const [start, size, count] = [Number(bytes.readBigUInt64LE(40)), bytes.readUInt16LE(58), bytes.readUInt16LE(60)];
  const sections = Array.from({ length: count }, (_, at) => {
    const header = bytes.subarray(start + at * size, start + (at + 1) * size);
    const [from, length] = [Number(header.readBigUInt64LE(24)), Number(header.readBigUInt64LE(32))];
    return {
      type: header.readUInt32LE(4),
      strings: header.readUInt32LE(40),
      entries: header.readUInt32LE(44),
      body: bytes.subarray(from, from + length),
    };
  });
  const text = (/** @type {number} */ section, /** @type {number} */ at) => {
    const strings = sections[section]?.body ?? Buffer.alloc(0);
    return strings.toString('latin1', at, strings.indexOf(0, at));
  };
  const libraries = sections
    .filter(({ type }) => type === STRINGS_OF_DYNAMIC)
    .flatMap(({ body, strings }) => {
      const names = [];
      for (let at = 0; at + 16 <= body.length; at += 16) {
        if (body.readBigUInt64LE(at) === DT_NEEDED) names.push(text(strings, Number(body.readBigUInt64LE(at + 8))));
      }
      return names;
    });
  const binary = { os: 'linux', cpu: named(elfProcessors, bytes.readUInt16LE(18), file) };
  if (libraries.some((name) => /^libc\.(so$|musl-)/.test(name))) return { ...binary, libc: 'musl' };
  if (!libraries.includes('libc.so.6')) throw new Error(`${file} names no C library that is known here: ${libraries.join(', ')}`);
  const versions = sections
    .filter(({ type }) => type === VERSIONS_NEEDED)
    .flatMap(({ body, strings, entries }) => {
      const names = [];
      for (let library = 0, at = 0; library < entries; library++) {
        for (let version = 0, of = at + body.readUInt32LE(at + 8); version < body.readUInt16LE(at + 2); version++) {
          names.push(text(strings, body.readUInt32LE(of + 8)));
          of += body.readUInt32LE(of + 12);
        }
        at += body.readUInt32LE(at + 12);
      }
      return names;
    });
  const glibc = versions
    .flatMap((name) => /^GLIBC_(\d[\d.]*)$/.exec(name)?.[1] ?? [])
    .sort(compareVersions)
    .at(-1);
  return { ...binary, libc: 'glibc', glibc: glibc ?? '2.0' };
}

/** @param {string} one @param {string} other */
export function compareVersions(one, other) {
  const [a, b] = [one, other].map((version) => version.split('.').map(Number));
  for (let at = 0; at < Math.max(a?.length ?? 0, b?.length ?? 0); at++) {
    const difference = (a?.[at] ?? 0) - (b?.[at] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

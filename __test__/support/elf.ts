/** Minimal ELF files, for tests of the search for the C library. */

/**
 * An ELF file that contains only the name of its interpreter. Without an interpreter the program is statically linked.
 *
 * @param options `bits`: the size of addresses, default 64. `isLittle`: the byte order is little-endian, default `true`.
 */
export function elf(interpreter: string | undefined, { bits = 64, isLittle = true }: { bits?: 32 | 64; isLittle?: boolean } = {}): Buffer {
  const is64 = bits === 64;
  const [header, program, name] = [Buffer.alloc(64), Buffer.alloc(is64 ? 56 : 32), Buffer.from(`${interpreter}\0`)];
  const half = (bytes: Buffer, value: number, at: number) => (isLittle ? bytes.writeUInt16LE(value, at) : bytes.writeUInt16BE(value, at));
  const word = (bytes: Buffer, value: number, at: number) => (isLittle ? bytes.writeUInt32LE(value, at) : bytes.writeUInt32BE(value, at));
  const address = (bytes: Buffer, value: number, at: number) => {
    if (!is64) word(bytes, value, at);
    else if (isLittle) bytes.writeBigUInt64LE(BigInt(value), at);
    else bytes.writeBigUInt64BE(BigInt(value), at);
  };
  header.write('\x7fELF', 'latin1');
  header[4] = is64 ? 2 : 1;
  header[5] = isLittle ? 1 : 2;
  address(header, header.length, is64 ? 32 : 28);
  half(header, program.length, is64 ? 54 : 42);
  half(header, 1, is64 ? 56 : 44);
  // The type of the program header: 3 is the name of the interpreter, 1 is code to load.
  word(program, interpreter === undefined ? 1 : 3, 0);
  address(program, header.length + program.length, is64 ? 8 : 4);
  address(program, name.length, is64 ? 32 : 16);
  return Buffer.concat([header, program, name]);
}

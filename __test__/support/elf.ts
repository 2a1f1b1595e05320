/** Programs in the format of Linux, as far as one is looked at to learn what it runs on. */

/**
 * An ELF file that is nothing but the name of the interpreter it asks for; without one it is linked statically.
 *
 * @param options `bits` of its numbers, and whether they begin with the low byte. Default: 64, `true`.
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
  // 3: the name of the interpreter; 1: code to load.
  word(program, interpreter === undefined ? 1 : 3, 0);
  address(program, header.length + program.length, is64 ? 8 : 4);
  address(program, name.length, is64 ? 32 : 16);
  return Buffer.concat([header, program, name]);
}

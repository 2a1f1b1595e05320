/**
 * The bytes of a view. A view is the user's object: its own properties may be wrong, may change between two reads, or may run code. So this module
 * reads only the engine's built-in accessors.
 */

import { RedisError } from './errors.js';

type Getter<T> = (this: unknown) => T;

function getterOf<T>(prototype: object, name: string): Getter<T> {
  return Object.getOwnPropertyDescriptor(prototype, name)?.get as Getter<T>;
}

const typedArray: object = Object.getPrototypeOf(Uint8Array.prototype);
const kindOf = getterOf<string | undefined>(typedArray, Symbol.toStringTag as never);
const ofArray = {
  buffer: getterOf<ArrayBuffer>(typedArray, 'buffer'),
  byteOffset: getterOf<number>(typedArray, 'byteOffset'),
  byteLength: getterOf<number>(typedArray, 'byteLength'),
};
const ofDataView = {
  buffer: getterOf<ArrayBuffer>(DataView.prototype, 'buffer'),
  byteOffset: getterOf<number>(DataView.prototype, 'byteOffset'),
  byteLength: getterOf<number>(DataView.prototype, 'byteLength'),
};
/** A method that throws if the array's memory is gone. An empty array alone does not tell that its memory is gone. */
const { keys } = typedArray as { keys(this: unknown): unknown };

/**
 * The bytes of a view, as a new view of the same memory.
 *
 * @throws RedisError of kind `config` if the memory is gone: its buffer was transferred, or has shrunk.
 */
export function bytesOf(name: string, view: ArrayBufferView): Uint8Array {
  const isArray = kindOf.call(view) !== undefined;
  const its = isArray ? ofArray : ofDataView;
  try {
    const byteLength = its.byteLength.call(view);
    if (isArray && byteLength === 0) keys.call(view);
    return new Uint8Array(its.buffer.call(view), its.byteOffset.call(view), byteLength);
  } catch (cause) {
    throw new RedisError('config', `${name}: expected bytes, got a view whose memory is gone`, { cause });
  }
}

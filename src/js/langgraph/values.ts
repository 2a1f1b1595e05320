/**
 * Values as they are stored: what the saver's serializer gives. JSON stands as it is; bytes of another type stand behind a NUL, the name of the
 * type and another NUL.
 */

import type { SerializerProtocol } from '@langchain/langgraph-checkpoint';
import { RedisError } from 'redis-backplane';

const JSON_TYPE = 'json';

export async function dump(serde: SerializerProtocol, value: unknown): Promise<Uint8Array> {
  const [type, bytes] = await serde.dumpsTyped(value);
  // No JSON begins with NUL; what a serializer of the user's calls so may.
  if (type === JSON_TYPE && bytes[0] !== 0) return bytes;
  if (type.includes('\0')) {
    throw new RedisError('serialization', 'RedisSaver: serde: expected a type without the character U+0000, got one with it');
  }
  return Buffer.concat([Buffer.from(`\0${type}\0`), bytes]);
}

export async function load(serde: SerializerProtocol, stored: Uint8Array): Promise<unknown> {
  if (stored[0] !== 0) return serde.loadsTyped(JSON_TYPE, stored);
  const end = stored.indexOf(0, 1);
  return serde.loadsTyped(Buffer.from(stored.subarray(1, end)).toString(), stored.subarray(end + 1));
}

/** The members of an object of options, which may be an instance of a class. */

import { configError, RedisError } from './errors.js';

/**
 * The members of an object of options. A plain object is returned as it is. From an instance of a class, or an object made by `Object.create()`, the
 * own properties, the accessors and the inherited enumerable properties are copied, but no methods.
 *
 * @throws RedisError of kind `config`, naming what came, if the object has no such members: a `Map`, a `URL`, a `Date`, an array, an instance with
 * methods only. If such an object counted as `{}`, the defaults would apply silently.
 */
export function membersOf<T extends object>(name: string, given: T): T {
  const prototype: unknown = Object.getPrototypeOf(given);
  if (prototype === Object.prototype || prototype === null || isRoot(prototype)) return given;
  if (Object.prototype.toString.call(given) !== '[object Object]') throw configError(name, 'a plain object', given);
  const members: Record<string, unknown> = {};
  for (let owner: object | null = given; owner !== null && !isRoot(owner); owner = Object.getPrototypeOf(owner)) {
    for (const [key, property] of Object.entries(Object.getOwnPropertyDescriptors(owner))) {
      const isMember = owner === given || property.get !== undefined || property.enumerable === true;
      if (isMember && !Object.hasOwn(members, key)) members[key] = read(name, given, key);
    }
  }
  if (Object.keys(members).length === 0) throw configError(name, 'a plain object', given);
  return members as T;
}

/** Is `prototype` the `Object.prototype` of any VM context? */
function isRoot(prototype: unknown): boolean {
  return Object.getPrototypeOf(prototype) === null && Object.hasOwn(prototype as object, 'isPrototypeOf');
}

function read(name: string, given: object, key: string): unknown {
  try {
    return (given as Record<string, unknown>)[key];
  } catch (cause) {
    throw new RedisError('config', `${name}: ${key}: expected a value, its getter threw`, { cause });
  }
}

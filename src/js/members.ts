/** What an object of options has to say, whatever kind of object it is. */

import { configError, RedisError } from './errors.js';

/**
 * The members of an object of options. A plain object is given back as it is; of an instance of a class, or of an object that inherits, come
 * its own properties, its accessors and what it inherits by `Object.create()`, but no methods.
 *
 * @throws RedisError of kind `config`, naming what came, for what has no such members: a `Map`, a `URL`, a `Date`, an array, an instance
 * with methods only. Taken for `{}` it would mean the defaults, in silence.
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

/** Is it what objects inherit from that inherit from nothing else, in whatever context? */
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

/** The merge of two requests' changes of one session. */

/**
 * Applies the changes from `base` to `mine` to `theirs`, by top-level name: changed, added and removed members. If both sides changed a member, `mine`
 * wins. All three are objects as JSON text.
 */
export function merge(base: string, mine: string, theirs: string): string {
  if (base === theirs) return mine;
  const [before, after] = [members(base), members(mine)];
  const merged = new Map(members(theirs));
  for (const [name, text] of after) if (before.get(name) !== text) merged.set(name, text);
  for (const name of before.keys()) if (!after.has(name)) merged.delete(name);
  return `{${[...merged].map(([name, text]) => `${JSON.stringify(name)}:${text}`).join(',')}}`;
}

/** The members of an object by name, each as JSON text. */
function members(text: string): Map<string, string> {
  return new Map(Object.entries(JSON.parse(text) as object).map(([name, value]) => [name, JSON.stringify(value)]));
}

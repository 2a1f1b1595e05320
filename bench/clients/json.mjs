/** What a user of a peer writes to keep JSON values: the counterpart of `KVStore.get` and `KVStore.set`. */
export function jsonStore(raw) {
  return {
    get: async (key) => {
      const text = await raw.get(key);
      return text === null ? null : JSON.parse(text);
    },
    set: async (key, value) => {
      await raw.set(key, JSON.stringify(value));
    },
  };
}

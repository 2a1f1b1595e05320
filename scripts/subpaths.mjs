/**
 * The subpaths of the package, `redis-backplane/<name>`. Each is `src/js/<name>/index.ts`, built for `require` and for `import` (`dist/<name>.js`,
 * `dist/<name>.mjs`) with declarations for both (`types/<name>.d.ts`, `types/<name>.d.mts`). A subpath imports its peers, which are optional, and the
 * package itself by name, so that no program gets two copies of either. In package.json each subpath has an entry in `exports`, and its peers are in
 * `peerDependencies` and `peerDependenciesMeta`.
 */

/** @type {{ name: string, peers: string[] }[]} */
export const subpaths = [
  { name: 'express-session', peers: ['express-session'] },
  { name: 'langgraph', peers: ['@langchain/langgraph-checkpoint', '@langchain/core/runnables'] },
];

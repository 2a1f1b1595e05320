/**
 * What can be required beside the package itself, as `redis-backplane/<name>`. Each is `src/js/<name>/index.ts`, built for `require` and for
 * `import` (`dist/<name>.js`, `dist/<name>.mjs`) with declarations for both (`types/<name>.d.ts`, `types/<name>.d.mts`). It takes classes and types
 * from its peers, which are optional and are named here as it imports them, and the package itself by its name, so that nobody gets two copies of
 * either. In package.json each has an entry in `exports`, its peers in `peerDependencies` and `peerDependenciesMeta`.
 */

/** @type {{ name: string, peers: string[] }[]} */
export const subpaths = [
  { name: 'express-session', peers: ['express-session'] },
  { name: 'langgraph', peers: ['@langchain/langgraph-checkpoint', '@langchain/core/runnables'] },
];

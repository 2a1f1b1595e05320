/**
 * Finds circles of files: two or more files that use each other, directly or through other files, so that none can be understood, tested or moved
 * alone. The uses are read from the sources. These uses do not count: in tests; type-only imports in TypeScript, because a class and the interface
 * that it implements name each other; and in Rust uses between a folder's `mod.rs` and the folder's files, which are read together.
 */
import { readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';

/**
 * A use that closes a circle and stays, with the reason.
 * @typedef {{ from: string, to: string, why: string }} Exception
 */

/**
 * The circles that remain without the exceptions, each as its shortest path, and the exceptions that are not part of a circle.
 * @param {string} root @param {string[]} paths @param {Exception[]} exceptions
 */
export function circles(root, paths, exceptions) {
  const sources = new Map(paths.map((path) => [path, readFileSync(join(root, path), 'utf8')]));
  const graph = new Map([...rustUses(sources), ...typeScriptUses(sources)]);
  const unused = exceptions.filter(({ from, to }) => {
    const component = components(graph).find((files) => files.includes(from));
    return !(graph.get(from)?.has(to) && component?.includes(to));
  });
  for (const { from, to } of exceptions) graph.get(from)?.delete(to);
  return { found: components(graph).map((files) => wayRound(graph, files)), unused };
}

/** @param {Map<string, string>} sources @returns {Map<string, Set<string>>} */
function typeScriptUses(sources) {
  const graph = new Map();
  for (const [path, text] of sources) {
    if (!path.endsWith('.ts')) continue;
    const uses = new Set();
    for (const [, from] of text.matchAll(/^(?:import|export)(?! type)[^;']*'(\.[^']+)'/gm)) {
      const target = normalize(join(dirname(path), from ?? '')).replace(/\.js$/, '.ts');
      if (sources.has(target) && target !== path) uses.add(target);
    }
    graph.set(path, uses);
  }
  return graph;
}

/** @param {Map<string, string>} sources @returns {Map<string, Set<string>>} */
function rustUses(sources) {
  const modules = new Map([...sources].filter(([path]) => path.endsWith('.rs')).map((entry) => rustModule(...entry)));
  const graph = new Map();
  for (const module of modules.values()) {
    const uses = new Set();
    for (const path of namedPaths(module)) {
      const file = resolve(modules, module.name, path);
      if (file && file !== module.file && !isWithin(file, module.file) && !isWithin(module.file, file)) uses.add(file);
    }
    graph.set(module.file, uses);
  }
  return graph;
}

/** Is `file` in the folder that `mod` stands for? A folder's own module and its files are read together. @param {string} file @param {string} mod */
function isWithin(file, mod) {
  return mod.endsWith('/mod.rs') && file.startsWith(mod.slice(0, -'mod.rs'.length));
}

/**
 * A Rust file: the paths that it imports, the paths that it re-exports, and its code without both.
 * @typedef {{ file: string, name: string[], imports: Map<string, string[]>, passes: Map<string, string[]>, globs: string[][], code: string }} Module
 */

/** @param {string} file @param {string} text @returns {[string, Module]} */
function rustModule(file, text) {
  const name = file
    .replace(/^src\//, '')
    .replace(/\.rs$/, '')
    .split('/')
    .filter((part) => part !== 'mod' && part !== 'lib');
  const imports = new Map();
  const passes = new Map();
  /** @type {string[][]} */
  const globs = [];
  const code = withoutTests(withoutComments(text)).replace(/^[ \t]*(pub(?:\([^)]*\))?\s+)?use\s+([^;]+);/gm, (_, isPublic, tree) => {
    for (const { path, as } of expand(tree.replace(/\s+/g, ' ').trim())) {
      if (as === '*') globs.push(path);
      else (isPublic ? passes : imports).set(as, path);
    }
    return '';
  });
  return [name.join('::'), { file, name, imports, passes, globs, code }];
}

/** Every full path that a file names, in imports and in code. @param {Module} module @returns {string[][]} */
function namedPaths(module) {
  const paths = [...module.imports.values()].map((path) => [...path]);
  for (const [text] of module.code.matchAll(/\b[a-z_][a-z0-9_]*(?:::[A-Za-z_]\w*)+/g)) {
    const [first = '', ...rest] = text.split('::');
    const known = module.imports.get(first) ?? module.passes.get(first);
    paths.push(known ? [...known, ...rest] : [first, ...rest]);
  }
  return paths;
}

/** The paths of a `use` tree. @param {string} tree @returns {{ path: string[], as: string }[]} */
function expand(tree) {
  const brace = tree.indexOf('{');
  if (brace < 0) {
    const [path = '', as] = tree.split(' as ').map((part) => part.trim());
    const parts = path.split('::');
    if (parts.at(-1) === 'self') parts.pop();
    const last = parts.at(-1) ?? '';
    return [{ path: last === '*' ? parts.slice(0, -1) : parts, as: as ?? last }];
  }
  const before = tree.slice(0, brace).replace(/::$/, '');
  const inside = tree.slice(brace + 1, tree.lastIndexOf('}'));
  return split(inside).flatMap((part) => expand(`${before ? `${before}::` : ''}${part}`));
}

/** Splits at commas outside of braces. @param {string} text @returns {string[]} */
function split(text) {
  const parts = [''];
  let depth = 0;
  for (const letter of text) {
    if (letter === '{') depth += 1;
    if (letter === '}') depth -= 1;
    if (letter === ',' && depth === 0) parts.push('');
    else parts[parts.length - 1] += letter;
  }
  return parts.map((part) => part.trim()).filter((part) => part !== '');
}

/**
 * The file that declares the item `path`, seen from the module `from`. A re-exported item belongs to the file that declares it.
 * @param {Map<string, Module>} modules @param {string[]} from @param {string[]} path @returns {string | undefined}
 */
function resolve(modules, from, path) {
  let at = [...from];
  let rest = [...path];
  if (rest[0] === 'crate') {
    at = [];
    rest = rest.slice(1);
  } else if (rest[0] === 'self') {
    rest = rest.slice(1);
  } else if (rest[0] !== 'super' && !modules.has([...at, rest[0]].join('::'))) {
    return undefined;
  }
  while (rest[0] === 'super') {
    at = at.slice(0, -1);
    rest = rest.slice(1);
  }
  while (rest.length > 0 && modules.has([...at, rest[0]].join('::'))) at = [...at, rest.shift() ?? ''];
  const module = modules.get(at.join('::'));
  // The path names a module, not an item. The importing file names the module's items elsewhere.
  if (!module || rest.length === 0) return undefined;
  const passed = module.passes.get(rest[0] ?? '');
  if (passed) return resolve(modules, at, [...passed, ...rest.slice(1)]) ?? module.file;
  for (const glob of module.globs) {
    const file = resolve(modules, at, [...glob, ...rest]);
    if (file && new RegExp(`\\b${rest[0]}\\b`).test(fileOf(modules, file)?.code ?? '')) return file;
  }
  return module.file;
}

/** @param {Map<string, Module>} modules @param {string} file */
function fileOf(modules, file) {
  return [...modules.values()].find((module) => module.file === file);
}

/** @param {string} text */
function withoutComments(text) {
  return text.replace(/("(?:[^"\\]|\\[\s\S])*")|\/\/.*$|\/\*[\s\S]*?\*\//gm, (_, string) => (string ? '""' : ''));
}

/** The code without its test module, which is the last item of a file. @param {string} code */
function withoutTests(code) {
  return code.split(/#\[cfg\((?:all\()?test\b/)[0] ?? '';
}

/** The strongly connected components with more than one file (Tarjan). @param {Map<string, Set<string>>} graph @returns {string[][]} */
function components(graph) {
  /** @type {Map<string, { index: number, low: number, onStack: boolean }>} */
  const seen = new Map();
  /** @type {string[]} */
  const stack = [];
  /** @type {string[][]} */
  const found = [];
  /** @param {string} file */
  const visit = (file) => {
    const here = { index: seen.size, low: seen.size, onStack: true };
    seen.set(file, here);
    stack.push(file);
    for (const used of graph.get(file) ?? []) {
      if (!graph.has(used)) continue;
      const there = seen.get(used) ?? visit(used);
      if (there.onStack) here.low = Math.min(here.low, there.low);
    }
    if (here.low === here.index) {
      const files = stack.splice(stack.indexOf(file));
      for (const one of files) {
        const state = seen.get(one);
        if (state) state.onStack = false;
      }
      if (files.length > 1) found.push(files.sort());
    }
    return here;
  };
  for (const file of graph.keys()) if (!seen.has(file)) visit(file);
  return found;
}

/** The shortest circle within a component, as its files in order. @param {Map<string, Set<string>>} graph @param {string[]} files */
function wayRound(graph, files) {
  /** @type {string[]} */
  let shortest = [];
  for (const start of files) {
    const before = new Map([[start, '']]);
    const queue = [start];
    for (let file = queue.shift(); file !== undefined; file = queue.shift()) {
      for (const used of graph.get(file) ?? []) {
        if (used === start) {
          const way = [];
          for (let at = file; at; at = before.get(at) ?? '') way.unshift(at);
          if (shortest.length === 0 || way.length < shortest.length) shortest = way;
          queue.length = 0;
          break;
        }
        if (files.includes(used) && !before.has(used)) {
          before.set(used, file);
          queue.push(used);
        }
      }
    }
  }
  return shortest;
}

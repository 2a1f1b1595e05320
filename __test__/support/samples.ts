/**
 * The code samples of the documentation, as programs.
 *
 * A fence's info string says how its sample is checked:
 *
 * | info string | type-checked | run |
 * |---|---|---|
 * | `ts` | yes | as a program, on `memory://` and on a server |
 * | `ts server` | yes | as a program, on a server only: it uses another client too |
 * | `ts service` | yes | as `ts`, and sent SIGTERM once it has printed something: it must end by that |
 * | `ts test` | yes | by Vitest, on `memory://` and on a server |
 * | `ts fragment` | yes, with the names of `sample-names.d.ts` | no |
 * | `js` | no | as it stands, by Node, on `memory://` and on a server |
 * | `cjs` | no | the same, as CommonJS |
 *
 * Each comment `// prints <text>` of a sample that is run names a line that the sample must print, in this order.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import ts from '@typescript/typescript6';
import { root } from '../../scripts/root.mjs';

/** How a sample is checked. */
export type SampleUse = 'run' | 'server' | 'service' | 'test' | 'fragment';

/** One fence of a page. */
export interface Sample {
  /** The page, from the repository's root. */
  readonly page: string;
  /** The line of the fence in the page, from 1. */
  readonly line: number;
  readonly use: SampleUse;
  readonly language: 'ts' | 'js' | 'cjs';
  readonly text: string;
  /** The name of the sample's file, without its extension. */
  readonly name: string;
}

const USES: Readonly<Record<string, Pick<Sample, 'language' | 'use'>>> = {
  ts: { language: 'ts', use: 'run' },
  'ts server': { language: 'ts', use: 'server' },
  'ts service': { language: 'ts', use: 'service' },
  'ts test': { language: 'ts', use: 'test' },
  'ts fragment': { language: 'ts', use: 'fragment' },
  js: { language: 'js', use: 'run' },
  cjs: { language: 'cjs', use: 'run' },
};
/** Languages of fences that contain no sample. Any other unknown info string is refused, so that no sample is silently left out. */
const OTHER = ['', 'sh', 'text', 'json', 'yaml', 'dockerfile', 'mermaid', 'lua', 'rust', 'toml', 'diff'];

/** Every Markdown file of the repository, without vendored sources, as paths from the root. */
export function markdownPages(): string[] {
  const list = execFileSync('git', ['ls-files', '-co', '--exclude-standard', '-z', '--', '*.md'], { cwd: root, encoding: 'utf8' });
  return list.split('\0').filter((page) => page !== '' && !page.startsWith('vendor/'));
}

/** The samples of a page, in order. Throws for a fence without a known info string. */
export function samplesOf(page: string, markdown: string): Sample[] {
  return fencesOf(markdown).flatMap(({ info, line, text }): Sample[] => {
    const use = USES[info];
    if (use) return [{ page, line, text, ...use, name: `${page.replaceAll(/[^\w]+/g, '-')}-${line}` }];
    if (OTHER.includes(info)) return [];
    throw new Error(`${page}:${line}: \`\`\`${info}: expected one of ${[...Object.keys(USES), ...OTHER].filter(Boolean).join(', ')}`);
  });
}

/** A fenced block. */
interface Fence {
  readonly info: string;
  readonly line: number;
  readonly text: string;
}

/** The fenced blocks of a page. */
function fencesOf(markdown: string): Fence[] {
  const fences: Fence[] = [];
  let open: { indent: string; mark: string; info: string; line: number; lines: string[] } | undefined;
  for (const [at, text] of markdown.split('\n').entries()) {
    const [, indent = '', mark = '', info = ''] = /^(\s*)(`{3,}|~{3,})(.*)$/.exec(text) ?? [];
    if (open === undefined) {
      if (mark !== '') open = { indent, mark, info: info.trim(), line: at + 1, lines: [] };
    } else if (mark.startsWith(open.mark) && info.trim() === '') {
      fences.push({ info: open.info, line: open.line, text: `${open.lines.join('\n')}\n` });
      open = undefined;
    } else {
      open.lines.push(text.startsWith(open.indent) ? text.slice(open.indent.length) : text.trimStart());
    }
  }
  if (open) throw new Error(`line ${open.line}: a fence that is not closed`);
  return fences;
}

/** The lines that a sample must print, from its comments. */
export function printedBy(sample: Sample): string[] {
  return [...sample.text.matchAll(/\/\/ prints (.+)$/gm)].map(([, text = '']) => text.trim());
}

/** The samples as files that Node runs, and their type errors. */
export interface CompiledSamples {
  /** The file of a sample that is run. */
  fileOf(sample: Sample): string;
  /** One line per mistake, with the page and the line in it. */
  readonly mistakes: string[];
  readonly folder: string;
}

/**
 * Checks every TypeScript sample in one program against the package's declarations, and writes what is run to a new folder of the
 * repository, where the package's own name leads to it.
 */
export function compileSamples(samples: readonly Sample[]): CompiledSamples {
  mkdirSync(join(root, 'target'), { recursive: true });
  const folder = mkdtempSync(join(root, 'target/samples-'));
  const extension = { ts: '.mjs', js: '.mjs', cjs: '.cjs' };
  const fileOf = (sample: Sample): string =>
    join(folder, sample.use === 'test' ? 'tests' : 'programs', sample.name + extension[sample.language]);
  const sources = new Map(
    samples.filter(({ language }) => language === 'ts').map((sample) => [join(folder, `${sample.name}.mts`), sample]),
  );

  const program = ts.createProgram([...sources.keys(), join(root, '__test__/support/sample-names.d.ts')], OPTIONS, hostOf(sources));
  const mistakes = ts.getPreEmitDiagnostics(program).map((mistake) => described(mistake, sources));
  program.emit(undefined, (file, text) => {
    const sample = sources.get(file.replace(/\.mjs$/, '.mts'));
    if (sample && sample.use !== 'fragment') write(fileOf(sample), text);
  });
  for (const sample of samples) if (sample.language !== 'ts') write(fileOf(sample), sample.text);
  return { fileOf, mistakes, folder };
}

const OPTIONS: ts.CompilerOptions = {
  target: ts.ScriptTarget.ES2022,
  lib: ['lib.es2023.d.ts', 'lib.esnext.disposable.d.ts'],
  module: ts.ModuleKind.Node16,
  moduleResolution: ts.ModuleResolutionKind.Node16,
  moduleDetection: ts.ModuleDetectionKind.Force,
  strict: true,
  noUncheckedIndexedAccess: true,
  experimentalDecorators: true,
  skipLibCheck: true,
  types: ['node'],
  paths: { 'redis-backplane': [join(root, 'index.d.ts')] },
};

/** Reads samples from memory and everything else from the disk. */
function hostOf(sources: ReadonlyMap<string, Sample>): ts.CompilerHost {
  const host = ts.createCompilerHost(OPTIONS);
  const { fileExists, readFile } = host;
  host.fileExists = (file) => sources.has(file) || fileExists(file);
  host.readFile = (file) => sources.get(file)?.text ?? readFile(file);
  return host;
}

function described({ file, start = 0, messageText }: ts.Diagnostic, sources: ReadonlyMap<string, Sample>): string {
  const text = ts.flattenDiagnosticMessageText(messageText, '\n');
  if (!file) return text;
  const line = file.getLineAndCharacterOfPosition(start).line + 1;
  const sample = sources.get(file.fileName);
  return sample ? `${sample.page}:${sample.line + line}: ${text}` : `${file.fileName}:${line}: ${text}`;
}

function write(file: string, text: string): void {
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, text);
}

/** The samples of every page of the repository. */
export function allSamples(): Sample[] {
  return markdownPages().flatMap((page) => samplesOf(page, readFileSync(join(root, page), 'utf8')));
}

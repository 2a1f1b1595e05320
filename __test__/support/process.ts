/**
 * Runs code in its own Node process, with the built package: for tests of whole processes (that exit,
 * that are killed, many at once).
 *
 * The code is a function. Vitest has already turned it into plain JavaScript, and it is sent as
 * text: it sees its parameter and nothing of the file around it.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { processState } from './redis-server.ts';
import { until, within } from './until.ts';
import { watchedFolder, watchProcess } from './watched.ts';

export const PACKAGE_ROOT = resolve(import.meta.dirname, '../..');

/** The argument of the code in the child. */
export interface ChildContext<A> {
  /** The package under test. */
  redis: typeof import('redis-backplane');
  /** Reports a value to the parent as one line of JSON. */
  emit(value: unknown): void;
  /** The parent's `args`, passed as JSON. */
  args: A;
  /** `require` as in a file of the package's root. */
  require: NodeJS.Require;
}

export interface ChildOptions<A> {
  args?: A;
  env?: Record<string, string>;
  /** Options of Node itself, such as `--expose-gc`. */
  nodeOptions?: string[];
  /** The Node (or other) binary. Default: the one that runs the tests. */
  executable?: string;
  /** A program, and its arguments, that is given the command to run. */
  through?: string[];
  /** The process is killed, and `ended` rejects, when it runs longer. Milliseconds, default 20 000. */
  timeoutMs?: number;
}

export interface Ended {
  /** Exit code, or the name of the signal that ended it. */
  code: number | NodeJS.Signals;
  /** Every value given to `emit`. */
  lines: unknown[];
  stdout: string;
  stderr: string;
  /** From the start of the process to its end. */
  durationMs: number;
}

/** Starts `code` in a child process. Without `timeoutMs` passing it is left to end by itself. */
export function startProcess<A = undefined>(code: (context: ChildContext<A>) => unknown, options: ChildOptions<A> = {}): Child {
  const file = join(watchedFolder(), 'child.cjs');
  writeFileSync(
    file,
    `const require_ = require('node:module').createRequire(${JSON.stringify(join(PACKAGE_ROOT, 'package.json'))});
const emit = (value) => require('node:fs').writeSync(1, '\\u0001' + JSON.stringify(value === undefined ? null : value) + '\\n');
const context = { emit, args: ${JSON.stringify(options.args ?? null)}, require: require_, get redis() { return require_('redis-backplane'); } };
Promise.resolve((${code.toString()})(context)).catch((error) => { console.error(error); process.exitCode = 70; });
`,
  );
  return startFile(file, options);
}

/** Runs `code` to its end. A non-zero exit is not an error here; exceeding the deadline is. */
export function runProcess<A = undefined>(code: (context: ChildContext<A>) => unknown, options: ChildOptions<A> = {}): Promise<Ended> {
  return startProcess(code, options).ended;
}

/** Starts a JavaScript file in a child process. */
export function startFile(file: string, options: Omit<ChildOptions<unknown>, 'args'> & { argv?: string[] } = {}): Child {
  const node = [options.executable ?? process.execPath, ...(options.nodeOptions ?? []), file, ...(options.argv ?? [])];
  const [program = '', ...args] = [...(options.through ?? []), ...node];
  const child = spawn(program, args, {
    cwd: PACKAGE_ROOT,
    env: { ...process.env, NODE_OPTIONS: '', ...options.env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  return new Child(child, options.timeoutMs ?? 20_000);
}

export class Child {
  /** Resolves when the process has ended and its output is complete. */
  readonly ended: Promise<Ended>;
  /** The values emitted so far. The array grows. */
  readonly lines: unknown[] = [];
  readonly #process: ChildProcess;
  #stdout = '';
  #stderr = '';

  constructor(child: ChildProcess, timeoutMs: number) {
    this.#process = child;
    const started = performance.now();
    const forget = child.pid ? watchProcess(child.pid) : () => {};
    let partial = '';
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.#stdout += text;
      const parts = (partial + text).split('\n');
      partial = parts.pop() as string;
      for (const part of parts) if (part.startsWith('\u0001')) this.lines.push(JSON.parse(part.slice(1)));
    });
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr += text;
    });
    const closed = new Promise<Ended>((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (code, signal) => {
        forget();
        const durationMs = performance.now() - started;
        resolve({
          code: signal ?? code ?? -1,
          lines: this.lines,
          stdout: this.#stdout,
          stderr: this.#stderr,
          durationMs,
        });
      });
    });
    this.ended = within(timeoutMs, closed, 'the child process to end by itself').catch((error: Error) => {
      child.kill('SIGKILL');
      throw new Error(`${error.message}\nstdout: ${this.#stdout}\nstderr: ${this.#stderr}`, { cause: error });
    });
    // Prevents an unhandled rejection if the caller does not await the end.
    this.ended.catch(() => {});
  }

  get pid(): number {
    return this.#process.pid as number;
  }

  /** Resolves with the first emitted value that `matches`, emitted before or after this call. */
  line<T = unknown>(matches: (value: T) => boolean = () => true, timeoutMs = 10_000): Promise<T> {
    return until(
      () => {
        const found = (this.lines as T[]).find(matches);
        return found === undefined ? undefined : { found };
      },
      { timeoutMs, what: () => `a line of the child process; stdout: ${this.#stdout} stderr: ${this.#stderr}` },
    ).then(({ found }) => found);
  }

  /** kill -9. Resolves when the process is gone. */
  async kill9(): Promise<Ended> {
    this.#process.kill('SIGKILL');
    return this.ended;
  }

  /** SIGSTOP: the whole process stands still, its Rust threads too. */
  async freeze(): Promise<void> {
    this.#process.kill('SIGSTOP');
    await until(() => processState(this.pid) === 'T', { what: 'the child process to stand still' });
  }

  thaw(): void {
    this.#process.kill('SIGCONT');
  }
}

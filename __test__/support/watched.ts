/**
 * Processes and folders that must not outlive the test process, whichever way the test process ends.
 *
 * One shell process per test process holds the read end of a pipe. When the pipe closes (exit, crash,
 * kill -9) it kills every process that is still listed and removes the folder. Nothing here keeps the
 * event loop alive.
 */
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const script = `cat > /dev/null
for file in "$1"/pids/*; do kill -9 "\${file##*/}" 2>/dev/null; done
rm -rf "$1"`;

let root: string | undefined;

function watchedRoot(): string {
  if (root) return root;
  // Short, because a Unix socket's path has at most 104 characters on some systems.
  root = mkdtempSync(join(tmpdir(), 'rbt-'));
  mkdirSync(join(root, 'pids'));
  // In its own process group, so that Ctrl-C in the terminal does not end it before it has cleaned up.
  const watcher = spawn('/bin/sh', ['-c', script, 'sh', root], { stdio: ['pipe', 'ignore', 'ignore'], detached: true });
  watcher.unref();
  (watcher.stdin as unknown as { unref(): void }).unref();
  return root;
}

/** A new empty folder, which is removed when this process ends. */
export function watchedFolder(): string {
  return mkdtempSync(join(watchedRoot(), 'd'));
}

/** Kills the process `pid` when this process ends. Call the returned function when the process has ended by itself. */
export function watchProcess(pid: number): () => void {
  const file = join(watchedRoot(), 'pids', String(pid));
  writeFileSync(file, '');
  return () => rmSync(file, { force: true });
}

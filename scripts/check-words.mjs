/**
 * Refuses words in comments, texts and docs that have been replaced by plain words, and names the plain word.
 *
 *   node scripts/check-words.mjs
 */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { root } from './root.mjs';

/**
 * The refused words, and what to write instead. A space in a pattern also matches a line break, since a comment may be wrapped anywhere.
 *
 * @type {[refused: RegExp, instead: string][]}
 */
const words = [
  [/\b(?:the|a|its|their|whose|from|at|of) begin\b(?!-)/i, '"start", "beginning" or "prefix": "begin" is a verb'],
  [/\bbegins of\b/i, '"starts of" or "prefixes of": "begin" is a verb'],
  [/\b(?:begin|begins|began|begun|beginning) anew\b/i, '"start again"'],
  [/\bof whatever\b/i, '"of any"'],
  [/\b(?:at most|at least|for) so many\b/i, 'the number, or "this many"'],
  [/\bof which nobody knows\b/i, 'a noun: "whose outcome is unknown"'],
  [
    /\b(?:class|interface) (?:Inside|Parts|Serving|\w*Home)\b/,
    '"…Internals" for what a class keeps to itself, "…Target" for what is called',
  ],
  [/\bconst inside = (?:this|new|job|manager)\b/, 'the object whose internals it is: "bus", "queue", "own"'],
  [/\bfn strange\b/, '"unexpected_reply"'],
  [/\bWay::\w+/, '"Dispatch"'],
  [/\bkin\b/i, '"parents" or "children"'],
  [/\b(?:ghosts?|haunt(?:s|ed)?)\b/i, '"tombstone"'],
  [/\b(?:PutOff|put_off)\b/, '"Delayed" or "delay"'],
  [/\b(?:InHand|in_hand)\b/, '"InFlight" or "in_flight"'],
  [/\bShift\b/, '"WorkerState"'],
  [/\b(?:line_up|lined_up)\b/, '"enqueue" or "push"'],
  [/\blong_way\b/, '"paged"'],
  [/\bsee_to_/, 'the verb: "deliver", "maintain"'],
  [/\b[Mm]ourners?\b/, '"death listener"'],
  [/\bGrave\b/, '"death notice"'],
  [/\b(?:may judge|judge others|judges others)\b/i, '"may declare … late or crashed", "may take over"'],
  [/\bnobody of this package\b/i, '"not written by this package"'],
  [/\ba lane of\b/i, '"a key queue of"'],
  [/\bin (?:its|their|a consumer's) hands\b/i, '"in flight"'],
];

/** The paths in which words are looked for. */
const places = ['src', 'scripts', 'docs', '*.md', 'index.d.ts'];
const checked = /\.(?:rs|lua|ts|mjs|md)$/;
const itself = 'scripts/check-words.mjs';

/**
 * The refused words in `text`, by line.
 *
 * @param {string} text
 * @returns {{ line: number, found: string, instead: string }[]}
 */
export function refusals(text) {
  const plain = withoutMarks(text);
  return words.flatMap(([refused, instead]) =>
    [...plain.matchAll(new RegExp(refused.source.replaceAll(' ', '\\s+'), `g${refused.flags}`))].map((match) => ({
      line: plain.slice(0, match.index).split('\n').length,
      found: match[0].replace(/\s+/g, ' '),
      instead,
    })),
  );
}

/**
 * `text` without the marks at the start of comment lines, so that a pattern also matches a sentence that is wrapped.
 *
 * @param {string} text
 */
function withoutMarks(text) {
  return text.replace(/^[ \t]*(?:\/\/[/!]?|--|\*)/gm, '');
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { stdout, status, stderr } = spawnSync('git', ['ls-files', '--', ...places], { cwd: root, encoding: 'utf8' });
  if (status !== 0) throw new Error(`git ls-files: ${stderr}`);
  const files = stdout.split('\n').filter((file) => checked.test(file) && file !== itself);
  const found = files.flatMap((file) => refusals(readFileSync(join(root, file), 'utf8')).map((refusal) => ({ file, ...refusal })));
  for (const { file, line, found: word, instead } of found) console.error(`${file}:${line}: "${word}": write ${instead}`);
  if (found.length > 0) process.exitCode = 1;
  else console.log(`${files.length} files, ${words.length} refused words, none found`);
}

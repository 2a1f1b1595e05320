/** Links between the pages of the repository lead somewhere. */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { root } from '../scripts/root.mjs';
import { markdownPages } from './support/samples.ts';

const pages = markdownPages();

/** A page without its code, fenced or not: nothing there is a link or a heading. */
function prose(markdown: string): string {
  return markdown.replaceAll(/^(\s*)(`{3,}|~{3,}).*\n(?:.*\n)*?\s*\2\s*$/gm, '');
}

/** The anchors that GitHub gives a page's headings. */
function anchorsOf(markdown: string): Set<string> {
  const counts = new Map<string, number>();
  return new Set(
    [...prose(markdown).matchAll(/^#{1,6} +(.+?) *#*$/gm)].map(([, heading = '']) => {
      const text = heading.replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1').toLowerCase();
      const slug = text.replaceAll(/[^\p{L}\p{N}\p{M}_ -]/gu, '').replaceAll(' ', '-');
      const count = counts.get(slug) ?? 0;
      counts.set(slug, count + 1);
      return count === 0 ? slug : `${slug}-${count}`;
    }),
  );
}

/** The relative targets of a page's links. */
function linksOf(markdown: string): string[] {
  const text = prose(markdown).replaceAll(/`[^`\n]*`/g, '');
  const inline = [...text.matchAll(/\]\(\s*<?([^)\s>]+)>?[^)]*\)/g)];
  const named = [...text.matchAll(/^\[[^\]]+\]:\s*(\S+)/gm)];
  return [...inline, ...named].map(([, target = '']) => target).filter((target) => !/^[a-z][a-z+.-]*:/i.test(target));
}

/** What is wrong with a link of `page`; nothing if it leads somewhere. */
function fault(page: string, target: string): string | undefined {
  const [path = '', anchor] = target.split('#');
  const file = path === '' ? join(root, page) : resolve(root, dirname(page), decodeURI(path));
  if (relative(root, file).startsWith('..')) return `${target} leads out of the repository`;
  if (!existsSync(file)) return `${target} does not exist`;
  if (anchor === undefined || statSync(file).isDirectory() || !file.endsWith('.md')) return undefined;
  return anchorsOf(readFileSync(file, 'utf8')).has(anchor) ? undefined : `${target}: no such heading`;
}

describe('no link of the documentation leads nowhere', () => {
  it.each(pages)('%s', (page) => {
    const faults = linksOf(readFileSync(join(root, page), 'utf8')).flatMap((target) => fault(page, target) ?? []);
    expect(faults).toEqual([]);
  });
});

/** The rows of a page's tables that have another number of cells than the head, and lines that were broken off a row. */
function brokenRows(markdown: string): string[] {
  const lines = prose(markdown).split('\n');
  const cells = (line: string): number => line.replaceAll(/`[^`]*`|\\\|/g, '').split('|').length;
  return lines.flatMap((line, at) => {
    if (!/^\|(?: *:?-+:? *\|)+$/.test(line)) return [];
    const end = lines.findIndex((below, place) => place > at && below.trim() === '');
    const rows = lines.slice(at + 1, end === -1 ? undefined : end);
    return rows.filter((row) => !row.startsWith('|') || cells(row) !== cells(line));
  });
}

describe('every table has whole rows', () => {
  it.each(pages)('%s', (page) => {
    expect(brokenRows(readFileSync(join(root, page), 'utf8'))).toEqual([]);
  });

  it('a row that was wrapped, or lacks a cell, is found', () => {
    const head = '| a | b |\n|---|---|\n';
    expect(brokenRows(`${head}| \`x | y\` | 2 |\n| 1 \\| 1 | 2 |\n\ntext`)).toEqual([]);
    expect(brokenRows(`${head}| 1 | two\nlines |\n| 1 |`)).toEqual(['| 1 | two', 'lines |', '| 1 |']);
  });
});

it('a link to a page or a heading that is not there is found', () => {
  expect(fault('README.md', 'docs/nowhere.md')).toContain('does not exist');
  expect(fault('docs/kv.md', 'kv.md#nowhere')).toContain('no such heading');
  expect(fault('docs/kv.md', 'kv.md#keys-and-values')).toBeUndefined();
});

it('every page of docs/ can be found from the README', () => {
  const linked = linksOf(readFileSync(join(root, 'README.md'), 'utf8')).map((target) => target.split('#')[0]);
  expect(pages.filter((page) => /^docs\/[^/]+\.md$/.test(page) && !linked.includes(page))).toEqual([]);
});

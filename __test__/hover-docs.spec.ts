/** What an editor shows over a name of the package: each exported declaration and each public member has a word. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from '@typescript/typescript6';
import { expect, test } from 'vitest';

const ROOT = join(import.meta.dirname, '..');
const FILES = ['index.d.ts', ...readdirSync(join(ROOT, 'types')).map((name) => join('types', name))].filter((name) =>
  name.endsWith('.d.ts'),
);

type Documented = ts.Node & { name?: ts.Node };

/** The declarations of a file whose doc comment an editor shows, by name. */
function documented(file: string): [name: string, node: ts.Node][] {
  const source = ts.createSourceFile(file, readFileSync(join(ROOT, file), 'utf8'), ts.ScriptTarget.Latest, true);
  const found: [string, ts.Node][] = [];
  const visit = (node: ts.Node, owner: string): void => {
    if (ts.isInterfaceDeclaration(node) || ts.isClassDeclaration(node)) {
      const name = node.name?.text ?? '';
      found.push([name, node]);
      for (const member of node.members) visit(member, name);
    } else if (ts.isFunctionDeclaration(node) || ts.isTypeAliasDeclaration(node) || ts.isEnumDeclaration(node)) {
      found.push([node.name?.text ?? '', node]);
    } else if (ts.isVariableStatement(node)) {
      found.push([node.declarationList.getText(), node]);
    } else if (
      ts.isPropertySignature(node) ||
      ts.isMethodSignature(node) ||
      ts.isPropertyDeclaration(node) ||
      ts.isMethodDeclaration(node)
    ) {
      found.push([`${owner}.${(node as Documented).name?.getText() ?? ''}`, node]);
    }
  };
  for (const statement of source.statements) visit(statement, '');
  return found;
}

/** The text of a declaration's doc comment, without its tags. */
function comment(node: ts.Node): string {
  return ts
    .getJSDocCommentsAndTags(node)
    .filter(ts.isJSDoc)
    .map((doc) => ts.getTextOfJSDocComment(doc.comment) ?? '')
    .join('');
}

test.each(FILES)('%s says something of each public name', (file) => {
  const names = documented(file);
  expect(names.length).toBeGreaterThan(0);
  // Overloads and `[Symbol.…]` members with the words of another member are one name.
  const words = new Map<string, string>();
  for (const [name, node] of names) words.set(name, (words.get(name) ?? '') + comment(node));
  expect([...words].filter(([, text]) => text.trim() === '').map(([name]) => name)).toEqual([]);
});

test('each class has an example', () => {
  const classes = FILES.flatMap(documented).filter(([, node]) => ts.isClassDeclaration(node));
  const without = classes.filter(([, node]) => !ts.getJSDocTags(node).some((tag) => tag.tagName.text === 'example'));
  expect(without.map(([name]) => name)).toEqual([]);
});

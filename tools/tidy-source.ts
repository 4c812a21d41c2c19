// What tidy sees of a source file: its lines, imports, functions and the expressions that rules forbid. TypeScript's own
// parser reads it (its API is marked unstable, the version is pinned; no other file touches it).
import { readFileSync } from "node:fs";
import { relative } from "node:path";
import {
  isAsExpression,
  isCallExpression,
  isElementAccessExpression,
  isFunctionLikeDeclaration,
  isIdentifier,
  isNewExpression,
  isParenthesizedExpression,
  isPropertyAccessExpression,
  isStringLiteral,
  type Node,
  type PropertyAccessExpression,
  type SourceFile,
  SyntaxKind,
} from "typescript/unstable/ast";
import { API } from "typescript/unstable/sync";
import type { ImportKind } from "./layers.ts";

export interface Span {
  /** 1-based. */
  readonly line: number;
  /** How many lines, its comment not counted. */
  readonly lines: number;
}

export interface Import {
  readonly specifier: string;
  readonly kind: ImportKind;
  readonly line: number;
}

export interface Source {
  /** From the root of the repository, with slashes. */
  readonly path: string;
  readonly text: string;
  readonly imports: readonly Import[];
  readonly functions: readonly Span[];
  /** Expressions as written, with no spaces: "process.env", "Date.now", "it.only", "setTimeout(", "new Date()". */
  readonly uses: readonly { readonly what: string; readonly line: number }[];
}

/** Every TypeScript file of the project whose tsconfig.json lies in `root`, dependencies left out. */
export function readSources(root: string): Source[] {
  const api = new API({ cwd: root });
  try {
    const snapshot = api.updateSnapshot({ openProjects: [`${root}/tsconfig.json`] });
    const program = snapshot.getProject(`${root}/tsconfig.json`)?.program;
    if (!program) throw new Error(`${root}/tsconfig.json makes no project`);
    return program
      .getSourceFileNames()
      .filter((name) => name.startsWith(`${root}/`) && name.endsWith(".ts") && !name.includes("/node_modules/"))
      .map((name) => {
        const file = program.getSourceFile(name);
        if (!file) throw new Error(`${name} cannot be parsed`);
        return describeSource(relative(root, name), readFileSync(name, "utf8"), file);
      })
      .sort((a, b) => (a.path < b.path ? -1 : 1));
  } finally {
    api.close();
  }
}

function describeSource(path: string, text: string, file: SourceFile): Source {
  const imports: Import[] = [];
  const functions: Span[] = [];
  const uses: { what: string; line: number }[] = [];
  const lineAt = (position: number) => file.getLineAndCharacterOfPosition(position).line + 1;
  const visit = (node: Node): undefined => {
    const line = lineAt(node.getStart(file));
    if (isFunctionLikeDeclaration(node) && !isGroupOfTests(node)) {
      functions.push({ line, lines: lineAt(node.getEnd()) - line + 1 });
    }
    const specifier = importedBy(node);
    if (specifier) imports.push({ ...specifier, line });
    const what = useOf(node);
    if (what !== undefined) uses.push({ what, line });
    node.forEachChild(visit);
  };
  visit(file);
  return { path, text, imports, functions, uses };
}

/** `describe` takes a function to group tests: a chapter, not a function. */
function isGroupOfTests(node: Node): boolean {
  const call = node.parent;
  return isCallExpression(call) && /^describe\b/.test(call.expression.getText());
}

/** Static and dynamic imports, import types, re-exports, and files named by `new URL("./x.ts", import.meta.url)`. */
function importedBy(node: Node): Omit<Import, "line"> | undefined {
  if (!isStringLiteral(node)) return undefined;
  const parent = node.parent;
  if (parent.kind === SyntaxKind.ImportDeclaration || parent.kind === SyntaxKind.ExportDeclaration) {
    return { specifier: node.text, kind: "static" };
  }
  if (parent.kind === SyntaxKind.LiteralType && parent.parent.kind === SyntaxKind.ImportType) {
    return { specifier: node.text, kind: "static" };
  }
  if (isCallExpression(parent) && parent.expression.kind === SyntaxKind.ImportKeyword) {
    return { specifier: node.text, kind: "dynamic" };
  }
  const isUrl = isNewExpression(parent) && parent.expression.getText() === "URL";
  return isUrl && /^\.{1,2}\/.*\.ts$/.test(node.text) ? { specifier: node.text, kind: "dynamic" } : undefined;
}

function useOf(node: Node): string | undefined {
  if (isPropertyAccessExpression(node))
    return isSkipFromWithin(node) ? undefined : rooted(node.expression, node.name.text);
  if (isElementAccessExpression(node)) {
    return isStringLiteral(node.argumentExpression) ? rooted(node.expression, node.argumentExpression.text) : undefined;
  }
  if (isCallExpression(node) && isIdentifier(node.expression)) return `${node.expression.text}(`;
  if (isNewExpression(node)) return `new ${node.expression.getText()}(${node.arguments?.length ? "…" : ""})`;
  if (isAsExpression(node)) {
    const inner = isParenthesizedExpression(node.expression) ? node.expression.expression : node.expression;
    return isAsExpression(inner) ? "as … as" : undefined;
  }
  return undefined;
}

/** `test.skip()` without a title: a running test that found a part missing. */
function isSkipFromWithin(node: PropertyAccessExpression): boolean {
  const call = node.parent;
  return node.name.text === "skip" && isCallExpression(call) && call.expression === node && call.arguments.length === 0;
}

function rooted(object: Node, member: string): string | undefined {
  return isIdentifier(object) ? `${object.text}.${member}` : undefined;
}

// A quoted string of HCL 1: Go's escapes, and "${ … }" kept as it is, in which quotes do not end the string.
import { hclError, type Position } from "./syntax-tree.ts";

const SIMPLE: Readonly<Record<string, string>> = {
  a: "\x07",
  b: "\b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t",
  v: "\v",
  "\\": "\\",
  '"': '"',
};
const NUMERIC = /^(?:[0-7]{3}|x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8})/;
const CODE_POINT_MAX = 0x10ffff;

/** The string whose opening quote is at `start`, and how many code units it takes. */
export function readQuoted(text: string, start: number, position: Position): { value: string; length: number } {
  let value = "";
  let braces = 0;
  for (let at = start + 1; at < text.length; at++) {
    const c = text[at];
    if (braces === 0 && c === '"') return { value, length: at + 1 - start };
    if (braces === 0 && c === "\n") break;
    if (braces === 0 && c === "\\") {
      const escaped = readEscape(text, at + 1, position);
      value += escaped.value;
      at += escaped.length;
      continue;
    }
    if (c === "{" && (braces > 0 || text[at - 1] === "$")) braces++;
    else if (c === "}" && braces > 0) braces--;
    value += c;
  }
  throw hclError(position, "literal not terminated");
}

function readEscape(text: string, at: number, position: Position): { value: string; length: number } {
  const simple = SIMPLE[text[at] ?? ""];
  if (simple !== undefined) return { value: simple, length: 1 };
  const numeric = NUMERIC.exec(text.slice(at, at + 9))?.[0];
  const code = numeric === undefined ? Number.NaN : codeOf(numeric);
  if (numeric === undefined || !(code <= CODE_POINT_MAX))
    throw hclError(position, `the string holds an unknown escape: \\${text[at] ?? ""}`);
  return { value: String.fromCodePoint(code), length: numeric.length };
}

function codeOf(numeric: string): number {
  return /^[0-7]{3}/.test(numeric) ? Number.parseInt(numeric, 8) : Number.parseInt(numeric.slice(1), 16);
}

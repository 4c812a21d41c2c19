// The words of a filter expression, each with its place (1 is the first character).
import { CofferError } from "#common/errors.ts";

export interface Token {
  readonly kind: "word" | "text" | "mark" | "end";
  readonly text: string;
  readonly at: number;
}

/** Longer expressions are refused; they are read at every entry. */
export const EXPRESSION_CHARACTERS_MAX = 4096;

const MARK = /^(?:==|!=|[()[\],])/;
const WORD = /^[\w./*+-]+/;
const TEXT = /^"(?:[^"\\]|\\["\\/])*"|^`[^`]*`/;

export function expressionError(at: number, message: string): CofferError {
  return new CofferError("invalid_request", `filter: ${message} at character ${at}`);
}

/** All tokens and one "end". Throws `invalid_request` with the place. */
export function tokenize(source: string): readonly Token[] {
  if (source.length > EXPRESSION_CHARACTERS_MAX)
    throw new CofferError("invalid_request", `filter: longer than ${EXPRESSION_CHARACTERS_MAX} characters`);
  const tokens: Token[] = [];
  let rest = source.trimStart();
  while (rest !== "") {
    const token = nextToken(rest, source.length - rest.length + 1);
    tokens.push(token.token);
    rest = rest.slice(token.length).trimStart();
  }
  return [...tokens, { kind: "end", text: "", at: source.length + 1 }];
}

function nextToken(rest: string, at: number): { token: Token; length: number } {
  const text = TEXT.exec(rest)?.[0];
  if (text !== undefined) {
    const inner = text.slice(1, -1);
    const value = text.startsWith('"') ? inner.replace(/\\(.)/g, "$1") : inner;
    return { token: { kind: "text", text: value, at }, length: text.length };
  }
  const mark = MARK.exec(rest)?.[0];
  if (mark !== undefined) return { token: { kind: "mark", text: mark, at }, length: mark.length };
  const word = WORD.exec(rest)?.[0];
  if (word !== undefined) return { token: { kind: "word", text: word, at }, length: word.length };
  const isOpen = rest.startsWith('"') || rest.startsWith("`");
  throw expressionError(at, isOpen ? "a text does not end" : `unexpected ${JSON.stringify(rest[0])}`);
}

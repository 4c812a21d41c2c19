// Cuts a template into text and the tokens of its actions, with trimming ({{- -}}) and comments done. Language:
// pkg.go.dev/text/template and the lexical rules of go.dev/ref/spec for literals.
import { FaultAt } from "./fault.ts";
import { readChar, readQuoted, readRaw } from "./literals.ts";
import type { Value } from "./values.ts";

export type Token = { readonly at: number; readonly spaced: boolean } & (
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "left" | "right" | "end" }
  | { readonly kind: "word" | "field" | "variable"; readonly text: string }
  | { readonly kind: "literal"; readonly value: Value }
  | { readonly kind: "sign"; readonly text: "|" | "," | "=" | ":=" | "(" | ")" | "." }
);

export interface Delimiters {
  readonly left: string;
  readonly right: string;
}

const SPACE = /[ \t\r\n]/;
const NAME = /[\p{L}\p{Nd}_]+/uy;
const NUMBER =
  /[+-]?(?:0[xX][0-9a-fA-F_]+|0[bB][01_]+|0[oO][0-7_]+|(?:[0-9][0-9_]*)?\.?[0-9][0-9_]*\.?(?:[eE][+-]?[0-9_]+)?)/y;
const DECIMAL = /^[+-]?[0-9_]+$/;
const SIGNS = ["|", ",", ":=", "=", "(", ")"] as const;

/** All tokens; the last one is `end`. Throws FaultAt. */
export function cutTokens(text: string, delimiters: Delimiters): readonly Token[] {
  const lexer = new Lexer(text, delimiters);
  lexer.cutAll();
  return lexer.tokens;
}

class Lexer {
  readonly tokens: Token[] = [];
  readonly #text: string;
  readonly #left: string;
  readonly #right: string;
  #at = 0;
  #trimNext = false;

  constructor(text: string, { left, right }: Delimiters) {
    this.#text = text;
    this.#left = left;
    this.#right = right;
  }

  cutAll(): void {
    while (true) {
      const left = this.#text.indexOf(this.#left, this.#at);
      const inner = left + this.#left.length;
      const trims = left >= 0 && this.#text[inner] === "-" && SPACE.test(this.#text[inner + 1] ?? "");
      this.#pushText(left < 0 ? this.#text.length : left, trims);
      if (left < 0) break;
      this.#at = inner + (trims ? 2 : 0);
      if (!this.#skipComment(left)) this.#cutAction(left);
    }
    this.tokens.push({ kind: "end", at: this.#text.length, spaced: false });
  }

  #pushText(end: number, trims: boolean): void {
    let text = this.#text.slice(this.#at, end);
    if (this.#trimNext) text = text.replace(/^[ \t\r\n]+/, "");
    if (trims) text = trimEnd(text);
    if (text !== "") this.tokens.push({ kind: "text", at: this.#at, spaced: false, text });
    this.#trimNext = false;
  }

  #skipComment(left: number): boolean {
    const start = this.#text.startsWith("/*", this.#at);
    if (!start) return false;
    const end = this.#text.indexOf("*/", this.#at);
    if (end < 0) throw new FaultAt(left, "this comment has no end: close it with */");
    this.#at = end + 2;
    if (!this.#takeRight())
      throw new FaultAt(left, `a comment must be alone in its action: put ${this.#right} after */`);
    return true;
  }

  /** At the closing delimiter, with or without " -" in front of it: takes it. */
  #takeRight(): boolean {
    const trims = /^[ \t\r\n]-/.test(this.#text.slice(this.#at, this.#at + 2));
    const at = this.#at + (trims ? 2 : 0);
    if (!this.#text.startsWith(this.#right, at)) return false;
    this.#trimNext = trims;
    this.#at = at + this.#right.length;
    return true;
  }

  #cutAction(left: number): void {
    this.tokens.push({ kind: "left", at: left, spaced: false });
    let depth = 0;
    while (true) {
      const before = this.#at;
      if (this.#takeRight()) break;
      while (SPACE.test(this.#text[this.#at] ?? "")) {
        this.#at++;
        if (this.#takeRight()) {
          this.#closeAction(before, depth);
          return;
        }
      }
      if (this.#at >= this.#text.length)
        throw new FaultAt(left, `this action has no end: close it with ${this.#right}`);
      const token = this.#cutToken(this.#at > before);
      if (token.kind === "sign" && token.text === "(") depth++;
      if (token.kind === "sign" && token.text === ")" && --depth < 0)
        throw new FaultAt(token.at, "there is no ( to this )");
      this.tokens.push(token);
    }
    this.#closeAction(this.#at - this.#right.length, depth);
  }

  #closeAction(at: number, depth: number): void {
    if (depth > 0) throw new FaultAt(at, "a ( is not closed");
    this.tokens.push({ kind: "right", at, spaced: false });
  }

  #cutToken(spaced: boolean): Token {
    const at = this.#at;
    const rest = this.#text;
    const first = rest[at] ?? "";
    const literal = this.#literal(first);
    if (literal !== undefined) return { kind: "literal", at, spaced, value: literal };
    const sign = SIGNS.find((s) => rest.startsWith(s, at));
    if (sign !== undefined) {
      this.#at += sign.length;
      return { kind: "sign", at, spaced, text: sign };
    }
    if (first === "." || first === "$") {
      this.#at++;
      const name = this.#name();
      if (first === "$") return { kind: "variable", at, spaced, text: `$${name}` };
      return name === "" ? { kind: "sign", at, spaced, text: "." } : { kind: "field", at, spaced, text: name };
    }
    const word = this.#name();
    if (word === "") throw new FaultAt(at, `the character ${JSON.stringify(first)} does not belong into an action`);
    return { kind: "word", at, spaced, text: word };
  }

  #name(): string {
    NAME.lastIndex = this.#at;
    const name = NAME.exec(this.#text)?.[0] ?? "";
    this.#at += name.length;
    return name;
  }

  #literal(first: string): Value | undefined {
    const read = first === '"' ? readQuoted : first === "`" ? readRaw : first === "'" ? readChar : undefined;
    if (read !== undefined) {
      const { value, end } = read(this.#text, this.#at);
      this.#at = end;
      return value;
    }
    NUMBER.lastIndex = this.#at;
    const found = /[0-9.+-]/.test(first) ? NUMBER.exec(this.#text)?.[0] : undefined;
    if (found === undefined) return undefined;
    const after = this.#text[this.#at + found.length] ?? "";
    if (/[\p{L}\p{Nd}_.]/u.test(after)) throw new FaultAt(this.#at, "this is no number");
    this.#at += found.length;
    return numberOf(found);
  }
}

/** Go's constants: an integer stays one; 1e3 is a float that also serves as an integer, which templates hardly need. */
function numberOf(text: string): Value {
  const digits = text.replaceAll("_", "");
  const [, sign = "", rest = ""] = /^([+-]?)(.*)$/.exec(digits) ?? [];
  if (/^0[xXbBoO]/.test(rest)) return sign === "-" ? -BigInt(rest.toLowerCase()) : BigInt(rest.toLowerCase());
  if (!DECIMAL.test(digits)) return Number(digits);
  const octal = /^0[0-7]+$/.test(rest);
  const value = BigInt(octal ? `0o${rest.slice(1)}` : rest);
  return sign === "-" ? -value : value;
}

function trimEnd(text: string): string {
  let end = text.length;
  while (end > 0 && SPACE.test(text[end - 1] ?? "")) end--;
  return text.slice(0, end);
}

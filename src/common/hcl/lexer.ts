// Characters to tokens, for HCL 1. Positions, the one after the end included, are counted as HashiCorp's scanner
// counts them, because clients show its messages. Must not know the grammar; that is parser.ts.
import { readHeredoc } from "./heredoc.ts";
import { readQuoted } from "./quoted.ts";
import { hclError, type Position } from "./syntax-tree.ts";

export type TokenKind = "identifier" | "string" | "number" | "boolean" | "{" | "}" | "[" | "]" | "," | "=" | "EOF";
export interface Token {
  readonly kind: TokenKind;
  /** The meaning: text without quotes and escapes. */
  readonly text: string;
  readonly position: Position;
}

const SPACE = /[ \t\r\n]/;
const IDENTIFIER_START = /[\p{L}_]/u;

const IDENTIFIER_REST = "[\\p{L}\\p{Nd}_.-]*";
const NUMBER = "-?(?:0[xX][0-9a-fA-F]+|\\d+(?:\\.\\d*)?(?:[eE][+-]?\\d+)?)";
const PUNCTUATION = new Set<string>(["{", "}", "[", "]", ",", "="]);

export class Lexer {
  readonly #text: string;
  #at = 0;
  #line = 1;
  /** Column of the character at #at. */
  #column = 1;
  // Sticky expressions keep a position, so every lexer has its own.
  readonly #identifier = new RegExp(IDENTIFIER_REST, "uy");
  readonly #number = new RegExp(NUMBER, "y");
  readonly #file: string | undefined;
  constructor(text: string, file?: string) {
    this.#text = text;
    this.#file = file;
  }

  /** The next token; "EOF" again and again at the end. Throws `invalid_request` with the position. */
  next(): Token {
    this.#skipBlanks();
    const position = this.#position();
    const c = this.#text[this.#at];
    if (c === undefined) {
      this.#column++;
      return { kind: "EOF", text: "", position };
    }
    if (isPunctuation(c)) return this.#token(c, c, c.length, position);
    if (c === '"') {
      const { value, length } = readQuoted(this.#text, this.#at, position);
      return this.#token("string", value, length, position);
    }
    if (c === "<") {
      const { value, length } = readHeredoc(this.#text, this.#at, position);
      return this.#token("string", value, length, position);
    }
    return this.#word(position);
  }

  #word(position: Position): Token {
    const first = String.fromCodePoint(this.#text.codePointAt(this.#at) ?? 0);
    if (IDENTIFIER_START.test(first)) {
      const word = this.#match(this.#identifier);
      const token = this.#token(
        word === "true" || word === "false" ? "boolean" : "identifier",
        word,
        word.length,
        position,
      );
      // Reading a word looks one character ahead, and looking past the end counts as a column.
      if (this.#at === this.#text.length) this.#column++;
      return token;
    }
    const number = this.#match(this.#number);
    if (number === "") throw hclError(position, `illegal character ${JSON.stringify(first)}`);
    return this.#token("number", number, number.length, position);
  }

  #position(): Position {
    return { line: this.#line, column: this.#column, file: this.#file };
  }

  #match(pattern: RegExp): string {
    pattern.lastIndex = this.#at;
    return pattern.exec(this.#text)?.[0] ?? "";
  }

  #token(kind: TokenKind, text: string, length: number, position: Position): Token {
    this.#advance(length);
    return { kind, text, position };
  }

  #advance(length: number): void {
    const end = this.#at + length;
    for (; this.#at < end; this.#at++) {
      const code = this.#text.charCodeAt(this.#at);
      if (code === 0x0a) {
        this.#line++;
        this.#column = 1;
      } else if (code < 0xdc00 || code > 0xdfff) this.#column++; // the second half of a pair is no character
    }
  }

  #skipBlanks(): void {
    for (;;) {
      const c = this.#text[this.#at];
      if (c === undefined) return;
      if (SPACE.test(c)) this.#advance(1);
      else if (c === "#" || this.#text.startsWith("//", this.#at)) this.#advance(this.#lengthTo("\n", 0));
      else if (this.#text.startsWith("/*", this.#at)) this.#skipBlockComment();
      else return;
    }
  }

  #skipBlockComment(): void {
    if (this.#text.indexOf("*/", this.#at + 2) < 0) throw hclError(this.#position(), "comment not terminated");
    this.#advance(this.#lengthTo("*/", 2) + 2);
  }

  #lengthTo(mark: string, skip: number): number {
    const end = this.#text.indexOf(mark, this.#at + skip);
    return (end < 0 ? this.#text.length : end) - this.#at;
  }
}

function isPunctuation(c: string): c is TokenKind {
  return PUNCTUATION.has(c);
}

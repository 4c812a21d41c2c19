// Reads tokens one after another, for both parsers.
import { FaultAt } from "./fault.ts";
import type { Token } from "./lexer.ts";

export class TokenReader {
  readonly #tokens: readonly Token[];
  #next = 0;
  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens;
  }

  peek(ahead = 0): Token {
    const token = this.#tokens[Math.min(this.#next + ahead, this.#tokens.length - 1)];
    if (token === undefined) throw new FaultAt(0, "the template has no end");
    return token;
  }

  next(): Token {
    const token = this.peek();
    this.#next++;
    return token;
  }

  /** The word that stands next, or nothing. */
  peekWord(): string {
    const token = this.peek();
    return token.kind === "word" ? token.text : "";
  }

  isSign(text: string, ahead = 0): boolean {
    const token = this.peek(ahead);
    return token.kind === "sign" && token.text === text;
  }

  expectRight(): void {
    const token = this.next();
    if (token.kind !== "right") throw new FaultAt(token.at, "the action should end here");
  }
}

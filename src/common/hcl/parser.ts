// Tokens to a tree, for HCL 1, and JSON as HCL 1 takes it (a text that begins with "{"). Hand-written descent with a
// limit on depth; every token is consumed once, so the time is linear in the text.
import { CofferError } from "../errors.ts";
import { readJson } from "./json-reader.ts";
import { Lexer, type Token } from "./lexer.ts";
import {
  type HclItem,
  type HclKey,
  type HclList,
  type HclObject,
  type HclValue,
  hclError,
  keyOf,
} from "./syntax-tree.ts";

/** Policies and configurations are written by people; the largest seen are some ten kilobytes. */
export const HCL_TEXT_LENGTH_MAX = 1024 * 1024;
/** Objects and lists in one another; what is parsed here needs five. */
export const HCL_DEPTH_MAX = 64;
/** A block's name and labels, each of which is a level when labels become members; nothing here has more than three. */
export const HCL_KEYS_MAX = 16;

/** Parses a document. Throws `invalid_request` "At line:column: …", with the file's name in front if one is given. */
export function parseHcl(text: string, file?: string): HclObject {
  if (text.length > HCL_TEXT_LENGTH_MAX)
    throw new CofferError("too_large", `the text is longer than ${HCL_TEXT_LENGTH_MAX} characters`);
  if (text.trimStart().startsWith("{")) return readJson(text, HCL_DEPTH_MAX, file);
  return new Parser(new Lexer(text, file)).document();
}

class Parser {
  readonly #lexer: Lexer;
  #peeked: Token | undefined;
  #depth = 0;
  constructor(lexer: Lexer) {
    this.#lexer = lexer;
  }

  document(): HclObject {
    const items = this.#items();
    const rest = this.#next();
    if (rest.kind !== "EOF") throw hclError(rest.position, `unexpected ${rest.kind}`);
    return { kind: "object", items, position: { line: 1, column: 1 } };
  }

  /** Items up to a "}" or the end, neither consumed. Commas between them may be left out. */
  #items(): readonly HclItem[] {
    const items: HclItem[] = [];
    for (;;) {
      const token = this.#peek();
      if (token.kind === "}" || token.kind === "EOF") return items;
      items.push(this.#item());
      if (this.#peek().kind === ",") this.#next();
    }
  }

  #item(): HclItem {
    const keys: HclKey[] = [];
    for (;;) {
      const token = this.#next();
      if (token.kind === "identifier" || token.kind === "string" || token.kind === "boolean")
        keys.push({ text: token.text, position: token.position });
      else if (keys.length === 0) throw hclError(token.position, `expected: IDENT | STRING got: ${nameOf(token)}`);
      else if (token.kind === "{") return { keys, assignLine: 0, value: this.#object(token) };
      else if (token.kind === "=") return this.#assignment(keys, token);
      else throw hclError(token.position, expectedAssignment(keys));
      if (keys.length > HCL_KEYS_MAX) throw hclError(token.position, `more than ${HCL_KEYS_MAX} labels`);
    }
  }

  #assignment(keys: readonly HclKey[], assign: Token): HclItem {
    if (keys.length > 1) throw hclError(assign.position, "nested object expected: LBRACE got: ASSIGN");
    return { keys, assignLine: assign.position.line, value: this.#value(this.#next()) };
  }

  #value(token: Token): HclValue {
    const { position, text } = token;
    switch (token.kind) {
      case "string":
        return { kind: "string", value: text, position };
      case "number":
        return { kind: "number", value: numberOf(text), position };
      case "boolean":
        return { kind: "boolean", value: text === "true", position };
      case "[":
        return this.#list(token);
      case "{":
        return this.#object(token);
      default:
        throw hclError(
          position,
          `unknown token: ${nameOf(token)}; a value is a quoted string, a number, true, false, [ … ] or { … }`,
        );
    }
  }

  #object(open: Token): HclObject {
    this.#descend(open);
    const items = this.#items();
    // HashiCorp's parser reads the end twice here, and its position shows it.
    if (this.#peek().kind === "EOF") this.#next();
    const close = this.#next();
    if (close.kind !== "}") throw hclError(close.position, `object expected closing RBRACE got: ${nameOf(close)}`);
    this.#depth--;
    return { kind: "object", items, position: open.position };
  }

  #list(open: Token): HclList {
    this.#descend(open);
    const values: HclValue[] = [];
    for (;;) {
      const token = this.#next();
      if (token.kind === "]") break;
      values.push(this.#value(token));
      const after = this.#next();
      if (after.kind === "]") break;
      if (after.kind !== ",")
        throw hclError(after.position, `error parsing list, expected comma or list end, got: ${nameOf(after)}`);
    }
    this.#depth--;
    return { kind: "list", values, position: open.position };
  }

  #descend(open: Token): void {
    if (++this.#depth > HCL_DEPTH_MAX) throw hclError(open.position, `nested deeper than ${HCL_DEPTH_MAX} levels`);
  }

  #peek(): Token {
    this.#peeked ??= this.#lexer.next();
    return this.#peeked;
  }

  #next(): Token {
    const token = this.#peek();
    this.#peeked = undefined;
    return token;
  }
}

function expectedAssignment(keys: readonly HclKey[]): string {
  const names = keys.map((key) => key.text).join(" ");
  return `key '${names}' expected start of object ('{') or assignment ('=')`;
}

const TOKEN_NAMES: Readonly<Record<string, string>> = {
  "{": "LBRACE",
  "}": "RBRACE",
  "[": "LBRACK",
  "]": "RBRACK",
  ",": "COMMA",
  "=": "ASSIGN",
  identifier: "IDENT",
};

function nameOf(token: Token): string {
  return TOKEN_NAMES[token.kind] ?? token.kind.toUpperCase();
}

function numberOf(text: string): number {
  return text.startsWith("-") ? -Number(text.slice(1)) : Number(text);
}

/** The items of an object that no one of `known` names. */
export function unknownItems(object: HclObject, known: readonly string[]): readonly HclItem[] {
  return object.items.filter((item) => !known.includes(keyOf(item).text));
}

// JSON as HCL 1 takes it, into the same tree, with positions. Strict JSON but for a comma before a closing bracket.
import { type HclItem, type HclList, type HclObject, type HclValue, hclError, type Position } from "./syntax-tree.ts";

const TEXT = '"[^"\\\\\\u0000-\\u001f]*(?:\\\\.[^"\\\\\\u0000-\\u001f]*)*"';
const TOKEN = `[ \\t\\r\\n]*([{}\\[\\]:,]|${TEXT}|-?\\d+(?:\\.\\d+)?(?:[eE][+-]?\\d+)?|true|false|null)?`;

/** Parses a JSON object. Throws `invalid_request` "At line:column: …". */
export function readJson(text: string, depthMax: number, file?: string): HclObject {
  const reader = new JsonReader(text, depthMax, file);
  const value = reader.value();
  const rest = reader.next();
  if (value.kind !== "object" || rest !== "") throw reader.unexpected(rest);
  return value;
}

class JsonReader {
  readonly #text: string;
  readonly #depthMax: number;
  readonly #token = new RegExp(TOKEN, "y");
  #depth = 0;
  #start = 0;
  #line = 1;
  #lineStart = 0;
  #counted = 0;
  readonly #file: string | undefined;
  constructor(text: string, depthMax: number, file: string | undefined) {
    this.#file = file;
    this.#text = text;
    this.#depthMax = depthMax;
  }

  /** The next token's text, "" at the end or where there is none. */
  next(): string {
    const match = this.#token.exec(this.#text);
    const token = match?.[1] ?? "";
    const end = (match?.index ?? 0) + (match?.[0].length ?? 0);
    this.#token.lastIndex = end;
    this.#start = end - token.length;
    if (token === "" && end < this.#text.length) throw this.unexpected(this.#text[end] ?? "");
    return token;
  }

  unexpected(token: string): Error {
    return hclError(
      this.#position(),
      token === "" ? "the JSON text ends too early" : `unexpected ${token.slice(0, 40)} in JSON`,
    );
  }

  value(token = this.next()): HclValue {
    const position = this.#position();
    if (token === "{") return this.#object(position);
    if (token === "[") return this.#list(position);
    if (token.startsWith('"')) return { kind: "string", value: this.#string(token), position };
    if (token === "true" || token === "false") return { kind: "boolean", value: token === "true", position };
    if (token === "null") return { kind: "null", position };
    if (/^[-\d]/.test(token)) return { kind: "number", value: Number(token), position };
    throw this.unexpected(token);
  }

  #object(position: Position): HclObject {
    this.#descend();
    const items: HclItem[] = [];
    for (let token = this.next(); token !== "}"; ) {
      if (!token.startsWith('"')) throw this.unexpected(token);
      const key = { text: this.#string(token), position: this.#position() };
      const colon = this.next();
      if (colon !== ":") throw this.unexpected(colon);
      items.push({ keys: [key], value: this.value(), assignLine: key.position.line });
      token = this.#afterMember("}");
    }
    this.#depth--;
    return { kind: "object", items, position };
  }

  #list(position: Position): HclList {
    this.#descend();
    const values: HclValue[] = [];
    for (let token = this.next(); token !== "]"; ) {
      values.push(this.value(token));
      token = this.#afterMember("]");
    }
    this.#depth--;
    return { kind: "list", values, position };
  }

  #afterMember(close: string): string {
    const token = this.next();
    if (token !== close && token !== ",") throw this.unexpected(token);
    return token === "," ? this.next() : token;
  }

  #string(token: string): string {
    try {
      return String(JSON.parse(token));
    } catch {
      throw hclError(this.#position(), "the string holds an unknown escape");
    }
  }

  #descend(): void {
    if (++this.#depth > this.#depthMax) throw hclError(this.#position(), `nested deeper than ${this.#depthMax} levels`);
  }

  /** Of the token read last. Counts lines from where it counted before, so all of it is linear. */
  #position(): Position {
    for (; this.#counted < this.#start; this.#counted++)
      if (this.#text[this.#counted] === "\n") {
        this.#line++;
        this.#lineStart = this.#counted + 1;
      }
    return { line: this.#line, column: this.#start - this.#lineStart + 1, file: this.#file };
  }
}

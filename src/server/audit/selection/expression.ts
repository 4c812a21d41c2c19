// Filter expressions of audit devices and of subscriptions to events, and conditions of exclusions.
//
//   expression  = and { "or" and }          and = not { "and" not }         not = [ "not" ] ( "(" expression ")" | test )
//   test        = selector ( "==" | "!=" ) value
//               | selector [ "not" ] "matches" glob        "*" any characters; the whole text must match
//               | selector [ "not" ] "contains" value
//               | selector [ "not" ] "in" "[" value { "," value } "]"
//               | value [ "not" ] "in" selector            the value is a part of the text
//   selector    = "mount_point" | "mount_type" | "namespace" | "operation" | "path"; in conditions also a quoted JSON
//                 pointer into the entry: "/request/mount_type"; of events "event_type" and others (events/filter.ts)
//
// Matching takes time in proportion to the text whatever clients send: there are no regular expressions.
import { matchesGlob } from "#common/glob.ts";
import { expressionError, type Token, tokenize } from "./expression-tokens.ts";

export const SELECTORS = ["mount_point", "mount_type", "namespace", "operation", "path"] as const;
export type Selector = (typeof SELECTORS)[number];

/** Gives the text behind a selector, or undefined when there is none: then only "!=" and "not" are true. */
export type Lookup = (selector: string) => string | undefined;
export type Expression = (lookup: Lookup) => boolean;

/** Nested deeper, an expression is no longer readable by people. */
export const EXPRESSION_DEPTH_MAX = 50;

/** Throws `invalid_request` saying what is wrong at which character. */
export function parseExpression(
  source: string,
  {
    pointers = false,
    selectors = SELECTORS,
  }: { readonly pointers?: boolean; readonly selectors?: readonly string[] } = {},
): Expression {
  return new Parser(tokenize(source), pointers, selectors).whole();
}

type Test = (text: string) => boolean;

class Parser {
  readonly #tokens: readonly Token[];
  readonly #pointers: boolean;
  readonly #selectors: readonly string[];
  #next = 0;
  #depth = 0;
  constructor(tokens: readonly Token[], pointers: boolean, selectors: readonly string[]) {
    this.#tokens = tokens;
    this.#pointers = pointers;
    this.#selectors = selectors;
  }

  whole(): Expression {
    const expression = this.#or();
    const left = this.#peek();
    if (left.kind !== "end") throw expressionError(left.at, `expected "and", "or" or the end, found "${left.text}"`);
    return expression;
  }

  #peek(): Token {
    const token = this.#tokens[this.#next] ?? this.#tokens.at(-1);
    if (!token) throw new Error("there is always an end");
    return token;
  }

  #take(): Token {
    const token = this.#peek();
    this.#next++;
    return token;
  }

  #accept(kind: Token["kind"], text: string): boolean {
    const token = this.#peek();
    if (token.kind !== kind || token.text !== text) return false;
    this.#next++;
    return true;
  }

  #or(): Expression {
    let left = this.#and();
    while (this.#accept("word", "or")) left = either(left, this.#and());
    return left;
  }

  #and(): Expression {
    let left = this.#not();
    while (this.#accept("word", "and")) left = both(left, this.#not());
    return left;
  }

  #not(): Expression {
    if (++this.#depth > EXPRESSION_DEPTH_MAX)
      throw expressionError(this.#peek().at, `nested deeper than ${EXPRESSION_DEPTH_MAX} levels`);
    try {
      if (this.#accept("word", "not")) return negated(this.#not());
      if (!this.#accept("mark", "(")) return this.#test();
      const inner = this.#or();
      const close = this.#peek();
      if (!this.#accept("mark", ")")) throw expressionError(close.at, 'expected ")"');
      return inner;
    } finally {
      this.#depth--;
    }
  }

  #test(): Expression {
    const first = this.#take();
    if (first.kind !== "word" && first.kind !== "text")
      throw expressionError(first.at, `expected one of ${this.#selectors.join(", ")}`);
    if (this.#isValueOf(first)) return this.#valueInSelector(first.text);
    const selector = this.#selector(first);
    const not = this.#accept("word", "not");
    const operator = this.#take();
    const test = this.#operation(operator);
    if (not && operator.kind === "mark") throw expressionError(operator.at, 'expected "in", "matches" or "contains"');
    const isNegative = not || operator.text === "!=";
    return (lookup) => {
      const text = lookup(selector);
      return (text !== undefined && test(text)) !== isNegative;
    };
  }

  /** "x" in path; but "/request/path" in [...] begins with a pointer. */
  #isValueOf(first: Token): boolean {
    const at = this.#tokens[this.#next]?.text === "not" ? this.#next + 1 : this.#next;
    const operator = this.#tokens[at];
    const after = this.#tokens[at + 1];
    return first.kind === "text" && operator?.kind === "word" && operator.text === "in" && after?.text !== "[";
  }

  #valueInSelector(value: string): Expression {
    const not = this.#accept("word", "not");
    this.#take();
    const selector = this.#selector(this.#take());
    return (lookup) => (lookup(selector)?.includes(value) ?? false) !== not;
  }

  #selector(token: Token): string {
    const isName = token.kind === "word" && this.#selectors.includes(token.text);
    const isPointer = this.#pointers && token.kind === "text" && token.text.startsWith("/");
    if (isName || isPointer) return token.text;
    throw expressionError(token.at, `expected one of ${this.#selectors.join(", ")}, found "${token.text}"`);
  }

  #operation(operator: Token): Test {
    switch (operator.text) {
      case "==":
      case "!=": {
        const wanted = this.#value();
        return (text) => text === wanted;
      }
      case "matches": {
        const glob = this.#glob();
        return (text) => matchesGlob(glob, text);
      }
      case "contains": {
        const part = this.#value();
        return (text) => text.includes(part);
      }
      case "in": {
        const wanted = this.#values();
        return (text) => wanted.has(text);
      }
      default:
        throw expressionError(operator.at, "expected ==, !=, matches, contains or in");
    }
  }

  #value(): string {
    const token = this.#take();
    if (token.kind === "text" || token.kind === "word") return token.text;
    throw expressionError(token.at, "expected a text");
  }

  #glob(): string {
    const { at } = this.#peek();
    const glob = this.#value();
    if (/[\^$\\]|\.\*/.test(glob))
      throw expressionError(at, 'matches takes a pattern in which "*" is anything, no regular expression,');
    return glob;
  }

  #values(): ReadonlySet<string> {
    const open = this.#peek();
    if (!this.#accept("mark", "[")) throw expressionError(open.at, 'expected "["');
    const values = new Set([this.#value()]);
    while (this.#accept("mark", ",")) values.add(this.#value());
    const close = this.#peek();
    if (!this.#accept("mark", "]")) throw expressionError(close.at, 'expected "," or "]"');
    return values;
  }
}

const either =
  (a: Expression, b: Expression): Expression =>
  (lookup) =>
    a(lookup) || b(lookup);
const both =
  (a: Expression, b: Expression): Expression =>
  (lookup) =>
    a(lookup) && b(lookup);
const negated =
  (a: Expression): Expression =>
  (lookup) =>
    !a(lookup);

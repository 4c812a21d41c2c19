// The functions of Go's text/template itself (pkg.go.dev/text/template, "Functions"); `and` and `or` are the evaluator's.
import { bytesOfText } from "../byte-text.ts";
import { Fault } from "../fault.ts";
import { any, type Functions, takes, takesMany, text } from "../function.ts";
import { indexOf } from "../members.ts";
import { formatText } from "../printf.ts";
import { textOfValue } from "../printing.ts";
import { compareTexts, isList, isMap, isTrue, JsonNumber, kindOf, type Value } from "../values.ts";

const HTML: Readonly<Record<string, string>> = {
  ...{ '"': "&#34;", "'": "&#39;", "&": "&amp;", "<": "&lt;", ">": "&gt;", "\0": "\ufffd" },
};
const JS: Readonly<Record<string, string>> = {
  ...{ "\\": "\\\\", "'": "\\'", '"': '\\"', "<": "\\u003C", ">": "\\u003E", "&": "\\u0026", "=": "\\u003D" },
};

export const builtins: Functions = {
  not: takes([any], ([value]) => !isTrue(value)),
  len: takes([any], ([value]) => lengthOf(value)),
  index: takesMany(1, any, ([value = null, ...keys]) => indexOf(value, keys)),
  slice: takesMany(1, any, ([value = null, ...bounds]) => sliceOf(value, bounds)),
  print: takesMany(0, any, (args) => printed(args)),
  println: takesMany(0, any, (args) => `${args.map(textOfValue).join(" ")}\n`),
  printf: takesMany(1, any, ([format = null, ...args]) => formatText(text(format), args)),
  html: takesMany(0, any, (args) => printed(args).replace(/["'&<>\0]/g, (c) => HTML[c] ?? c)),
  js: takesMany(0, any, (args) => escapeJs(printed(args))),
  urlquery: takesMany(0, any, (args) => escapeQuery(printed(args))),
  eq: takesMany(2, any, ([first = null, ...rest]) => rest.some((other) => isEqual(first, other))),
  ne: takes([any, any], ([a, b]) => !isEqual(a, b)),
  lt: takes([any, any], ([a, b]) => order(a, b) < 0),
  le: takes([any, any], ([a, b]) => order(a, b) <= 0),
  gt: takes([any, any], ([a, b]) => order(a, b) > 0),
  ge: takes([any, any], ([a, b]) => order(a, b) >= 0),
};

function lengthOf(value: Value): bigint {
  if (typeof value === "string") return BigInt(bytesOfText(value).length);
  if (value instanceof JsonNumber) return BigInt(value.text.length);
  if (isList(value)) return BigInt(value.length);
  if (isMap(value)) return BigInt(value.size);
  throw new Fault(`${kindOf(value)} has no length`);
}

function sliceOf(value: Value, bounds: readonly Value[]): Value {
  if (typeof value !== "string" && !isList(value)) throw new Fault(`${kindOf(value)} cannot be sliced`);
  const bytes = isList(value) ? value : bytesOfText(value);
  const [from = 0n, to = BigInt(bytes.length)] = bounds;
  if (typeof from !== "bigint" || typeof to !== "bigint" || bounds.length > 2)
    throw new Fault("wants two whole numbers");
  if (from < 0n || to > bytes.length || from > to) throw new Fault(`there are ${bytes.length} items only`);
  if (isList(value)) return value.slice(Number(from), Number(to));
  return bytesOfText(value).subarray(Number(from), Number(to)).toString("utf8");
}

/** fmt.Sprint: a space between two values of which neither is a text. */
function printed(args: readonly Value[]): string {
  let out = "";
  for (const [i, value] of args.entries()) {
    const before = args[i - 1];
    if (i > 0 && typeof value !== "string" && typeof before !== "string") out += " ";
    out += textOfValue(value);
  }
  return out;
}

function escapeJs(value: string): string {
  return value.replace(/[\\'"<>&=\p{Cc}]/gu, (c) => {
    return JS[c] ?? `\\u${c.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}`;
  });
}

function escapeQuery(value: string): string {
  let out = "";
  for (const byte of bytesOfText(value)) {
    const c = String.fromCharCode(byte);
    if (/[A-Za-z0-9_.~-]/.test(c)) out += c;
    else out += c === " " ? "+" : `%${byte.toString(16).toUpperCase().padStart(2, "0")}`;
  }
  return out;
}

type Basic = "text" | "integer" | "float" | "boolean" | undefined;

function basicOf(value: Value): Basic {
  if (typeof value === "string" || value instanceof JsonNumber) return "text";
  if (typeof value === "bigint") return "integer";
  if (typeof value === "number") return "float";
  return typeof value === "boolean" ? "boolean" : undefined;
}

/** Go compares only what is of one kind; a number of a secret is a text to it. */
function isEqual(a: Value, b: Value): boolean {
  if (a === null || b === null) return a === b;
  const kind = basicOf(a);
  if (kind === undefined || basicOf(b) === undefined)
    throw new Fault(`${kindOf(a)} and ${kindOf(b)} cannot be compared`);
  if (kind !== basicOf(b)) throw incomparable(a, b);
  return kind === "text" ? text(a) === text(b) : a === b;
}

function order(a: Value, b: Value): number {
  const kind = basicOf(a);
  if (kind === undefined || kind === "boolean" || kind !== basicOf(b)) throw incomparable(a, b);
  if (kind === "text") return compareTexts(text(a), text(b));
  if ((typeof a === "bigint" && typeof b === "bigint") || (typeof a === "number" && typeof b === "number")) {
    return a < b ? -1 : a > b ? 1 : 0;
  }
  throw incomparable(a, b);
}

function incomparable(a: Value, b: Value): Fault {
  const hint =
    a instanceof JsonNumber || b instanceof JsonNumber ? ": put the number into quotes, or use parseInt" : "";
  return new Fault(`${kindOf(a)} and ${kindOf(b)} of another kind cannot be compared${hint}`);
}

// printf with the verbs of Go's package fmt that templates use: %v %s %q %d %t %x %X %o %b %c %e %f %g %T %%, with flags,
// width and precision. What does not fit is written into the output as Go does it: %!d(string=x), %!v(MISSING).
import { bytesOfText } from "./byte-text.ts";
import { exponential, floatText, textOfValue } from "./printing.ts";
import { isList, JsonNumber, typeOf, type Value } from "./values.ts";

/** Wider than this is %!(BADWIDTH), as with Go; a wide column is no way to use up memory. */
const WIDTH_MAX = 10_000;
/** The most that toFixed gives, which is every digit of a half. */
const FIXED_DIGITS_MAX = 100;
const DIRECTIVE = /%([-+# 0]*)(\*|\d+)?(?:\.(\*|\d*))?([\s\S]?)/gu;

interface Directive {
  readonly flags: string;
  readonly width: number;
  readonly precision: number | undefined;
  readonly verb: string;
}

export function formatText(format: string, args: readonly Value[]): string {
  let next = 0;
  const number = (given: string | undefined): number | undefined => {
    if (given !== "*") return given === undefined ? undefined : Number(given);
    const value = args[next++];
    return typeof value === "bigint" ? Number(value) : Number.NaN;
  };
  const text = format.replace(DIRECTIVE, (_all, flags: string, width, precision, verb: string) => {
    const directive = { flags, width: number(width) ?? 0, precision: number(precision), verb };
    if (verb === "%") return "%";
    if (verb === "") return "%!(NOVERB)";
    if (!(Math.abs(directive.width) <= WIDTH_MAX)) return `%!(BADWIDTH)`;
    if (!((directive.precision ?? 0) <= WIDTH_MAX)) return `%!(BADPREC)`;
    const value = args[next];
    if (next++ >= args.length || value === undefined) return `%!${verb}(MISSING)`;
    return formatOne(value, directive);
  });
  const extra = args.slice(next).map((value) => (value === null ? "<nil>" : `${typeOf(value)}=${textOfValue(value)}`));
  return extra.length === 0 ? text : `${text}%!(EXTRA ${extra.join(", ")})`;
}

function formatOne(value: Value, directive: Directive): string {
  const { verb } = directive;
  if (verb === "T") return pad(typeOf(value), directive);
  if (verb === "v") return formatDefault(value, directive);
  if (value === null) return `%!${verb}(<nil>)`;
  if (isList(value)) return `[${value.map((item) => formatOne(item, directive)).join(" ")}]`;
  if (typeof value === "boolean" && verb === "t") return pad(String(value), directive);
  const content = value instanceof JsonNumber ? value.text : value;
  const text =
    typeof content === "string"
      ? stringVerb(content, directive)
      : typeof content === "bigint"
        ? integerVerb(content, directive)
        : typeof content === "number"
          ? floatVerb(content, directive)
          : undefined;
  return text ?? `%!${verb}(${typeOf(value)}=${textOfValue(value)})`;
}

function formatDefault(value: Value, given: Directive): string {
  // %+v is about names of fields, not about signs.
  const directive = { ...given, flags: given.flags.replaceAll("+", "") };
  if (typeof value === "bigint") return integerVerb(value, { ...directive, verb: "d" }) ?? "";
  if (typeof value === "number") return floatVerb(value, { ...directive, verb: "g" }) ?? "";
  if (typeof value === "string")
    return stringVerb(value, { ...directive, verb: directive.flags.includes("#") ? "q" : "s" }) ?? "";
  return pad(textOfValue(value), directive);
}

function stringVerb(text: string, directive: Directive): string | undefined {
  const cut = directive.precision === undefined ? text : [...text].slice(0, directive.precision).join("");
  switch (directive.verb) {
    case "s":
      return pad(cut, directive);
    case "q":
      return pad(directive.flags.includes("#") && !cut.includes("`") ? `\`${cut}\`` : quoteGo(cut), directive);
    case "x":
    case "X": {
      const hex = bytesOfText(text).subarray(0, directive.precision).toString("hex");
      return pad(directive.verb === "x" ? hex : hex.toUpperCase(), directive);
    }
  }
  return undefined;
}

const RADIX: Readonly<Record<string, number>> = { d: 10, x: 16, X: 16, o: 8, b: 2 };
const PREFIX: Readonly<Record<string, string>> = { x: "0x", X: "0X", o: "0", b: "0b" };

function integerVerb(value: bigint, directive: Directive): string | undefined {
  const { verb, flags, precision } = directive;
  if (verb === "c" || verb === "q") {
    const character = value >= 0n && value <= 0x10ffffn ? String.fromCodePoint(Number(value)) : "\ufffd";
    return pad(verb === "c" ? character : quoteGo(character, "'"), directive);
  }
  if (verb === "U") return pad(`U+${value.toString(16).toUpperCase().padStart(4, "0")}`, directive);
  const radix = RADIX[verb];
  if (radix === undefined) return undefined;
  const magnitude = (value < 0n ? -value : value).toString(radix);
  const digits = (verb === "X" ? magnitude.toUpperCase() : magnitude).padStart(precision ?? 0, "0");
  const prefix = flags.includes("#") ? (PREFIX[verb] ?? "") : "";
  return padNumber(
    signOf(value < 0n, flags),
    prefix + digits,
    { ...directive, precision: undefined },
    precision !== undefined,
  );
}

function floatVerb(value: number, directive: Directive): string | undefined {
  const { verb, precision, flags } = directive;
  const magnitude = Math.abs(value);
  let digits: string | undefined;
  if (verb === "f" || verb === "F") digits = fixed(magnitude, precision ?? 6);
  else if (verb === "e" || verb === "E") digits = exponential(magnitude, Math.min(precision ?? 6, 100));
  else if (verb === "g" || verb === "G")
    digits = precision === undefined ? floatText(magnitude) : general(magnitude, precision);
  if (digits === undefined) return undefined;
  if (verb === "E" || verb === "G") digits = digits.toUpperCase();
  return padNumber(signOf(value < 0 || Object.is(value, -0), flags), digits, directive, false);
}

/** toFixed takes 100 digits at most, turns to exponents from 1e21 on, and rounds halves up where Go rounds them to even. */
function fixed(value: number, digits: number): string {
  if (!Number.isFinite(value)) return "+Inf";
  if (value >= 1e21) return digits === 0 ? BigInt(value).toString() : `${BigInt(value)}.${"0".repeat(digits)}`;
  const exact = value.toFixed(FIXED_DIGITS_MAX);
  const end = exact.length - FIXED_DIGITS_MAX + digits;
  const isHalf = /^50*$/.test(exact.slice(end));
  const kept = digits === 0 ? exact.slice(0, end - 1) : exact.slice(0, end);
  return isHalf && /[02468]$/.test(kept) ? kept : value.toFixed(Math.min(digits, FIXED_DIGITS_MAX)).padEnd(end, "0");
}

function general(value: number, precision: number): string {
  const digits = Math.min(Math.max(precision, 1), 100);
  const exponent = Number(value.toExponential(digits - 1).split("e")[1]);
  if (exponent >= -4 && exponent < digits) return String(Number(value.toPrecision(digits)));
  return exponential(value, digits - 1).replace(/\.?0+e/, "e");
}

function signOf(isNegative: boolean, flags: string): string {
  if (isNegative) return "-";
  return flags.includes("+") ? "+" : flags.includes(" ") ? " " : "";
}

function padNumber(sign: string, digits: string, directive: Directive, hasPrecision: boolean): string {
  const { flags, width } = directive;
  if (flags.includes("0") && !flags.includes("-") && !hasPrecision)
    return sign + digits.padStart(width - sign.length, "0");
  return pad(sign + digits, directive);
}

function pad(text: string, { flags, width }: Directive): string {
  const missing = Math.abs(width) - [...text].length;
  if (missing <= 0) return text;
  if (flags.includes("-") || width < 0) return text + " ".repeat(missing);
  return (flags.includes("0") ? "0" : " ").repeat(missing) + text;
}

const ESCAPES: Readonly<Record<string, string>> = {
  ...{ "\x07": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v", "\\": "\\\\" },
};
const PRINTABLE = /[\p{L}\p{M}\p{N}\p{P}\p{S} ]/u;

/** A Go literal, as strconv.Quote writes it. */
export function quoteGo(text: string, quote = '"'): string {
  let out = "";
  for (const c of text) {
    const code = c.codePointAt(0) ?? 0;
    if (c === quote) out += `\\${c}`;
    else if (ESCAPES[c] !== undefined) out += ESCAPES[c];
    else if (code >= 0xdc80 && code <= 0xdcff) out += `\\x${(code - 0xdc00).toString(16)}`;
    else if (PRINTABLE.test(c)) out += c;
    else if (code < 0x80) out += `\\x${code.toString(16).padStart(2, "0")}`;
    else
      out += code < 0x10000 ? `\\u${code.toString(16).padStart(4, "0")}` : `\\U${code.toString(16).padStart(8, "0")}`;
  }
  return quote + out + quote;
}

// consul-template's functions on numbers and time. In arithmetic the second argument is the one worked on: 5 | subtract 2.
import { Fault } from "../fault.ts";
import { any, type Functions, integer, takes, takesMany, text } from "../function.ts";
import { kindOf, type Value } from "../values.ts";

/** int64 of Go. */
const INTEGER_BITS = 64;
const WHOLE = /^[+-]?\d+$/;
const FLOAT = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$/;
const TRUE = ["1", "t", "T", "true", "TRUE", "True"];
const FALSE = ["0", "f", "F", "false", "FALSE", "False"];

export const numbers: Functions = {
  parseInt: takes([text], ([value]) => parseWhole(value, true)),
  parseUint: takes([text], ([value]) => parseWhole(value, false)),
  parseFloat: takes([text], ([value]) => parseReal(value)),
  parseBool: takes([text], ([value]) => parseTruth(value)),
  add: arithmetic(
    (a, b) => a + b,
    (a, b) => a + b,
  ),
  subtract: arithmetic(
    (a, b) => a - b,
    (a, b) => a - b,
  ),
  multiply: arithmetic(
    (a, b) => a * b,
    (a, b) => a * b,
  ),
  divide: arithmetic(
    (a, b) => a / nonZero(b),
    (a, b) => a / b,
  ),
  modulo: arithmetic((a, b) => a % nonZero(b), undefined),
  minimum: arithmetic(smaller, Math.min),
  maximum: arithmetic(larger, Math.max),
  loop: takesMany(1, any, (args, { budget }) => {
    const [from, to] = args.length === 1 ? [0, loopBound(args[0])] : [loopBound(args[0]), loopBound(args[1])];
    if (args.length > 2) throw new Fault("wants 1 or 2 arguments");
    const count = Math.max(0, to - from);
    budget.produce(count);
    return Array.from({ length: count }, (_, i) => BigInt(from + i));
  }),
  timestamp: takesMany(0, text, ([format], { host }) => timeText(host.now(), format)),
};

/** Math.max takes no bigint. */
export function larger(a: bigint, b: bigint): bigint {
  if (a > b) return a;
  return b;
}

export function smaller(a: bigint, b: bigint): bigint {
  if (a > b) return b;
  return a;
}

function loopBound(value: Value = null): number {
  return typeof value === "string" ? Number(parseWhole(value, true)) : integer(value);
}

function parseWhole(value: string, signed: boolean): bigint {
  if (value === "") return 0n;
  if (!WHOLE.test(value) || (!signed && !/^\d/.test(value))) throw new Fault("the text is no whole number");
  const number = BigInt(value.replace(/^\+/, ""));
  const fits = signed
    ? BigInt.asIntN(INTEGER_BITS, number) === number
    : BigInt.asUintN(INTEGER_BITS, number) === number;
  if (!fits) throw new Fault("the number does not fit into 64 bits");
  return number;
}

function parseReal(value: string): number {
  if (value === "") return 0;
  if (!FLOAT.test(value)) throw new Fault("the text is no number");
  return Number(value);
}

function parseTruth(value: string): boolean {
  if (value === "" || FALSE.includes(value)) return false;
  if (TRUE.includes(value)) return true;
  throw new Fault("the text is neither true nor false");
}

function nonZero(value: bigint): bigint {
  if (value === 0n) throw new Fault("division by zero");
  return value;
}

type Whole = (a: bigint, b: bigint) => bigint;
type Real = (a: number, b: number) => number;

function arithmetic(whole: Whole, real: Real | undefined) {
  return takes([any, any], ([b, a]) => {
    if (typeof a === "bigint" && typeof b === "bigint") return BigInt.asIntN(INTEGER_BITS, whole(a, b));
    if (real === undefined) throw new Fault("wants whole numbers");
    return real(realOf(a), realOf(b));
  });
}

function realOf(value: Value): number {
  if (typeof value === "bigint" || typeof value === "number") return Number(value);
  throw new Fault(`wants numbers and has ${kindOf(value)}: use parseInt or parseFloat`);
}

const MONTHS = "January February March April May June July August September October November December".split(" ");
const DAYS = "Sunday Monday Tuesday Wednesday Thursday Friday Saturday".split(" ");
/** The parts of Go's reference time, Mon Jan 2 15:04:05 MST 2006 (pkg.go.dev/time, "Constants"); the longest come first. */
const LAYOUT = /January|Jan|Monday|Mon|MST|2006|-07:00|-0700|Z07:00|01|02|03|04|05|06|15|PM|_2|1|2|3|4|5/g;

/** In UTC. */
function timeText(millis: number, format: string | undefined): string {
  const time = new Date(millis);
  if (format === undefined) return time.toISOString().replace(/\.\d+Z$/, "Z");
  if (format === "unix") return String(Math.floor(millis / 1000));
  const two = (value: number) => String(value).padStart(2, "0");
  const month = MONTHS[time.getUTCMonth()] ?? "";
  const weekday = DAYS[time.getUTCDay()] ?? "";
  const [date, hours, minutes, seconds] = [
    time.getUTCDate(),
    time.getUTCHours(),
    time.getUTCMinutes(),
    time.getUTCSeconds(),
  ];
  const twelve = hours % 12 === 0 ? 12 : hours % 12;
  const year = String(time.getUTCFullYear());
  const parts: Readonly<Record<string, string>> = {
    ...{ January: month, Jan: month.slice(0, 3), Monday: weekday, Mon: weekday.slice(0, 3), MST: "UTC" },
    ...{ "2006": year, "06": year.slice(2), "01": two(time.getUTCMonth() + 1), "1": String(time.getUTCMonth() + 1) },
    ...{ "02": two(date), "2": String(date), _2: String(date).padStart(2), "15": two(hours), "03": two(twelve) },
    ...{ "3": String(twelve), "04": two(minutes), "4": String(minutes), "05": two(seconds), "5": String(seconds) },
    ...{ PM: hours < 12 ? "AM" : "PM", "-07:00": "+00:00", "-0700": "+0000", "Z07:00": "Z" },
  };
  return format.replace(LAYOUT, (part) => parts[part] ?? part);
}

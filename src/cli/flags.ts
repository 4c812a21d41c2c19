// Flags as Vault's and Go's: one dash or two, `-name=value` or `-name value`, switches alone. They may stand anywhere
// before `--`; a lone `-` is an argument (standard input).
import { CofferError } from "#common/errors.ts";

export interface Flag {
  readonly kind: "text" | "number" | "switch" | "texts" | "pairs";
  readonly help: string;
}
export type Flags = Readonly<Record<string, Flag>>;
interface ValueOf {
  text: string | undefined;
  number: number | undefined;
  switch: boolean;
  texts: readonly string[];
  pairs: Readonly<Record<string, string>>;
}
/** The values of declared flags; what was not given is undefined, false or empty. */
export type FlagValues<F extends Flags> = { readonly [N in keyof F]: ValueOf[F[N]["kind"]] };

export interface ParsedArguments<F extends Flags> {
  readonly flags: FlagValues<F>;
  readonly args: readonly string[];
}

/** Splits a command's arguments. Throws `invalid_request` for an unknown flag or a value that does not fit. */
export function parseFlags<const F extends Flags>(declared: F, argv: readonly string[]): ParsedArguments<F> {
  const given = new Map<string, string[]>();
  const args: string[] = [];
  for (let i = 0; i < argv.length; i++) {
    const word = argv[i] ?? "";
    if (word === "--") {
      args.push(...argv.slice(i + 1));
      break;
    }
    if (!word.startsWith("-") || word === "-") {
      args.push(word);
      continue;
    }
    const [, name = "", inline] = /^--?([^=]+)(?:=([\s\S]*))?$/.exec(word) ?? [];
    const flag = Object.hasOwn(declared, name) ? declared[name] : undefined;
    if (flag === undefined) throw usage(`unknown flag ${word.split("=")[0]}`);
    const value = inline ?? (flag.kind === "switch" ? "true" : argv[++i]);
    if (value === undefined) throw usage(`the flag -${name} needs a value`);
    given.set(name, [...(given.get(name) ?? []), value]);
  }
  const values = Object.entries(declared).map(([name, flag]) => [name, convert(name, flag, given.get(name) ?? [])]);
  // Each value was made by `convert` for the kind that FlagValues maps its name to.
  return { flags: Object.fromEntries(values) as FlagValues<F>, args };
}

function convert(name: string, flag: Flag, given: readonly string[]): unknown {
  const last = given.at(-1);
  switch (flag.kind) {
    case "text":
      return last;
    case "texts":
      return given.flatMap((value) => value.split(",")).filter((value) => value !== "");
    case "pairs":
      return Object.fromEntries(given.map((value) => pair(name, value)));
    case "switch":
      return last !== undefined && switchValue(name, last);
    case "number":
      if (last === undefined) return undefined;
      if (!/^-?\d{1,15}$/.test(last)) throw usage(`the flag -${name} needs a whole number`);
      return Number(last);
  }
}

function pair(name: string, value: string): [string, string] {
  const at = value.indexOf("=");
  if (at < 1) throw usage(`the flag -${name} needs key=value`);
  return [value.slice(0, at), value.slice(at + 1)];
}

function switchValue(name: string, text: string): boolean {
  if (/^(1|t|true)$/i.test(text)) return true;
  if (/^(0|f|false)$/i.test(text)) return false;
  throw usage(`the flag -${name} is either true or false`);
}

function usage(message: string): CofferError {
  return new CofferError("invalid_request", message);
}

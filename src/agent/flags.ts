// The flags of `coffer agent`, spelled as those of `vault agent`: one dash or two, a value behind "=" or a space.
import { CofferError } from "#common/errors.ts";
import type { LogFormat, LogLevel } from "#common/log.ts";

export interface AgentFlags {
  readonly configFiles: readonly string[];
  readonly logLevel: LogLevel | undefined;
  readonly logFormat: LogFormat | undefined;
  readonly logFile: string | undefined;
  readonly exitAfterAuth: boolean;
  readonly checkReady: boolean;
  readonly help: boolean;
}

const LEVELS: Readonly<Record<string, LogLevel>> = {
  ...{ trace: "debug", debug: "debug", info: "info", warn: "warn", error: "error", err: "error" },
};
const FORMATS: Readonly<Record<string, LogFormat>> = { standard: "text", text: "text", json: "json" };
const SWITCHES = new Set(["exit-after-auth", "check-ready", "help", "h"]);
const VALUES = new Set(["config", "log-level", "log-format", "log-file"]);

/** Throws `invalid_request` for what is no flag, or a value that is none. */
export function parseAgentFlags(argv: readonly string[]): AgentFlags {
  const values = new Map<string, string[]>();
  for (let i = 0; i < argv.length; i++) {
    const word = argv[i] ?? "";
    const [, name = "", inline] = /^--?([a-z-]+)(?:=([\s\S]*))?$/.exec(word) ?? [];
    if (!SWITCHES.has(name) && !VALUES.has(name)) {
      throw wrong(`"${word.split("=")[0]}" is no flag of it; a configuration is given with -config=FILE`);
    }
    const value = inline ?? (SWITCHES.has(name) ? "true" : argv[++i]);
    if (value === undefined) throw wrong(`the flag -${name} needs a value`);
    if (SWITCHES.has(name) && value !== "true" && value !== "false") throw wrong(`-${name} is either true or false`);
    values.set(name, [...(values.get(name) ?? []), value]);
  }
  const isSet = (name: string) => values.get(name)?.at(-1) === "true";
  return {
    configFiles: values.get("config") ?? [],
    logLevel: oneOf("log-level", LEVELS, values),
    logFormat: oneOf("log-format", FORMATS, values),
    logFile: values.get("log-file")?.at(-1),
    exitAfterAuth: isSet("exit-after-auth"),
    checkReady: isSet("check-ready"),
    help: isSet("help") || isSet("h"),
  };
}

function oneOf<T>(name: string, words: Readonly<Record<string, T>>, values: Map<string, string[]>): T | undefined {
  const given = values.get(name)?.at(-1);
  if (given === undefined) return undefined;
  const known = Object.hasOwn(words, given.toLowerCase()) ? words[given.toLowerCase()] : undefined;
  if (known === undefined) throw wrong(`-${name} must be one of ${Object.keys(words).join(", ")}`);
  return known;
}

function wrong(message: string): CofferError {
  return new CofferError("invalid_request", message);
}

// The options that every device has, read from the texts that clients send.
import { parseDurationSeconds } from "#common/duration.ts";
import { CofferError } from "#common/errors.ts";
import type { DeviceOptions } from "./audit-device.ts";
import { type Exclusion, parseExclusions } from "./selection/exclusions.ts";
import { type Expression, parseExpression } from "./selection/expression.ts";

/** Name and a sentence each, for messages and pages. */
export const COMMON_OPTIONS: Readonly<Record<string, string>> = {
  log_raw: "`true` writes values as they are instead of their HMAC. For devices whose readers may see every secret.",
  hmac_accessor: "`false` writes the accessors of tokens in clear; `true` by default.",
  elide_list_responses: "`true` writes how many names a list answered instead of the names.",
  prefix: "Stands before every line.",
  format: "`json`; there is no other.",
  filter: "Which entries this device takes, an expression.",
  exclude: "What this device leaves out of entries, a JSON list of { condition, fields }.",
  fallback: "`true` for the one device that takes what the filters of all others reject.",
  write_timeout: "How long the device may take for a write, 10ms to 1m; 2s by default.",
  skip_test: "`true` enables the device without trying whether it can be reached.",
};

/** A request waits this long for a device that hangs, once. Vault's default for sockets. */
const TIMEOUT_MILLIS = 2_000;
const TIMEOUT_MILLIS_MIN = 10;
const TIMEOUT_MILLIS_MAX = 60_000;
const PREFIX_CHARACTERS_MAX = 1_000;

export interface CommonOptions {
  readonly raw: boolean;
  readonly hmacAccessor: boolean;
  readonly elideListResponses: boolean;
  readonly prefix: string;
  readonly filter: Expression | undefined;
  readonly exclusions: readonly Exclusion[];
  readonly fallback: boolean;
  readonly timeoutMillis: number;
  readonly skipTest: boolean;
}

/** Throws `invalid_request` naming the option that is wrong, or that the type of device does not have. */
export function parseCommonOptions(options: DeviceOptions, own: Readonly<Record<string, string>>): CommonOptions {
  const unknown = Object.keys(options).find((name) => !(name in COMMON_OPTIONS) && !(name in own));
  if (unknown !== undefined) {
    const known = [...Object.keys(own), ...Object.keys(COMMON_OPTIONS)].join(", ");
    throw new CofferError("invalid_request", `there is no option ${JSON.stringify(unknown)}; this device has ${known}`);
  }
  const filter = options["filter"] ? parseExpression(options["filter"]) : undefined;
  const fallback = flagOf(options, "fallback", false);
  if (fallback && filter)
    throw new CofferError("invalid_request", "fallback and filter exclude each other: a fallback takes what is left");
  return {
    raw: flagOf(options, "log_raw", false),
    hmacAccessor: flagOf(options, "hmac_accessor", true),
    elideListResponses: flagOf(options, "elide_list_responses", false),
    prefix: prefixOf(options),
    filter,
    exclusions: options["exclude"] ? parseExclusions(options["exclude"]) : [],
    fallback,
    timeoutMillis: timeoutOf(options),
    skipTest: flagOf(options, "skip_test", false),
  };
}

function flagOf(options: DeviceOptions, name: string, fallback: boolean): boolean {
  const text = options[name];
  if (text === undefined || text === "") return fallback;
  if (/^(1|t|true)$/i.test(text)) return true;
  if (/^(0|f|false)$/i.test(text)) return false;
  throw new CofferError("invalid_request", `${name} must be true or false, not ${JSON.stringify(text)}`);
}

function prefixOf({ prefix = "", format = "json" }: DeviceOptions): string {
  if (format !== "json")
    throw new CofferError("invalid_request", `format must be json, not ${JSON.stringify(format)}: there is no other`);
  if (prefix.length > PREFIX_CHARACTERS_MAX || /[\r\n]/.test(prefix))
    throw new CofferError("invalid_request", `prefix must be at most ${PREFIX_CHARACTERS_MAX} characters on one line`);
  return prefix;
}

function timeoutOf({ write_timeout: text }: DeviceOptions): number {
  if (text === undefined || text === "") return TIMEOUT_MILLIS;
  const seconds = /^\d+ms$/.test(text) ? Number.parseInt(text, 10) / 1000 : parseDurationSeconds(text);
  const millis = (seconds ?? Number.NaN) * 1000;
  if (millis >= TIMEOUT_MILLIS_MIN && millis <= TIMEOUT_MILLIS_MAX) return millis;
  throw new CofferError("invalid_request", `write_timeout must be from 10ms to 1m, not ${JSON.stringify(text)}`);
}

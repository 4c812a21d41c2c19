// Reading seal stanzas: which members are known, and durations as Vault's configuration spells them.
import { CofferError } from "#common/errors.ts";
import type { JsonObject, JsonValue } from "#common/json.ts";
import { STANZA_MEMBERS } from "./seal-types.ts";

/** Throws `invalid_request` naming the first member that is neither common to all seals nor in `known`. */
export function assertKnownMembers(type: string, config: JsonObject, known: readonly string[]): void {
  const all = [...STANZA_MEMBERS, ...known];
  const unknown = Object.keys(config).find((member) => !all.includes(member));
  if (unknown === undefined) return;
  throw new CofferError(
    "invalid_request",
    `seal ${type}: ${unknown} is not a setting of this seal; it knows ${all.join(", ")}`,
  );
}

/** The name of a seal: the member `name`, else its type. */
export function sealName(type: string, config: JsonObject): string {
  const name = config["name"];
  if (name === undefined || name === null) return type;
  if (typeof name === "string" && /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/.test(name)) return name;
  throw new CofferError(
    "invalid_request",
    `seal ${type}: name must be 1 to 63 letters, digits, dots, dashes or underscores`,
  );
}

const UNIT_MILLIS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000 };

/** Milliseconds of 5 (seconds), "5", "5s", "500ms" or "1m". Throws `invalid_request` naming the member. */
export function durationMillis(path: string, value: JsonValue): number {
  if (typeof value === "number" && value > 0) return value * 1000;
  const match = typeof value === "string" ? /^(\d{1,9})(ms|s|m)?$/.exec(value) : null;
  const millis = Number(match?.[1]) * (UNIT_MILLIS[match?.[2] ?? "s"] ?? Number.NaN);
  if (millis > 0) return millis;
  throw new CofferError("invalid_request", `${path} must be a duration such as "5s" or "500ms"`);
}

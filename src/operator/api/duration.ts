// Lengths of time in resources, written as Kubernetes does ("90s", "1h30m"), and the field for them.
import type { Seconds } from "#common/clock.ts";
import { CofferError } from "#common/errors.ts";
import { type Field, type Rule, text } from "./fields.ts";

const UNITS: Readonly<Record<string, Seconds>> = { s: 1, m: 60, h: 3600 };
const WHOLE = /^([0-9]{1,9}[smh])+$/;
const PART = /([0-9]+)([smh])/g;

/** CEL that holds when the text is a length of time; rules that compute with it are guarded by this one. */
export const IS_DURATION = "self.matches('^([0-9]{1,9}[smh])+$')";

/** A length of time as a field; further rules may call `duration(self)` behind IS_DURATION. */
export function duration(description: string, rules: readonly Rule[] = []): Field<string> {
  return text(description, 32, [
    { rule: IS_DURATION, message: "write the duration in seconds, minutes and hours, such as 90s, 5m or 1h30m" },
    ...rules,
  ]);
}

/** "1h30m" → 5400. Throws `invalid_request` when it is not a length of time. */
export function durationSeconds(value: string): Seconds {
  if (!WHOLE.test(value)) {
    throw new CofferError("invalid_request", `write the duration ${JSON.stringify(value)} as 90s, 5m or 1h30m`);
  }
  let total = 0;
  for (const [, amount = "0", unit = "s"] of value.matchAll(PART)) total += Number(amount) * (UNITS[unit] ?? 0);
  return total;
}

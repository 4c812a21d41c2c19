// Values as Go prints them by default (fmt's verb %v), in a template's output and in printf.
import { Fault } from "./fault.ts";
import { isList, isMap, JsonNumber, Struct, sortedEntries, type Value } from "./values.ts";

/** What an action prints: nothing there is `<no value>`. */
export function outputOf(value: Value): string {
  return value === null ? "<no value>" : textOfValue(value);
}

/** As %v. A structure as a whole is refused: nobody means `&{ 0 false map[…] [] <nil> }` in a file. */
export function textOfValue(value: Value): string {
  if (value === null) return "<nil>";
  if (typeof value === "string") return value;
  if (value instanceof JsonNumber) return value.text;
  if (typeof value === "number") return floatText(value);
  if (isList(value)) return `[${value.map(textOfValue).join(" ")}]`;
  if (isMap(value)) {
    return `map[${sortedEntries(value)
      .map(([key, member]) => `${key}:${textOfValue(member)}`)
      .join(" ")}]`;
  }
  if (value instanceof Struct) {
    throw new Fault("a secret as a whole cannot be written: name what of it is wanted, such as .Data.data.password");
  }
  return String(value);
}

/** %g with the fewest digits: with an exponent below 1e-4 and from 1e6 on. */
export function floatText(value: number): string {
  if (Number.isNaN(value)) return "NaN";
  if (!Number.isFinite(value)) return value > 0 ? "+Inf" : "-Inf";
  if (Object.is(value, -0)) return "-0";
  const exponent = Number(value.toExponential().split("e")[1]);
  return exponent < -4 || exponent >= 6 ? exponential(value, undefined) : String(value);
}

/** %e: at least two digits of exponent. */
export function exponential(value: number, digits: number | undefined): string {
  return value.toExponential(digits).replace(/e([+-])(\d)$/, "e$10$2");
}

// Tables for people, aligned as Vault's CLI aligns them, and the words it uses for durations and empty values.
import { isNumberLiteral, type JsonObject, type JsonValue } from "#common/json.ts";

/** Between two columns. */
const GAP = "    ";

export type Row = readonly string[];

/** Lines of a table: a head, dashes below it, and the rows, every column but the last padded. */
export function table(head: Row, rows: readonly Row[]): string {
  const all = [head, head.map((name) => "-".repeat(name.length)), ...rows];
  const widths = head.map((_, column) => Math.max(...all.map((row) => (row[column] ?? "").length)));
  return all
    .map((row) => row.map((cell, i) => (i === row.length - 1 ? cell : cell.padEnd(widths[i] ?? 0))).join(GAP))
    .map((line) => `${line.trimEnd()}\n`)
    .join("");
}

/** Rows of an object, its keys in order. */
export function rowsOf(data: JsonObject): Row[] {
  return Object.keys(data)
    .sort()
    .map((key) => [key, cell(data[key])]);
}

/** A value in a table: lists, maps and null as Go prints them, since that is what people know. */
export function cell(value: JsonValue | undefined): string {
  if (value === undefined || value === null) return "<nil>";
  if (typeof value === "string") return value;
  if (isNumberLiteral(value)) return value.rawJSON;
  if (Array.isArray(value)) return `[${value.map(cell).join(" ")}]`;
  if (typeof value !== "object") return String(value);
  return `map[${rowsOf(Object.fromEntries(Object.entries(value)))
    .map(([key, text]) => `${key}:${text}`)
    .join(" ")}]`;
}

/** Seconds as Vault's tables show them: "768h", "1h30m", "20s". */
export function duration(seconds: number): string {
  if (seconds === 0) return "0s";
  const whole = Math.trunc(seconds);
  const parts: [number, string][] = [
    [Math.floor(whole / 3600), "h"],
    [Math.floor((whole % 3600) / 60), "m"],
    [whole % 60, "s"],
  ];
  return parts
    .filter(([count]) => count > 0)
    .map(([count, unit]) => `${count}${unit}`)
    .join("");
}

/** A title centred over a table of these keys. */
export function title(text: string, data: JsonObject): string {
  const width = Math.max(...Object.keys(data).map((key) => key.length), 0) + GAP.length + "Value".length;
  const signs = "=".repeat(Math.max(Math.floor((width - text.length - 2) / 2), 0));
  return signs === "" ? `${text}\n` : `${signs} ${text} ${signs}\n`;
}

// What an event is about. Pure. The shape is CloudEvents' JSON with the members that servers of this API put in its data.
import { isJsonObject, type JsonValue, parseJson } from "#common/json.ts";

/** The event's data path ("secret/data/team/db"); undefined when that cannot be told. */
export function changedPath(text: string): string | undefined {
  const path = member(parsed(text), "data", "event", "metadata", "data_path");
  return typeof path === "string" ? path : undefined;
}

function member(value: JsonValue | undefined, ...names: readonly string[]): JsonValue | undefined {
  return names.reduce((inner, name) => (isJsonObject(inner) ? inner[name] : undefined), value);
}

function parsed(text: string): JsonValue | undefined {
  try {
    return parseJson(text);
  } catch {
    return undefined;
  }
}

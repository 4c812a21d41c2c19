// JSON merge patch (RFC 7396): members of the patch replace, `null` removes, objects merge, lists are replaced whole.
import { isJsonObject, type JsonObject, type JsonValue } from "./json.ts";

/** The target with the patch applied; neither is changed. */
export function mergePatch(target: JsonValue | undefined, patch: JsonObject): JsonObject {
  const merged = new Map<string, JsonValue>(isJsonObject(target) ? Object.entries(target) : []);
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) merged.delete(name);
    else merged.set(name, isJsonObject(value) ? mergePatch(merged.get(name), value) : value);
  }
  return Object.fromEntries(merged);
}

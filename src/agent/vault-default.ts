// What vault-k8s writes into a file that has no template: for "map" the output of
//   {{ with secret "PATH" }}{{ range $k, $v := .Data }}{{ $k }}: {{ $v }}\n{{ end }}{{ end }}
// and for "json" that of {{ with secret "PATH" }}{{ .Data | toJSON }}\n{{ end }}, byte for byte. Of KV v2 that is data and
// metadata as Go prints maps. No interpreter is needed for these two; held against Go's own in the test.
import { isJsonArray, isJsonObject, isNumberLiteral, type JsonObject, type JsonValue } from "#common/json.ts";

/** A line "key: value" for each key, in the order of their bytes. */
export function vaultMap(data: JsonObject): string {
  return sortedEntries(data)
    .map(([key, value]) => `${key}: ${value === null ? "<no value>" : goText(value)}\n`)
    .join("");
}

/** JSON on one line with its keys in order. Go's encoder escapes what HTML and JavaScript would read. */
export function vaultJson(data: JsonObject): string {
  const escaped = goJson(data).replace(
    /[<>&\u2028\u2029]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
  return `${escaped}\n`;
}

/** As fmt prints a value by %v. */
function goText(value: JsonValue): string {
  if (value === null) return "<nil>";
  if (isNumberLiteral(value)) return value.rawJSON;
  if (isJsonArray(value)) return `[${value.map(goText).join(" ")}]`;
  if (isJsonObject(value)) {
    return `map[${sortedEntries(value)
      .map(([key, member]) => `${key}:${goText(member)}`)
      .join(" ")}]`;
  }
  return String(value);
}

function goJson(value: JsonValue): string {
  if (isJsonArray(value)) return `[${value.map(goJson).join(",")}]`;
  if (!isJsonObject(value)) return JSON.stringify(value);
  return `{${sortedEntries(value)
    .map(([key, member]) => `${JSON.stringify(key)}:${goJson(member)}`)
    .join(",")}}`;
}

/** Go sorts the keys of maps by their bytes, which for UTF-8 is by code points. */
function sortedEntries(data: JsonObject): readonly (readonly [string, JsonValue])[] {
  return Object.entries(data).sort(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
}

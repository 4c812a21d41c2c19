// consul-template's functions between texts and data: base64, JSON and YAML.
import { parse, Scalar, stringify, type Tags } from "yaml";
import { CofferError } from "#common/errors.ts";
import { escapeForHtml, JSON_DEPTH_MAX, parseJson } from "#common/json.ts";
import { bytesOfText, textOfBytes } from "../byte-text.ts";
import { Fault } from "../fault.ts";
import { any, type Functions, takes, text } from "../function.ts";
import { fromJson, isList, isMap, JsonNumber, Struct, sortedEntries, toFloat, type Value } from "../values.ts";

/** As gopkg.in/yaml.v2 writes: lists are not indented within maps, nothing is folded, YAML 1.1's words are quoted. */
const YAML_WRITING = { indentSeq: false, lineWidth: 0, compat: "yaml-1.1", singleQuote: true } as const;
/** What a reader of YAML 1.1 would take for something else than a text; yaml.v2 puts it into double quotes. */
const AMBIGUOUS = /^(?:|~|null|y|n|yes|no|on|off|true|false|[-+]?[.\d][\d_.,:eExXoa-fA-F+-]*)$/i;
/** Of YAML 1.1 what yaml.v2 reads, without the tags that make neither texts nor numbers, lists or maps. */
const YAML_READING = { version: "1.1", intAsBigInt: true, logLevel: "silent", customTags: plainTags } as const;
const SPECIAL_TAG = /(?:timestamp|binary|omap|pairs|set)$/;
/** Anchors that stand for one another many times over make a small text a large one. */
const YAML_ALIASES_MAX = 100;

export const encodings: Functions = {
  base64Encode: takes([text], ([value]) => bytesOfText(value).toString("base64")),
  base64Decode: takes([text], ([value]) => decodeBase64(value)),
  base64URLEncode: takes([text], ([value]) => urlAlphabet(bytesOfText(value).toString("base64"))),
  base64URLDecode: takes([text], ([value]) => decodeBase64(value.replaceAll("-", "+").replaceAll("_", "/"))),
  toJSON: takes([any], ([value]) => escapeForHtml(jsonOf(value))),
  toJSONPretty: takes([any], ([value]) => escapeForHtml(jsonOf(value, "  "))),
  toUnescapedJSON: takes([any], ([value]) => jsonOf(value)),
  toUnescapedJSONPretty: takes([any], ([value]) => jsonOf(value, "  ")),
  parseJSON: takes([text], ([value]) => (value === "" ? new Map() : readJson(value))),
  toYAML: takes([any], ([value]) => stringify(yamlValue(value, 0), YAML_WRITING).trim()),
  parseYAML: takes([text], ([value]) => (value === "" ? new Map() : readYaml(value))),
};

export function decodeBase64(value: string): string {
  const given = value.replace(/[\r\n]/g, "");
  if (given.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(given)) throw new Fault("the text is no base64");
  return textOfBytes(Buffer.from(given, "base64"));
}

function urlAlphabet(value: string): string {
  return value.replaceAll("+", "-").replaceAll("/", "_");
}

/** JSON as Go's encoding/json writes it, but for the escapes of HTML. */
export function jsonOf(value: Value, indent = "", line = "\n"): string {
  if (line.length > JSON_DEPTH_MAX * 2) throw new Fault("the value is nested too deep");
  if (value === null || typeof value === "boolean" || typeof value === "bigint") return String(value);
  if (typeof value === "string") return stringOf(value);
  if (typeof value === "number") return floatOf(value);
  if (value instanceof JsonNumber) return value.text;
  if (value instanceof Struct)
    throw new Fault("a secret as a whole has no JSON: name what of it is wanted, such as .Data");
  const inner = line + indent;
  const [open, close] = isList(value) ? ["[", "]"] : ["{", "}"];
  const parts = isList(value)
    ? value.map((item) => jsonOf(item, indent, inner))
    : sortedEntries(value).map(
        ([key, member]) => `${stringOf(key)}:${indent === "" ? "" : " "}${jsonOf(member, indent, inner)}`,
      );
  if (indent === "" || parts.length === 0) return open + parts.join(",") + close;
  return open + inner + parts.join(`,${inner}`) + line + close;
}

function stringOf(value: string): string {
  return JSON.stringify(value.toWellFormed()).replaceAll("\u2028", "\\u2028").replaceAll("\u2029", "\\u2029");
}

/** An exponent below 1e-6 and from 1e21 on, where JavaScript's begins too; Go writes e-07 as e-7 as well. */
function floatOf(value: number): string {
  if (!Number.isFinite(value)) throw new Fault("JSON has no infinite numbers");
  return String(value);
}

function readJson(value: string): Value {
  return refusing("JSON", () => fromJson(parseJson(value), toFloat));
}

function readYaml(value: string): Value {
  return refusing("YAML", () => fromYaml(parse(value, { ...YAML_READING, maxAliasCount: YAML_ALIASES_MAX })));
}

/** The parsers' own messages quote the text, which is a secret. */
function refusing(what: string, read: () => Value): Value {
  try {
    return read();
  } catch (error) {
    if (error instanceof CofferError || error instanceof Error) throw new Fault(`the text is no ${what}`);
    throw error;
  }
}

function plainTags(tags: Tags): Tags {
  return tags.filter((tag) => typeof tag === "string" || !SPECIAL_TAG.test(tag.tag));
}

function fromYaml(value: unknown): Value {
  if (value === undefined || value === null) return null;
  if (Array.isArray(value)) return value.map(fromYaml);
  if (typeof value === "object") return new Map(Object.entries(value).map(([key, v]) => [key, fromYaml(v)]));
  if (typeof value === "string" || typeof value === "boolean" || typeof value === "bigint") return value;
  return typeof value === "number" ? value : String(value);
}

type YamlText = string | Scalar<string>;
type YamlValue = null | boolean | number | bigint | YamlText | YamlValue[] | Map<YamlText, YamlValue>;

function yamlValue(value: Value, depth: number): YamlValue {
  if (depth > JSON_DEPTH_MAX) throw new Fault("the value is nested too deep");
  if (value instanceof Struct)
    throw new Fault("a secret as a whole has no YAML: name what of it is wanted, such as .Data");
  if (value instanceof JsonNumber) return /^-?\d+$/.test(value.text) ? BigInt(value.text) : Number(value.text);
  if (isList(value)) return value.map((item) => yamlValue(item, depth + 1));
  if (isMap(value))
    return new Map(sortedEntries(value).map(([key, member]) => [yamlText(key), yamlValue(member, depth + 1)]));
  return typeof value === "string" ? yamlText(value) : value;
}

function yamlText(value: string): YamlText {
  const text = value.toWellFormed();
  if (!AMBIGUOUS.test(text)) return text;
  const scalar = new Scalar(text);
  scalar.type = Scalar.QUOTE_DOUBLE;
  return scalar;
}

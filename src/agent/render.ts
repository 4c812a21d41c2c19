// A secret's data as the content of files, purely: no disk, no network. One file for each format, and one per key for
// "PerKey". YAML's library is loaded only when a file wants it.
import { CofferError } from "#common/errors.ts";
import {
  encodeSorted,
  isJsonArray,
  isJsonObject,
  isNumberLiteral,
  type JsonObject,
  type JsonValue,
} from "#common/json.ts";
import type { FileConfig } from "./config.ts";
import { textOf, textOfKey } from "./values.ts";
import { vaultJson, vaultMap } from "./vault-default.ts";

/** A file to be; `path` is absolute. */
export interface RenderedFile {
  readonly path: string;
  readonly content: string | Buffer;
}

/** A key becomes a variable's name in "Env" only when a shell takes it. */
const SHELL_NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;
/** A key becomes a file's name in "PerKey": no folder, nothing hidden by accident ("..data"). */
const FILE_NAME = /^(?!\.{1,2}$)[^/\0]{1,255}$/;

/**
 * Renders one configured file. `passwordData` is what a keystore's password is in, when that is another source. Throws
 * `invalid_request` or `not_found` naming the key that does not fit.
 */
export async function renderFile(
  file: FileConfig,
  data: JsonObject,
  passwordData?: JsonObject,
): Promise<readonly RenderedFile[]> {
  if (file.format === "PerKey") return renderPerKey(file, data);
  if (file.format === "PKCS12" || file.format === "JKS") {
    return [{ path: file.path, content: await keystoreOf({ ...file, format: file.format }, data, passwordData) }];
  }
  return [{ path: file.path, content: await renderContent(file, data) }];
}

async function renderContent(file: FileConfig, data: JsonObject): Promise<string> {
  switch (file.format) {
    case "JSON":
      return `${JSON.stringify(sorted(data), undefined, 2)}\n`;
    case "YAML":
      return renderYaml(data);
    case "Env":
      return lines(data, (key, value) => `${shellName(key, file)}=${shellQuoted(value)}`);
    case "Properties":
      return lines(data, (key, value) => `${propertyEscaped(key, true)}=${propertyEscaped(value, false)}`);
    case "Raw":
      return textOfKey(data, file.key ?? "", file.source);
    case "Line":
      return `${textOfKey(data, file.key ?? "", file.source)}\n`;
    case "VaultMap":
      return vaultMap(data);
    case "VaultJSON":
      return vaultJson(data);
    case "PerKey":
      return encodeSorted(data);
    case "PKCS12":
    case "JKS":
    case "Template":
      throw new Error("a template is rendered by the template set, for it may ask for more than one source");
  }
}

async function keystoreOf(
  { format, keystore, source }: FileConfig & { readonly format: "PKCS12" | "JKS" },
  data: JsonObject,
  passwordData: JsonObject | undefined,
): Promise<Buffer> {
  if (keystore === undefined) throw new Error("the configuration was checked");
  const other = keystore.password.source;
  if (other !== undefined && passwordData === undefined) {
    throw new CofferError("not_found", `the source "${other}", which has the password, cannot be read`);
  }
  const { renderKeystore } = await import("./bundle/keystore.ts");
  return renderKeystore({ format, keystore, source, data, passwordData: passwordData ?? data });
}

function renderPerKey(file: FileConfig, data: JsonObject): RenderedFile[] {
  return Object.keys(data)
    .sort()
    .map((key) => {
      if (!FILE_NAME.test(key)) {
        throw new CofferError("invalid_request", `the key "${key}" of source "${file.source}" is no name of a file`);
      }
      return { path: `${file.path.replace(/\/+$/, "")}/${key}`, content: textOfKey(data, key, file.source) };
    });
}

function lines(data: JsonObject, line: (key: string, value: string) => string): string {
  return Object.keys(data)
    .sort()
    .map((key) => `${line(key, textOf(data[key] ?? null))}\n`)
    .join("");
}

/** The same value with its keys in order, so that equal secrets give equal files. */
function sorted(value: JsonValue): JsonValue {
  if (isJsonArray(value)) return value.map(sorted);
  if (!isJsonObject(value) || isNumberLiteral(value)) return value;
  return Object.fromEntries(
    Object.keys(value)
      .sort()
      .map((key) => [key, sorted(value[key] ?? null)]),
  );
}

async function renderYaml(data: JsonObject): Promise<string> {
  const { Document, Scalar } = await import("yaml");
  const node = (value: JsonValue): unknown => {
    if (isJsonArray(value)) return value.map(node);
    if (isJsonObject(value)) return Object.fromEntries(Object.entries(value).map(([key, v]) => [key, node(v)]));
    if (!isNumberLiteral(value)) return value;
    if (/^-?\d+$/.test(value.rawJSON)) return BigInt(value.rawJSON);
    const scalar = new Scalar(Number(value.rawJSON));
    scalar.minFractionDigits = /\.(\d+)$/.exec(value.rawJSON)?.[1]?.length ?? 0;
    return scalar;
  };
  // Readers of YAML 1.1 (Go, Python) take a bare "yes" for true, so what they would mistake is quoted.
  return new Document(node(sorted(data)), { compat: "yaml-1.1" }).toString({ lineWidth: 0 });
}

function shellName(key: string, file: FileConfig): string {
  if (SHELL_NAME.test(key)) return key;
  throw new CofferError(
    "invalid_request",
    `the key "${key}" of source "${file.source}" is no variable name; use another format for ${file.path}`,
  );
}

/** Single quotes keep everything but a single quote itself, which is written between two quoted pieces. */
function shellQuoted(value: string): string {
  return `'${value.replaceAll("'", "'\\''")}'`;
}

/** As java.util.Properties.store writes: ISO 8859-1 with \uXXXX, and separators escaped. */
function propertyEscaped(text: string, isKey: boolean): string {
  let out = "";
  for (const [index, unit] of text.split("").entries()) {
    const special = PROPERTY_ESCAPES[unit];
    const code = unit.charCodeAt(0);
    if (special !== undefined) out += special;
    else if (unit === " ") out += isKey || index === 0 ? "\\ " : " ";
    else if (code < 0x20 || code > 0x7e) out += `\\u${code.toString(16).padStart(4, "0")}`;
    else out += unit;
  }
  return out;
}

const PROPERTY_ESCAPES: Readonly<Record<string, string>> = {
  "\\": "\\\\",
  "\t": "\\t",
  "\n": "\\n",
  "\r": "\\r",
  "\f": "\\f",
  "=": "\\=",
  ":": "\\:",
  "#": "\\#",
  "!": "\\!",
};

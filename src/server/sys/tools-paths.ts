// sys/tools: random bytes and hashes for clients that have no good source of their own. Nothing is stored.
import { createHash, randomBytes } from "node:crypto";
import { CofferError } from "#common/errors.ts";
import { field, withDefault } from "../framework/fields.ts";
import { definePrivilegedPath } from "../framework/path.ts";
import { dataReply, type Reply } from "../framework/reply.ts";
import { decodeBase64 } from "./base64-field.ts";

/** 128 KiB: Vault's bound. An answer is held in memory. */
export const RANDOM_BYTES_MAX = 128 * 1024;
const RANDOM_BYTES_DEFAULT = 32;
const SOURCES = ["platform", "seal", "all"];

/** Names of Vault's API and what node:crypto calls them. */
const ALGORITHMS: ReadonlyMap<string, string> = new Map([
  ["sha2-224", "sha224"],
  ["sha2-256", "sha256"],
  ["sha2-384", "sha384"],
  ["sha2-512", "sha512"],
  ["sha3-224", "sha3-224"],
  ["sha3-256", "sha3-256"],
  ["sha3-384", "sha3-384"],
  ["sha3-512", "sha3-512"],
]);

const randomFields = {
  bytes: withDefault(field.integer("How many bytes; the path's number goes before it."), RANDOM_BYTES_DEFAULT),
  format: withDefault(field.text("base64 or hex."), "base64"),
  source: withDefault(field.text("platform, seal or all; all are the platform's generator."), "platform"),
} as const;

const hashFields = {
  input: field.text("What to hash, in base64."),
  algorithm: withDefault(field.text("sha2- or sha3- with -224, -256, -384 or -512."), "sha2-256"),
  format: withDefault(field.text("hex or base64."), "hex"),
} as const;

const urlBytes = { urlbytes: field.text("How many bytes, where the path does not say.") } as const;
const urlAlgorithm = { urlalgorithm: field.text("The algorithm, where the path does not name one.") } as const;

export function toolsPaths() {
  const make = (pattern: "tools/random" | "tools/random/:first" | "tools/random/:source/:urlbytes") =>
    definePrivilegedPath(pattern, {
      summary: "Random bytes.",
      fields: { ...randomFields, ...urlBytes },
      operations: {
        update: { summary: "Make some.", handler: (_context, values) => random(values) },
      },
    });
  const hash = (pattern: "tools/hash" | "tools/hash/:urlalgorithm") =>
    definePrivilegedPath(pattern, {
      summary: "A hash of the input.",
      fields: { ...hashFields, ...urlAlgorithm },
      operations: {
        update: {
          summary: "Hash.",
          handler: (_context, values) => digest({ ...values, algorithm: values.urlalgorithm || values.algorithm }),
        },
      },
    });
  return [
    make("tools/random"),
    make("tools/random/:first"),
    make("tools/random/:source/:urlbytes"),
    hash("tools/hash"),
    hash("tools/hash/:urlalgorithm"),
  ];
}

interface RandomValues {
  readonly bytes: number;
  readonly format: string;
  readonly source: string;
  /** One segment after "random": a source or a number. */
  readonly first?: string;
  readonly urlbytes?: string | undefined;
}

function random(values: RandomValues): Reply {
  const { first } = values;
  const source = first !== undefined && SOURCES.includes(first) ? first : values.source;
  const inPath = (first !== undefined && first !== source ? first : undefined) ?? values.urlbytes;
  const bytes = inPath === undefined ? values.bytes : numberInPath(inPath);
  if (bytes < 1) throw invalid("'bytes' cannot be less than 1");
  if (bytes > RANDOM_BYTES_MAX) throw invalid(`'bytes' should be less than ${RANDOM_BYTES_MAX}`);
  const { format } = values;
  if (format !== "hex" && format !== "base64")
    throw invalid(`unsupported encoding format ${JSON.stringify(format)}; must be "hex" or "base64"`);
  if (!SOURCES.includes(source))
    throw invalid(
      `unsupported entropy source ${JSON.stringify(source)}; must be "platform" or "seal", or "all" for both`,
    );
  const warnings = source === "platform" ? [] : ["no seal entropy source is configured; the platform's was used"];
  return dataReply({ random_bytes: randomBytes(bytes).toString(format) }, warnings);
}

function numberInPath(text: string): number {
  if (/^[+-]?\d{1,15}$/.test(text)) return Number(text);
  throw invalid(`error parsing url-set byte count: strconv.Atoi: parsing ${JSON.stringify(text)}: invalid syntax`);
}

function digest(values: { input: string | undefined; algorithm: string; format: string }): Reply {
  if (values.input === undefined) throw invalid("missing input: send it in base64");
  const input = decodeBase64(values.input, "input");
  const algorithm = ALGORITHMS.get(values.algorithm);
  if (algorithm === undefined) throw invalid(`unsupported algorithm ${values.algorithm}`);
  const { format } = values;
  if (format !== "hex" && format !== "base64")
    throw invalid(`unsupported encoding format ${format}; must be "hex" or "base64"`);
  return dataReply({ sum: createHash(algorithm).update(input).digest(format) });
}

function invalid(message: string): CofferError {
  return new CofferError("invalid_request", message);
}

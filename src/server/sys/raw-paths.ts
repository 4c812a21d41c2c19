// sys/raw: the records behind the barrier as they are stored, for repairs. On an ordinary server only where the
// configuration says so; in recovery mode always. Keyring, root key and the seals' blobs are out of reach in both: to
// change them is to lose the store.
import { CofferError } from "#common/errors.ts";
import { isBarrierKey } from "../barrier/barrier-transaction.ts";
import type { Transaction } from "../barrier/transaction.ts";
import type { PrivilegedContext } from "../framework/context.ts";
import { field, withDefault } from "../framework/fields.ts";
import { definePrivilegedPath } from "../framework/path.ts";
import { dataReply, listReply, noContent, type Reply } from "../framework/reply.ts";
import { markIfPolicyKey } from "../policy/policy-guard.ts";
import {
  assertRawCompression,
  assertRawEncoding,
  compressed,
  decodeRawValue,
  decompressed,
  isCompressed,
} from "./raw-value.ts";

const rawFields = {
  value: field.text("What to store, as text or in the encoding."),
  encoding: withDefault(field.text("base64 for bytes that are no text."), ""),
  compressed: withDefault(field.flag("On a read, decompress what is stored compressed."), true),
  compression_type: field.text("gzip, or empty for none; as before when left out."),
} as const;

interface RawValues {
  readonly value: string | undefined;
  readonly encoding: string;
  readonly compressed: boolean;
  readonly compression_type: string | undefined;
}

export function rawPaths() {
  return ["raw", "raw/:path*"].map((pattern) =>
    definePrivilegedPath(pattern, {
      summary: "A record behind the barrier, as it is stored.",
      description:
        "For repairs, with the server stopped but for this (recovery mode) or by raw_storage_endpoint. The path is the " +
        "key in storage, not an API path. Whoever may use it may read and change everything.",
      access: "sudo",
      fields: rawFields,
      exists: (context) => isStored(context),
      operations: {
        read: { summary: "Show it.", handler: (context, values) => readRaw(context, values) },
        list: {
          summary: "Name what is below.",
          handler: async (context) => {
            const path = pathOf(context);
            const folder = path === "" || path.endsWith("/") ? path : `${path}/`;
            return listReply(await context.transaction.list(folder, context.page));
          },
        },
        update: { summary: "Write it.", handler: (context, values) => writeRaw(context, values) },
        delete: {
          summary: "Delete it.",
          handler: (context) => {
            const key = keyOf(context);
            context.transaction.delete(key);
            markIfPolicyKey(context.transaction, key, context.clock.now());
            return noContent;
          },
        },
      },
    }),
  );
}

/** The key in storage that a path names; "" is none. */
function pathOf({ path }: PrivilegedContext): string {
  return path.slice("raw".length).replace(/^\//, "");
}

function keyOf(context: PrivilegedContext): string {
  const key = pathOf(context);
  if (key === "") throw invalid("path is missing: name a key of the storage, as sys/raw/core/cluster");
  if (isBarrierKey(key)) throw invalid(`cannot access ${JSON.stringify(key)}: it belongs to the barrier and the seals`);
  return key;
}

/** A record that cannot be read is there all the same: it can be written over. */
async function isStored(context: PrivilegedContext): Promise<boolean> {
  const key = pathOf(context);
  if (key === "" || isBarrierKey(key)) return false;
  return (await readable(context.transaction, key)) !== undefined;
}

async function readable(tx: Transaction, key: string): Promise<Uint8Array | undefined> {
  try {
    return await tx.get(key);
  } catch (error) {
    if (error instanceof CofferError && error.code === "internal") return new Uint8Array();
    throw error;
  }
}

async function readRaw(context: PrivilegedContext, values: RawValues): Promise<Reply | undefined> {
  assertRawEncoding(values.encoding);
  const stored = await context.transaction.get(keyOf(context));
  if (!stored) return undefined;
  const bytes = Buffer.from(values.compressed ? await decompressed(stored) : stored);
  if (values.encoding === "base64") return dataReply({ value: bytes.toString("base64") });
  const value = bytes.toString("utf8");
  const warnings = Buffer.from(value, "utf8").equals(bytes)
    ? []
    : ["the value is no text, and what is no character is replaced here; ask with encoding=base64"];
  return dataReply({ value }, warnings);
}

async function writeRaw(context: PrivilegedContext, values: RawValues): Promise<Reply> {
  const key = keyOf(context);
  assertRawEncoding(values.encoding);
  assertRawCompression(values.compression_type ?? "");
  if (values.value === undefined) throw invalid("value is missing; to remove a record use DELETE");
  const bytes = decodeRawValue(values.value, values.encoding);
  const { transaction } = context;
  const before = await readable(transaction, key);
  const compress =
    values.compression_type === undefined
      ? before !== undefined && isCompressed(before)
      : values.compression_type !== "";
  transaction.put(key, compress ? await compressed(bytes) : bytes);
  markIfPolicyKey(transaction, key, context.clock.now());
  if (!compress) return noContent;
  return { data: null, warnings: ["the value is stored compressed, which no part of the server itself can read"] };
}

function invalid(message: string): CofferError {
  return new CofferError("invalid_request", message);
}

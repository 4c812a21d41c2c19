// sys/namespaces: make, show, change and delete the namespaces below the request's own, and lock their API.
import { createHash, randomBytes } from "node:crypto";
import { CofferError } from "#common/errors.ts";
import { isJsonObject, isNumberLiteral, type JsonObject, type JsonValue } from "#common/json.ts";
import { mergePatch } from "#common/merge-patch.ts";
import { constantTimeEqual } from "#common/secret-bytes.ts";
import type { PrivilegedContext } from "../framework/context.ts";
import { field, withDefault } from "../framework/fields.ts";
import { definePrivilegedPath } from "../framework/path.ts";
import { dataReply, noContent, type Reply } from "../framework/reply.ts";
import type { NamespaceRecord } from "../namespaces/namespace-record.ts";
import { endNamespace } from "../namespaces/namespace-removal.ts";
import {
  createNamespace,
  listChildren,
  listDescendants,
  prefetchNamespaces,
  readNamespace,
  writeNamespace,
} from "../namespaces/namespace-store.ts";

const UNLOCK_KEY_BYTES = 24;
/** Longer lists have no key_info, for it reads every record: ask for pages. */
const KEY_INFO_MAX = 1_000;
/** As for the custom metadata of secrets. */
const METADATA_PAIRS_MAX = 64;
const METADATA_KEY_BYTES_MAX = 128;
const METADATA_VALUE_BYTES_MAX = 512;

const namespaceFields = {
  custom_metadata: field.json("Texts by name, for people."),
} as const;

export function namespacePaths() {
  return [
    definePrivilegedPath("namespaces", {
      summary: "The namespaces below this one.",
      operations: {
        list: { summary: "List those right below.", handler: (context) => list(context, listChildren) },
        scan: { summary: "List all of them.", handler: (context) => list(context, listDescendants) },
      },
    }),
    ...lockPaths(),
    definePrivilegedPath("namespaces/:path*", {
      summary: "A namespace.",
      fields: namespaceFields,
      operations: {
        read: {
          summary: "Show it.",
          handler: async (context, { path }) => {
            const record = await readNamespace(context.transaction, pathOf(context, path));
            return record && dataReply(shown(record));
          },
        },
        update: {
          summary: "Make it, or replace its metadata.",
          handler: (context, { path, custom_metadata }) => write(context, path, custom_metadata),
        },
        patch: {
          summary: "Change its metadata.",
          handler: (context, { path, custom_metadata }) => patch(context, path, custom_metadata),
        },
        delete: { summary: "Delete it with all that is in it.", handler: (context, { path }) => remove(context, path) },
      },
    }),
  ];
}

const lockFields = {
  path: withDefault(field.text("A namespace below this one, where the API path names none; this one by default."), ""),
} as const;

function lockPaths() {
  return ["namespaces/api-lock/lock", "namespaces/api-lock/lock/:path*"]
    .map((pattern) =>
      definePrivilegedPath(pattern, {
        summary: "Locks the API of a namespace and of those below it.",
        fields: lockFields,
        operations: { update: { summary: "Lock it.", handler: (context, values) => lock(context, values) } },
      }),
    )
    .concat(
      ["namespaces/api-lock/unlock", "namespaces/api-lock/unlock/:path*"].map((pattern) =>
        definePrivilegedPath(pattern, {
          summary: "Unlocks the API of a namespace.",
          fields: {
            ...lockFields,
            unlock_key: withDefault(field.text("The key that locking it gave; root needs none."), ""),
          },
          operations: { update: { summary: "Unlock it.", handler: (context, values) => unlock(context, values) } },
        }),
      ),
    );
}

/** From the root, with a slash at its end. */
function pathOf({ scope }: PrivilegedContext, path: string): string {
  return `${scope.path}${path.replace(/^\/+|\/+$/g, "")}/`;
}

type Lister = typeof listChildren;

async function list(context: PrivilegedContext, lister: Lister): Promise<Reply | undefined> {
  const { transaction, scope, page } = context;
  const keys = await lister(transaction, scope.path, page);
  if (keys.length === 0) return undefined;
  if (keys.length > KEY_INFO_MAX) return dataReply({ keys });
  await prefetchNamespaces(
    transaction,
    keys.map((key) => scope.path + key),
  );
  const info: Record<string, JsonObject> = {};
  for (const key of keys) {
    const record = await readNamespace(transaction, scope.path + key);
    if (record) info[key] = shown(record);
  }
  return dataReply({ keys, key_info: info });
}

function shown({ id, uuid, path, customMetadata, lockedBy, tainted }: NamespaceRecord): JsonObject {
  return { id, uuid, path, custom_metadata: customMetadata, locked: lockedBy !== undefined, tainted };
}

async function write(context: PrivilegedContext, path: string, sent: JsonValue | undefined): Promise<Reply> {
  const { transaction, scope } = context;
  const metadata = sent === undefined || sent === null ? {} : metadataOf(sent);
  const before = await readNamespace(transaction, pathOf(context, path));
  if (before) return change(context, before, metadata);
  return dataReply(shown(await createNamespace(transaction, scope, path.replace(/^\/+|\/+$/g, ""), metadata)));
}

async function patch(
  context: PrivilegedContext,
  path: string,
  sent: JsonValue | undefined,
): Promise<Reply | undefined> {
  const before = await readNamespace(context.transaction, pathOf(context, path));
  if (!before) return undefined;
  if (sent === undefined) return dataReply(shown(before));
  const after = sent === null ? {} : mergePatch(before.customMetadata, asObject(sent));
  return change(context, before, metadataOf(after));
}

function change(
  { transaction }: PrivilegedContext,
  before: NamespaceRecord,
  customMetadata: Readonly<Record<string, string>>,
): Reply {
  if (before.tainted) throw invalid(`namespace ${JSON.stringify(before.path)} is being deleted`);
  const after = { ...before, customMetadata };
  writeNamespace(transaction, after);
  return dataReply(shown(after));
}

function asObject(sent: JsonValue): JsonObject {
  if (!isJsonObject(sent)) throw invalid("custom_metadata must be an object of texts");
  return sent;
}

function metadataOf(sent: JsonValue): Readonly<Record<string, string>> {
  const pairs = Object.entries(asObject(sent));
  if (pairs.length > METADATA_PAIRS_MAX) throw invalid(`custom_metadata has at most ${METADATA_PAIRS_MAX} pairs`);
  const texts: Record<string, string> = {};
  for (const [key, sentValue] of pairs) {
    const value = textOf(sentValue);
    const isTooLong =
      Buffer.byteLength(key) > METADATA_KEY_BYTES_MAX || Buffer.byteLength(value) > METADATA_VALUE_BYTES_MAX;
    if (key === "" || isTooLong)
      throw invalid(
        `custom_metadata wants keys of 1 to ${METADATA_KEY_BYTES_MAX} bytes and values of at most ${METADATA_VALUE_BYTES_MAX}`,
      );
    texts[key] = value;
  }
  return texts;
}

/** Numbers and booleans become texts, as in the custom metadata of secrets. */
function textOf(value: JsonValue): string {
  if (typeof value === "string") return value;
  if (isNumberLiteral(value)) return value.rawJSON;
  if (typeof value === "number" || typeof value === "boolean") return String(value);
  throw invalid("custom_metadata must be an object of texts");
}

async function remove(context: PrivilegedContext, path: string): Promise<Reply> {
  const record = await readNamespace(context.transaction, pathOf(context, path));
  if (!record) return noContent;
  await endNamespace(context.transaction, record);
  return dataReply({ status: "in-progress" });
}

/** The namespace that a lock path is about: its own, or the one that it names below. */
async function lockTarget(context: PrivilegedContext, prefix: string, sent: string): Promise<NamespaceRecord> {
  const below = (context.path.slice(prefix.length) || sent).replace(/^\/+|\/+$/g, "");
  const path = below === "" ? context.scope.path : pathOf(context, below);
  if (path === "") throw invalid("the root namespace cannot be locked; name one below it");
  const record = await readNamespace(context.transaction, path);
  if (!record) throw new CofferError("not_found", "namespace not found");
  return record;
}

async function lock(context: PrivilegedContext, { path }: { path: string }): Promise<Reply> {
  const record = await lockTarget(context, "namespaces/api-lock/lock", path);
  if (record.lockedBy !== undefined) throw invalid(`namespace ${JSON.stringify(record.path)} is locked already`);
  const unlockKey = randomBytes(UNLOCK_KEY_BYTES).toString("base64url");
  writeNamespace(context.transaction, { ...record, lockedBy: digest(unlockKey).toString("hex") });
  return dataReply({ unlock_key: unlockKey });
}

async function unlock(
  context: PrivilegedContext,
  { unlock_key, path }: { unlock_key: string; path: string },
): Promise<Reply> {
  const { lockedBy, ...record } = await lockTarget(context, "namespaces/api-lock/unlock", path);
  if (lockedBy === undefined) throw invalid(`namespace ${JSON.stringify(record.path)} is not locked`);
  const isRoot = context.caller?.policies.includes("root") === true;
  if (unlock_key === "" && !isRoot) throw invalid("unlock_key must be given");
  if (unlock_key !== "" && !constantTimeEqual(digest(unlock_key), Buffer.from(lockedBy, "hex")))
    throw invalid("unlock_key is not the key of this lock");
  writeNamespace(context.transaction, record);
  return noContent;
}

function digest(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}

function invalid(message: string): CofferError {
  return new CofferError("invalid_request", message);
}

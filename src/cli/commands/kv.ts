// `kv get|put|patch|list|delete|undelete|destroy`: secrets by their logical path, whichever version the mount has.
import { hasStatus } from "#client/api-error.ts";
import { parseEnvelope } from "#client/envelope.ts";
import { createKv } from "#client/kv.ts";
import { CofferError } from "#common/errors.ts";
import { isJsonObject, type JsonObject } from "#common/json.ts";
import { defineCommand } from "../command.ts";
import type { FlagValues } from "../flags.ts";
import { readKeyValues } from "../key-values.ts";
import { rowsOf, table, title } from "../table.ts";
import { nothingAt, printKeys, typedPath } from "./logical.ts";

/** `-mount=secret path` is the same as `secret/path`. */
export const mountFlag = {
  mount: { kind: "text", help: "Mount of the path: -mount=secret a/b is secret/a/b." },
} as const;
const casFlag = {
  cas: { kind: "number", help: "Version that must be the current one; 0: there must be none." },
} as const;
const versionsFlag = { versions: { kind: "texts", help: "Versions, separated by commas." } } as const;

/** The whole path of a command's argument. */
export function kvPath(flags: FlagValues<typeof mountFlag>, argument: string | undefined): string {
  const path = typedPath(argument);
  return flags.mount === undefined ? path : `${flags.mount.replace(/^\/+|\/+$/g, "")}/${path}`;
}

export const get = defineCommand({
  name: "kv get",
  summary: "Reads a secret.",
  usage: "<path>",
  examples: ["kv get secret/team/db", "kv get -field=password secret/team/db"],
  flags: { ...mountFlag, version: { kind: "number", help: "Version to read; the latest when not given." } },
  args: [1, 1],
  async run({ client, args, flags, io, print }) {
    const path = kvPath(flags, args[0]);
    try {
      const kv = createKv(client);
      const at = await kv.locate(path);
      const answer = await client.read(at, { query: { version: flags.version } });
      const { kvVersion } = await kv.mountOf(path);
      const { data, metadata } = answer.data ?? {};
      // A wrapped answer has no data yet, and KV v1 has no metadata: both are shown as any answer is.
      if (kvVersion !== 2 || !isJsonObject(data) || !isJsonObject(metadata)) await print.answer(answer);
      else await print.answer(answer, { data, table: () => versionedTable(at, data, metadata) });
      return 0;
    } catch (error) {
      if (hasStatus(error, 404) && error.errors.length === 0) return nothingAt(path, io);
      throw error;
    }
  },
});

function versionedTable(path: string, data: JsonObject, metadata: JsonObject): string {
  const keys = ["Key", "Value"];
  return [
    `${title("Secret Path", metadata)}${path}\n\n`,
    `${title("Metadata", metadata)}${table(keys, rowsOf({ ...metadata, deletion_time: metadata["deletion_time"] || "n/a" }))}\n`,
    `${title("Data", data)}${table(keys, rowsOf(data))}`,
  ].join("");
}

export const put = defineCommand({
  name: "kv put",
  summary: "Writes a secret, replacing all its keys.",
  usage: "<path> [key=value...]",
  examples: ["kv put secret/team/db user=app password=-", "kv put secret/team/db @secret.json"],
  flags: { ...mountFlag, ...casFlag },
  args: [2, Number.POSITIVE_INFINITY],
  async run({ client, args, flags, io, print }) {
    const path = kvPath(flags, args[0]);
    const data = await readKeyValues(args.slice(1), io);
    const metadata = await createKv(client).write(path, data, { cas: flags.cas });
    if (metadata === undefined) print.note(`Success! Data written to: ${path}`);
    else await print.answer(parseEnvelope({ data: metadata }));
    return 0;
  },
});

export const patch = defineCommand({
  name: "kv patch",
  summary: "Changes some keys of a secret (KV version 2).",
  usage: "<path> key=value...",
  flags: { ...mountFlag, ...casFlag, "remove-data": { kind: "texts", help: "Keys to remove." } },
  args: [1, Number.POSITIVE_INFINITY],
  async run({ client, args, flags, io, print }) {
    const removed = Object.fromEntries(flags["remove-data"].map((key) => [key, null]));
    const data = { ...(await readKeyValues(args.slice(1), io)), ...removed };
    const metadata = await createKv(client).patch(kvPath(flags, args[0]), data, { cas: flags.cas });
    await print.answer(parseEnvelope({ data: metadata ?? {} }));
    return 0;
  },
});

export const list = defineCommand({
  name: "kv list",
  summary: "Lists secrets and folders.",
  usage: "<path>",
  flags: mountFlag,
  args: [0, 1],
  async run({ client, args, flags, io, print }) {
    const path = kvPath(flags, args[0]);
    return printKeys(await createKv(client).list(path), path, { io, print });
  },
});

export const remove = defineCommand({
  name: "kv delete",
  summary: "Deletes the latest version, or the given ones; they can be undeleted (KV version 2).",
  usage: "<path>",
  flags: { ...mountFlag, ...versionsFlag },
  args: [1, 1],
  async run({ client, args, flags, print }) {
    const path = kvPath(flags, args[0]);
    const versions = versionNumbers(flags.versions);
    await createKv(client).delete(path, versions.length === 0 ? {} : { versions });
    print.note(`Success! Data deleted (if it existed) at: ${path}`);
    return 0;
  },
});

export const undelete = defineCommand({
  name: "kv undelete",
  summary: "Brings deleted versions back.",
  usage: "<path>",
  flags: { ...mountFlag, ...versionsFlag },
  args: [1, 1],
  async run({ client, args, flags, print }) {
    const path = kvPath(flags, args[0]);
    await createKv(client).undelete(path, requireVersions(flags.versions));
    print.note(`Success! Data written to: ${path}`);
    return 0;
  },
});

export const destroy = defineCommand({
  name: "kv destroy",
  summary: "Removes the data of versions for good.",
  usage: "<path>",
  flags: { ...mountFlag, ...versionsFlag },
  args: [1, 1],
  async run({ client, args, flags, print }) {
    const path = kvPath(flags, args[0]);
    await createKv(client).destroy(path, requireVersions(flags.versions));
    print.note(`Success! Data written to: ${path}`);
    return 0;
  },
});

function requireVersions(texts: readonly string[]): number[] {
  const versions = versionNumbers(texts);
  if (versions.length === 0) throw new CofferError("invalid_request", "say which versions: -versions=1,2");
  return versions;
}

function versionNumbers(texts: readonly string[]): number[] {
  return texts.map((text) => {
    if (!/^\d{1,15}$/.test(text)) throw new CofferError("invalid_request", `"${text}" is no version number`);
    return Number(text);
  });
}

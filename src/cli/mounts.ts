// What `auth`, `secrets` and `audit` share: the three tables of mounts differ in their path and their words only.
import { isJsonObject, type JsonObject } from "#common/json.ts";
import { type Command, defineCommand } from "./command.ts";
import type { Flags } from "./flags.ts";
import { readKeyValues } from "./key-values.ts";
import { cell, type Row, table } from "./table.ts";

export interface MountKind {
  /** First word of the commands: "auth". */
  readonly group: string;
  /** Path of the table: "sys/auth". */
  readonly path: string;
  /** For sentences: "auth method". */
  readonly noun: string;
  readonly article: "a" | "an";
  /** Where `key=value` arguments go: "options" for audit devices, "config" for the others. */
  readonly member: "config" | "options";
}

/** `list`: the table of mounts. */
export function listCommand(kind: MountKind): Command {
  return defineCommand({
    name: `${kind.group} list`,
    summary: `Lists the ${kind.noun}s.`,
    usage: "",
    args: [0, 0],
    async run({ client, print, io }) {
      const mounts = (await client.read(kind.path)).data ?? {};
      if (Object.keys(mounts).length === 0) {
        io.stderr.write(`No ${kind.noun}s are enabled.\n`);
        return 2;
      }
      await print.value(mounts, () => table(HEAD, mountRows(mounts)));
      return 0;
    },
  });
}

const HEAD: Row = ["Path", "Type", "Accessor", "Description"];

function mountRows(mounts: JsonObject): Row[] {
  return Object.keys(mounts)
    .sort()
    .flatMap((path) => {
      const mount = mounts[path];
      if (!isJsonObject(mount)) return [];
      const text = (key: string) => (mount[key] ? cell(mount[key]) : "n/a");
      return [[path, text("type"), text("accessor"), text("description")]];
    });
}

const ENABLE_FLAGS = {
  path: { kind: "text", help: "Where to mount it; its type's name when not given." },
  description: { kind: "text", help: "A sentence for people." },
  local: { kind: "switch", help: "Only on this cluster." },
  "seal-wrap": { kind: "switch", help: "Wrap its critical values by the seal too." },
  "default-lease-ttl": { kind: "text", help: "Default ttl of its leases and tokens: 1h." },
  "max-lease-ttl": { kind: "text", help: "Longest ttl: 24h." },
  version: { kind: "number", help: "Version of a KV engine." },
  options: { kind: "pairs", help: "An option key=value; may be given more than once." },
} as const satisfies Flags;

/** `enable <type> [key=value...]`. */
export function enableCommand(kind: MountKind): Command {
  return defineCommand({
    name: `${kind.group} enable`,
    summary: `Enables ${kind.article} ${kind.noun}.`,
    usage: "<type> [key=value...]",
    flags: ENABLE_FLAGS,
    args: [1, Number.POSITIVE_INFINITY],
    async run({ client, flags, args, io, print }) {
      const [given = "", ...pairs] = args;
      // Vault's "kv-v2" is a KV engine with its version said.
      const type = given === "kv-v2" ? "kv" : given;
      const path = (flags.path ?? given).replace(/^\/+|\/+$/g, "");
      const version = given === "kv-v2" ? 2 : flags.version;
      const own = await readKeyValues(pairs, io);
      const options = { ...flags.options, ...(version === undefined ? {} : { version: String(version) }) };
      const config = {
        ...(flags["default-lease-ttl"] ? { default_lease_ttl: flags["default-lease-ttl"] } : {}),
        ...(flags["max-lease-ttl"] ? { max_lease_ttl: flags["max-lease-ttl"] } : {}),
        ...(kind.member === "config" ? own : {}),
      };
      await client.write(`${kind.path}/${path}`, {
        ...{ type, description: flags.description ?? "" },
        ...(flags.local ? { local: true } : {}),
        ...(flags["seal-wrap"] ? { seal_wrap: true } : {}),
        ...(Object.keys(config).length > 0 ? { config } : {}),
        options: kind.member === "options" ? { ...options, ...own } : options,
      });
      print.note(`Success! Enabled ${type} ${kind.noun} at: ${path}/`);
      return 0;
    },
  });
}

/** `disable <path>`. */
export function disableCommand(kind: MountKind): Command {
  return defineCommand({
    name: `${kind.group} disable`,
    summary: `Disables ${kind.article} ${kind.noun}; what it holds is deleted.`,
    usage: "<path>",
    args: [1, 1],
    async run({ client, args, print }) {
      const path = (args[0] ?? "").replace(/^\/+|\/+$/g, "");
      await client.delete(`${kind.path}/${path}`);
      print.note(`Success! Disabled the ${kind.noun} (if it existed) at: ${path}/`);
      return 0;
    },
  });
}

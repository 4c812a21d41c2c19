// `read`, `write`, `patch`, `list`, `delete` and `unwrap`: any path of the API, as it is.
import { hasStatus } from "#client/api-error.ts";
import { isJsonObject } from "#common/json.ts";
import type { CliIo } from "../cli-io.ts";
import { defineCommand } from "../command.ts";
import { readKeyValues } from "../key-values.ts";
import type { Printer } from "../output.ts";
import { table } from "../table.ts";

const force = {
  force: { kind: "switch", help: "Write without data." },
  f: { kind: "switch", help: "Short for -force." },
} as const;

/** Exit code of a read that finds nothing, as Vault's. */
const NOTHING_FOUND = 2;

/** Says that there is nothing at a path; gives the exit code. */
export function nothingAt(path: string, io: CliIo): number {
  io.stderr.write(`No value found at ${path}\n`);
  return NOTHING_FOUND;
}

/** Prints the names below a path, or that there are none; gives the exit code. */
export async function printKeys(
  keys: readonly string[],
  path: string,
  { io, print }: { readonly io: CliIo; readonly print: Printer },
): Promise<number> {
  if (keys.length === 0) return nothingAt(path, io);
  const rows = keys.map((key) => [key]);
  await print.value(keys, () => table(["Keys"], rows));
  return 0;
}

/** A path as people write it, "v1/" and slashes in front taken off. */
export function typedPath(path: string | undefined): string {
  return (path ?? "").replace(/^\/*(v1\/)?/, "");
}

export const read = defineCommand({
  name: "read",
  summary: "Reads a path.",
  usage: "<path> [key=value...]",
  examples: ["read sys/health", "read -field=password database/creds/app"],
  args: [1, Number.POSITIVE_INFINITY],
  async run({ client, args, io, print }) {
    const path = typedPath(args[0]);
    const parameters = await readKeyValues(args.slice(1), io);
    const query = Object.fromEntries(Object.entries(parameters).map(([key, value]) => [key, String(value)]));
    try {
      const answer = await client.read(path, { query });
      if (answer.body === undefined) return nothingAt(path, io);
      await print.answer(answer);
      return 0;
    } catch (error) {
      if (hasStatus(error, 404) && error.errors.length === 0) return nothingAt(path, io);
      throw error;
    }
  },
});

export const write = defineCommand({
  name: "write",
  summary: "Writes to a path.",
  usage: "<path> [key=value...]",
  examples: ["write auth/userpass/users/ann password=- policies=app", "write sys/policies/acl/app policy=@app.hcl"],
  flags: force,
  args: [1, Number.POSITIVE_INFINITY],
  async run({ client, args, io, print, flags }) {
    const path = typedPath(args[0]);
    if (args.length < 2 && !flags.force && !flags.f) {
      io.stderr.write("Error: there is no data to write; give key=value, @file or -, or -force to write none\n");
      return 1;
    }
    const answer = await client.write(path, await readKeyValues(args.slice(1), io));
    if (answer.body === undefined) print.note(`Success! Data written to: ${path}`);
    else await print.answer(answer);
    return 0;
  },
});

export const patch = defineCommand({
  name: "patch",
  summary: "Merges data into a path (JSON merge patch).",
  usage: "<path> key=value...",
  args: [2, Number.POSITIVE_INFINITY],
  async run({ client, args, io, print }) {
    const path = typedPath(args[0]);
    const answer = await client.patch(path, await readKeyValues(args.slice(1), io));
    if (answer.body === undefined) print.note(`Success! Data written to: ${path}`);
    else await print.answer(answer);
    return 0;
  },
});

export const list = defineCommand({
  name: "list",
  summary: "Lists the keys below a path.",
  usage: "<path>",
  examples: ["list sys/policies/acl"],
  args: [1, 1],
  async run({ client, args, io, print }) {
    const path = typedPath(args[0]);
    return printKeys(await client.list(path), path, { io, print });
  },
});

export const remove = defineCommand({
  name: "delete",
  summary: "Deletes a path.",
  usage: "<path>",
  args: [1, 1],
  async run({ client, args, print }) {
    const path = typedPath(args[0]);
    const answer = await client.delete(path);
    if (answer.data === undefined) print.note(`Success! Data deleted (if it existed) at: ${path}`);
    else await print.answer(answer);
    return 0;
  },
});

export const unwrap = defineCommand({
  name: "unwrap",
  summary: "Opens a wrapping token; it works once.",
  usage: "[token]",
  args: [0, 1],
  async run({ client, args, print }) {
    // The wrapping token is itself the token of the call, so that no other is needed.
    const token = args[0];
    const answer = await client.write("sys/wrapping/unwrap", {}, token === undefined ? {} : { token });
    await print.answer(answer, isJsonObject(answer.data) ? { data: answer.data } : {});
    return 0;
  },
});

// `operator snapshot save|restore|inspect|verify`: everything a server holds, as one file. What the file is stands in
// server/snapshot/format.ts; it is ciphertext, and is written for its owner's eyes all the same.
import { createReadStream, createWriteStream } from "node:fs";
import { rename, rm, stat } from "node:fs/promises";
import { resolve } from "node:path";
import { pipeline } from "node:stream/promises";
import type { ApiClient } from "#client/api-client.ts";
import { CofferError, messageOf } from "#common/errors.ts";
import type { JsonObject } from "#common/json.ts";
import type { CliIo } from "../cli-io.ts";
import { defineCommand, defineLocalCommand } from "../command.ts";
import { ProgressLine } from "../progress-line.ts";
import { cell } from "../table.ts";

const OWNER_ONLY = 0o600;

export const save = defineCommand({
  name: "operator snapshot save",
  summary:
    "Writes a snapshot of everything to a file. The server goes on; the file has all that was there at one instant.",
  usage: "<file>",
  examples: ["operator snapshot save backup.snap"],
  args: [1, 1],
  async run({ client, args: [file = ""], io, print }) {
    const target = resolve(io.cwd, file);
    // A file that is not whole must never have the name of one that is.
    const partial = `${target}.part`;
    const progress = new ProgressLine(io);
    try {
      const bytes = counted(
        client.download("sys/storage/snapshot", { signal: io.signal }),
        progress,
        "bytes",
        undefined,
      );
      await pipeline(bytes, createWriteStream(partial, { mode: OWNER_ONLY, flush: true }));
      const found = await inspected(partial);
      await rename(partial, target);
      progress.end();
      await print.value(found, () => table(found));
    } catch (error) {
      await rm(partial, { force: true });
      throw error;
    } finally {
      progress.end();
    }
    return 0;
  },
});

export const restore = defineCommand({
  name: "operator snapshot restore",
  summary: "Replaces everything on the server by a snapshot. Requests are refused until it is done.",
  usage: "<file>",
  flags: {
    force: { kind: "switch", help: "Also a snapshot of another cluster; the store then opens by that one's seals." },
  },
  examples: ["operator snapshot restore backup.snap", "operator snapshot restore -force other-cluster.snap"],
  args: [1, 1],
  async run({ client, args: [file = ""], flags, io, print }) {
    const path = flags.force ? "sys/storage/snapshot-force" : "sys/storage/snapshot";
    await upload(client, path, resolve(io.cwd, file), io);
    print.note("The snapshot is restored");
    return 0;
  },
});

export const verify = defineCommand({
  name: "operator snapshot verify",
  summary: "Lets the server try a snapshot: it restores it to a scratch store and opens every value. Changes nothing.",
  usage: "<file>",
  examples: ["operator snapshot verify backup.snap"],
  args: [1, 1],
  async run({ client, args: [file = ""], io, print }) {
    const found = (await upload(client, "sys/storage/snapshot-verify", resolve(io.cwd, file), io)) ?? {};
    await print.value(found, () => table(found));
    return 0;
  },
});

export const inspect = defineLocalCommand({
  name: "operator snapshot inspect",
  summary: "Shows what a snapshot says of itself and checks all its checksums. Needs no server and no key.",
  usage: "<file>",
  examples: ["operator snapshot inspect backup.snap"],
  args: [1, 1],
  async run({ args: [file = ""], io, print }) {
    const found = await inspected(resolve(io.cwd, file));
    await print.value(found, () => table(found));
    return 0;
  },
});

const ITEM_USAGE = "<file> <kv|policy|mount> <path>";

export const read = defineCommand({
  name: "operator snapshot read",
  summary: "Shows one item of a snapshot: a KV path with all its versions, a policy, a mount.",
  usage: ITEM_USAGE,
  examples: ["operator snapshot read backup.snap kv secret/app/db", "operator snapshot read backup.snap policy app"],
  args: [3, 3],
  async run({ client, args, io, print }) {
    const found = await item(client, "read", args, io);
    await print.value(found, () => `${JSON.stringify(found, undefined, 2)}\n`);
    return 0;
  },
});

export const restoreItem = defineCommand({
  name: "operator snapshot restore-item",
  summary: "Brings one item of a snapshot back, in place of what is there now; everything else stays as it is.",
  usage: ITEM_USAGE,
  examples: [
    "operator snapshot restore-item backup.snap kv secret/app/db",
    "operator snapshot restore-item -namespace=team-a backup.snap policy app",
  ],
  args: [3, 3],
  async run({ client, args, io, print }) {
    const found = await item(client, "recover", args, io);
    await print.value(found, () => table(found));
    return 0;
  },
});

async function item(client: ApiClient, what: string, [file = "", kind = "", path = ""]: readonly string[], io: CliIo) {
  // The operation is one of the whole server, on an item of a namespace.
  const { namespace } = client;
  const query = { kind, path, ...(namespace !== undefined && { namespace }) };
  return (
    (await upload(
      client.with({ namespace: undefined }),
      `sys/storage/snapshot-${what}`,
      resolve(io.cwd, file),
      io,
      query,
    )) ?? {}
  );
}

async function upload(
  client: ApiClient,
  path: string,
  file: string,
  io: CliIo,
  query: Readonly<Record<string, string>> = {},
): Promise<JsonObject | undefined> {
  const progress = new ProgressLine(io);
  const { size } = await readable(file);
  try {
    const bytes = counted(createReadStream(file), progress, "bytes", size);
    return await client.upload(path, bytes, { query, signal: io.signal });
  } finally {
    progress.end();
  }
}

async function* counted(
  bytes: AsyncIterable<Uint8Array>,
  progress: ProgressLine,
  stage: string,
  total: number | undefined,
): AsyncGenerator<Uint8Array> {
  let done = 0;
  for await (const chunk of bytes) {
    done += chunk.length;
    progress.show(stage, done, total);
    yield chunk;
  }
}

async function inspected(file: string): Promise<JsonObject> {
  const { size } = await readable(file);
  const { inspectSnapshot } = await import("#server/inspect-snapshot.ts");
  return { ...(await inspectSnapshot(file)), file_bytes: size };
}

async function readable(file: string) {
  try {
    return await stat(file);
  } catch (error) {
    throw new CofferError("invalid_request", `cannot read ${file}: ${messageOf(error)}`, { cause: error });
  }
}

function table(found: JsonObject): string {
  return Object.entries(found)
    .map(([name, value]) => `${name.padEnd(16)}${cell(value)}\n`)
    .join("");
}

// `storage copy` and `storage compact`: a hot copy of an LMDB store, and a store made smaller. The work is the server's;
// here are its files, its progress and what is said at the end.
import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { CofferError, messageOf } from "#common/errors.ts";
import { createLog } from "#common/log.ts";
import type { CliIo } from "../cli-io.ts";
import { defineLocalCommand } from "../command.ts";
import { ProgressLine } from "../progress-line.ts";

const CONFIG = { kind: "texts", help: "Configuration of the server, or a file with its storage stanza." } as const;
const MIB = 1024 * 1024;

export const copy = defineLocalCommand({
  name: "storage copy",
  summary: "Copies an LMDB store to an empty directory, as of one instant, while servers use it.",
  usage: "<directory>",
  flags: { config: CONFIG, compact: { kind: "switch", help: "Leave free pages out: slower, and a smaller copy." } },
  examples: [
    "storage copy -config=server.hcl /backup/monday",
    "storage copy -config=server.hcl -compact /backup/monday",
  ],
  args: [1, 1],
  async run({ flags, args, io, print }) {
    const target = resolve(io.cwd, args[0] ?? "");
    const { copyStoreOf } = await import("#server/migration/maintain-store.ts");
    const { beforeBytes, afterBytes } = await withProgress(io, "copied bytes", async (progress) =>
      copyStoreOf({ ...(await optionsOf(flags.config, io)), isCompact: flags.compact, target, progress }),
    );
    const told = `Copied ${mibOf(beforeBytes)} MiB to ${target}, which has ${mibOf(afterBytes)} MiB.\n`;
    await print.value({ target, before_bytes: beforeBytes, after_bytes: afterBytes }, () => told);
    return 0;
  },
});

export const compact = defineLocalCommand({
  name: "storage compact",
  summary: "Makes an LMDB store smaller by its free pages. The server must be stopped.",
  usage: "",
  flags: { config: CONFIG },
  examples: ["storage compact -config=server.hcl"],
  args: [0, 0],
  async run({ flags, io, print }) {
    const { compactStoreOf } = await import("#server/migration/maintain-store.ts");
    const { beforeBytes, afterBytes } = await withProgress(io, "written bytes", async (progress) =>
      compactStoreOf({ ...(await optionsOf(flags.config, io)), isCompact: true, progress }),
    );
    const told = `Compacted the store from ${mibOf(beforeBytes)} MiB to ${mibOf(afterBytes)} MiB.\n`;
    await print.value({ before_bytes: beforeBytes, after_bytes: afterBytes }, () => told);
    return 0;
  },
});

const mibOf = (bytes: number) => (bytes / MIB).toFixed(1);

async function withProgress<T>(
  io: CliIo,
  stage: string,
  work: (progress: (done: number, total: number) => void) => Promise<T>,
): Promise<T> {
  const line = new ProgressLine(io);
  try {
    return await work((done, total) => line.show(stage, done, total));
  } finally {
    line.end();
  }
}

async function optionsOf(names: readonly string[], io: CliIo) {
  if (names.length === 0) throw new CofferError("invalid_request", "give -config=FILE, a server's configuration");
  const log = createLog({
    level: "warn",
    format: "text",
    write: (text) => void io.stderr.write(text),
    now: () => io.clock.now(),
  });
  const files = names.map(async (name) => ({ name, text: await textOf(resolve(io.cwd, name)) }));
  return { files: await Promise.all(files), context: { log, clock: io.clock, environment: io.env } };
}

async function textOf(file: string): Promise<string> {
  try {
    return await readFile(file, "utf8");
  } catch (cause) {
    throw new CofferError("invalid_request", `-config: cannot read ${file}: ${messageOf(cause)}`, { cause });
  }
}

// `storage migrate`: copies an encrypted store from one storage to another. The work is the server's migration; here are
// its files, its progress and what is said at the end.
import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import type { Clock, Millis } from "#common/clock.ts";
import { CofferError, messageOf } from "#common/errors.ts";
import type { JsonObject } from "#common/json.ts";
import { createLog } from "#common/log.ts";
import type { CliIo } from "../cli-io.ts";
import { defineLocalCommand } from "../command.ts";
import { ProgressLine } from "../progress-line.ts";

/** Of what the migration gives, the part that is told. */
interface Migrated {
  readonly outcome: "done" | "unfinished" | "planned";
  readonly fromType: string;
  readonly toType: string;
  readonly source: { readonly entries: number; readonly bytes: number; readonly digest: string };
  readonly target: { readonly digest: string } | undefined;
  readonly isResumed: boolean;
  readonly written: number;
  readonly unchanged: number;
  readonly removed: number;
}

export const migrate = defineLocalCommand({
  name: "storage migrate",
  summary: "Copies the encrypted store from one storage to another: lmdb, postgres, etcd. Run again, it goes on.",
  usage: "",
  flags: {
    from: { kind: "texts", help: "Configuration of the server as it is, or a file with its storage stanza." },
    to: { kind: "texts", help: "Configuration of the server as it will be, or a file with that storage stanza." },
    online: { kind: "switch", help: "Copy beforehand while servers run; a run without this finishes." },
    "dry-run": { kind: "switch", help: "Look at both sides and say what would be done." },
  },
  examples: [
    "storage migrate -from=old.hcl -to=new.hcl -dry-run",
    "storage migrate -from=old.hcl -to=new.hcl",
    "storage migrate -from=old.hcl -to=new.hcl -online",
  ],
  args: [0, 0],
  async run({ flags, io, print }) {
    const [from, to] = [await readConfigs("from", flags.from, io), await readConfigs("to", flags.to, io)];
    const { migrateStores } = await import("#server/migration/open-stores.ts");
    const line = new ProgressLine(io);
    const began = io.clock.now();
    try {
      const result = await migrateStores({
        ...{ from, to, isOnline: flags.online, isDryRun: flags["dry-run"], clock: io.clock, signal: io.signal },
        context: { log: warnings(io), clock: io.clock, environment: io.env },
        progress: { step: (stage, entries, total) => line.show(stage, entries, total) },
      });
      line.end();
      await print.value(reportOf(result), () => summaryOf(result, sinceText(io.clock, began), flags.to.join(", ")));
      return 0;
    } finally {
      line.end();
    }
  },
});

async function readConfigs(flag: string, names: readonly string[], io: CliIo) {
  if (names.length === 0) throw new CofferError("invalid_request", `give -${flag}=FILE, a server's configuration`);
  return Promise.all(
    names.map(async (name) => {
      try {
        return { name, text: await readFile(resolve(io.cwd, name), "utf8") };
      } catch (cause) {
        throw new CofferError("invalid_request", `-${flag}: cannot read ${name}: ${messageOf(cause)}`, { cause });
      }
    }),
  );
}

const warnings = (io: CliIo) =>
  createLog({ level: "warn", format: "text", write: (text) => void io.stderr.write(text), now: () => io.clock.now() });

function reportOf(result: Migrated): JsonObject {
  const { outcome, fromType, toType, source, target, written, unchanged, removed, isResumed } = result;
  return {
    ...{ outcome, from: fromType, to: toType, entries: source.entries, bytes: source.bytes, digest: source.digest },
    ...{ written, unchanged, removed, resumed: isResumed, destination_digest: target?.digest ?? null },
  };
}

function summaryOf(result: Migrated, took: string, config: string): string {
  const { fromType, toType, source, written, unchanged, removed, isResumed } = result;
  const size = `${source.entries} entries, ${source.bytes} bytes`;
  const lines = {
    planned: [
      `Would ${isResumed ? "go on with copying" : "copy"} ${size} from ${fromType} to ${toType}. Nothing was written.`,
      "Next: stop every server of the source, then run this without -dry-run.",
    ],
    unfinished: [
      `Copied beforehand from ${fromType} to ${toType} in ${took}: ${written} written, ${unchanged} unchanged, ${removed} removed.`,
      "No server accepts the destination yet, because the source may have changed since.",
      "Next: stop every server of the source, then run this without -online, which copies the differences.",
    ],
    done: [
      `Copied ${size} from ${fromType} to ${toType} in ${took}: ${written} written, ${unchanged} unchanged, ${removed} removed.`,
      `Verified: both sides have ${source.entries} entries and the digest ${source.digest}.`,
      `Next: start the servers with ${config} (same seal stanzas as before), and keep the source until they work.`,
    ],
  }[result.outcome];
  return `${lines.join("\n")}\n`;
}

const sinceText = (clock: Clock, began: Millis) => `${((clock.now() - began) / 1000).toFixed(1)} s`;

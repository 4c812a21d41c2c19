// `operator drill`: whether each seal of a configuration can open a snapshot alone. The work is the server's; here are
// its files, its questions and the table.
import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { CofferError, messageOf } from "#common/errors.ts";
import { createLog } from "#common/log.ts";
import { SecretBytes } from "#common/secret-bytes.ts";
import type { CliIo } from "../cli-io.ts";
import { defineLocalCommand } from "../command.ts";
import { table } from "../table.ts";

/** Some seal does not open the snapshot. */
const EXIT_FAILED = 2;

export const drill = defineLocalCommand({
  name: "operator drill",
  summary:
    "Proves on a scratch copy that each seal of a configuration, alone, opens a snapshot. Exit code 0: all, 2: not all.",
  usage: "",
  flags: {
    config: { kind: "texts", help: "Configuration of the server." },
    snapshot: { kind: "text", help: "File of the snapshot." },
    shares: { kind: "switch", help: "Ask for the shares of seals that people open; without it those are left out." },
  },
  examples: [
    "operator drill -config=server.hcl -snapshot=backup.snap",
    "operator drill -config=server.hcl -snapshot=backup.snap -shares",
  ],
  args: [0, 0],
  async run({ flags, io, print }) {
    if (flags.config.length === 0 || flags.snapshot === undefined)
      throw new CofferError("invalid_request", "give -config=FILE, a server's configuration, and -snapshot=FILE");
    const { drill: run } = await import("#server/drill.ts");
    const log = createLog({
      ...{ level: "error", format: "text", now: () => io.clock.now() },
      write: (text) => void io.stderr.write(text),
    });
    const files = await Promise.all(
      flags.config.map(async (name) => ({ name, text: await textOf(resolve(io.cwd, name)) })),
    );
    const askShare = flags.shares ? (seal: string, given: number) => ask(io, seal, given) : undefined;
    const rows = await run({ files, snapshot: resolve(io.cwd, flags.snapshot), io, log, askShare });
    const shown = rows.map(({ seal, type, result, reason, decrypted }) => ({ seal, type, result, reason, decrypted }));
    await print.value({ seals: shown }, () =>
      table(
        ["Seal", "Type", "Result", "Values", "Why not"],
        rows.map(({ seal, type, result, reason, decrypted }) => [seal, type, result, String(decrypted), reason || "-"]),
      ),
    );
    return rows.some(({ result }) => result === "fails") ? EXIT_FAILED : 0;
  },
});

async function ask(io: CliIo, seal: string, given: number): Promise<SecretBytes> {
  const text = (await io.askSecret(`Share ${given + 1} of seal ${seal} (will be hidden): `)).trim();
  const isHex = /^([0-9a-fA-F]{2})+$/.test(text);
  if (text === "") throw new CofferError("invalid_request", "the share is empty");
  return new SecretBytes(Buffer.from(text, isHex ? "hex" : "base64"));
}

async function textOf(file: string): Promise<string> {
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    throw new CofferError("invalid_request", `cannot read ${file}: ${messageOf(error)}`, { cause: error });
  }
}

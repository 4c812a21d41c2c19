// The server as a program of a test's own, from a configuration file and with parts of the test in place of its own. It is
// the whole of such a program: it serves until it is asked to end, and sets the exit code.
import { readFile } from "node:fs/promises";
import { systemClock } from "#common/clock.ts";
import { createLog, type Log } from "#common/log.ts";
import type { ServerParts } from "#server/assemble.ts";
import { parseServerConfig } from "#server/config/server-config.ts";
import { parseServerFlags } from "#server/flags.ts";
import { serve } from "#server/serve.ts";

/** `partsOf` gets the log of the server. */
export async function serveWith(
  file: string,
  partsOf: (log: Log) => Partial<ServerParts> | Promise<Partial<ServerParts>>,
): Promise<void> {
  const end = new AbortController();
  process.once("SIGTERM", () => end.abort());
  const log = createLog({
    level: "info",
    format: "text",
    write: (line) => void process.stderr.write(line),
    now: () => systemClock.now(),
  });
  process.exitCode = await serve(parseServerConfig([{ name: file, text: await readFile(file, "utf8") }]), {
    development: undefined,
    flags: parseServerFlags([`-config=${file}`]),
    log,
    io: {
      ...{ stdout: process.stdout, stderr: process.stderr, env: process.env, cwd: process.cwd() },
      ...{ clock: systemClock, signal: end.signal, readStdin: async () => Buffer.alloc(0) },
    },
    parts: await partsOf(log),
  });
}

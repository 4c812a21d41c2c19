// A server with the engine of outside-engine.ts, as a program: `outside-server.ts <configuration> <folder of the world>`.
// What it does outside has short claims, so that tests see them pass on, and what was undone without a word from its
// maker is undone again soon: later than any pause of these tests.
import { readFile } from "node:fs/promises";
import { systemClock } from "#common/clock.ts";
import { createLog } from "#common/log.ts";
import { parseServerConfig } from "#server/config/server-config.ts";
import { parseServerFlags } from "#server/flags.ts";
import { serve } from "#server/serve.ts";
import { outsideEngine } from "./outside-engine.ts";

const CLAIM_SECONDS = 3;
const CONFIRM_SECONDS = 12;

const [, , file = "", folder = ""] = process.argv;
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
  parts: { engines: [outsideEngine(folder)], claimSeconds: CLAIM_SECONDS, confirmSeconds: CONFIRM_SECONDS },
});

// `coffer server`: reads flags and configuration and runs what they ask for. The only file of the server that sees the
// process's environment. The server itself is in serve.ts, loaded only by the process that is one.
import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { CofferError, messageOf } from "#common/errors.ts";
import { createLog } from "#common/log.ts";
import type { ProgramIo } from "#common/program.ts";
import { parseServerConfig, type ServerConfig } from "./config/server-config.ts";
import { developmentSetup } from "./development.ts";
import { parseServerFlags, SERVER_HELP, type ServerFlags } from "./flags.ts";

/** Runs a server; gives the exit code. */
export async function run(argv: readonly string[], io: ProgramIo): Promise<number> {
  const flags = parseServerFlags(argv);
  if (flags.help) {
    io.stdout.write(SERVER_HELP);
    return 0;
  }
  if (flags.recovery && flags.dev) throw new CofferError("invalid_request", "-recovery and -dev exclude each other");
  const development = flags.dev
    ? await developmentSetup({ ...flags, devStorage: flags.devStorage && resolve(io.cwd, flags.devStorage) })
    : undefined;
  const config = development?.config ?? (await readConfig(flags, io));
  const log = createLog({
    level: flags.logLevel ?? config.logLevel,
    format: config.logFormat === "json" ? "json" : "text",
    write: (line) => void io.stderr.write(line),
    now: () => io.clock.now(),
  });
  for (const warning of config.warnings) log.warn(warning);
  const { serve, serveRecovery } = await import("./serve.ts");
  if (flags.recovery) return serveRecovery(config, { io, log });
  return serve(config, { development, flags, io, log });
}

async function readConfig(flags: ServerFlags, io: ProgramIo): Promise<ServerConfig> {
  if (flags.configFiles.length === 0) {
    throw new CofferError(
      "invalid_request",
      "give a configuration with -config=FILE, or -dev for a development server",
    );
  }
  const files = flags.configFiles.map(async (name) => ({ name, text: await readText(resolve(io.cwd, name)) }));
  return parseServerConfig(await Promise.all(files));
}

async function readText(file: string): Promise<string> {
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    throw new CofferError("invalid_request", `cannot read ${file}: ${messageOf(error)}`, { cause: error });
  }
}

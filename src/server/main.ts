// `coffer server`: reads flags and configuration and runs what they ask for. The only file of the server that sees the
// process's environment. The server itself is in serve.ts, loaded only by the process that is one.
import { rm } from "node:fs/promises";
import { resolve } from "node:path";
import { CofferError } from "#common/errors.ts";
import { assertFipsMode } from "#common/fips-mode.ts";
import { createLog, type Log } from "#common/log.ts";
import type { ProgramIo } from "#common/program.ts";
import { type ConfigFile, parseServerConfig, type ServerConfig } from "./config/server-config.ts";
import { readConfigFiles } from "./config-files.ts";
import { warnOfCoreDumps } from "./core-dumps.ts";
import { type Development, developmentSetup } from "./development.ts";
import { parseServerFlags, SERVER_HELP, type ServerFlags } from "./flags.ts";
import { writePidFile } from "./pid-file.ts";
import { requireStorageKind } from "./storage/registry.ts";
import { Link } from "./workers/link.ts";
import { isWorker, ownPort } from "./workers/process-port.ts";
import { thisMachine, workerCount } from "./workers/worker-count.ts";

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
  const link = isWorker(io.env) ? new Link(ownPort(), io.clock) : undefined;
  try {
    return await runWith({ flags, development, link, io });
  } finally {
    link?.close();
  }
}

/** What decides how this process runs. */
interface Given {
  readonly flags: ServerFlags;
  readonly development: Development | undefined;
  /** When this process is one of a server's workers. */
  readonly link: Link | undefined;
  readonly io: ProgramIo;
}

async function runWith({ flags, development, link, io }: Given): Promise<number> {
  const start = await link?.started();
  const files = start?.files ?? (development ? [] : await readConfigFiles(flags, io));
  const config = development?.config ?? parseServerConfig(files);
  const log = createLog({
    level: flags.logLevel ?? config.logLevel,
    format: config.logFormat === "json" ? "json" : "text",
    write: (line) => void io.stderr.write(line),
    now: () => io.clock.now(),
    ...(start && { fields: { worker: start.number } }),
  });
  if (config.fips) assertFipsMode();
  if (!link) for (const warning of config.warnings) log.warn(warning);
  if (!link && !development) await warnOfCoreDumps(log);
  if (flags.restore !== "" && !link) await restoreFirst(config, flags, io, log);
  const count = countOf(config, { flags, development, link, io });
  if (count > 1) return runSupervisor(config, { count, files, io, log, flags });
  const { serve, serveRecovery } = await import("./serve.ts");
  if (flags.recovery) return serveRecovery(config, { io, log });
  return serve(config, { development, flags, io, log, link });
}

async function restoreFirst(config: ServerConfig, flags: ServerFlags, io: ProgramIo, log: Log): Promise<void> {
  if (flags.dev || flags.recovery)
    throw new CofferError("invalid_request", "-restore fills a server's own storage; leave out -dev and -recovery");
  const { restoreAtStart } = await import("./restore-at-start.ts");
  const { openSeals } = await import("./serve.ts");
  const seals = await openSeals(config, io);
  try {
    await restoreAtStart({ config, file: resolve(io.cwd, flags.restore), seals, io, log });
  } finally {
    for (const seal of seals) if (seal.kind === "auto") await seal.close();
  }
}

/** Of the process that was started by hand. */
function countOf(config: ServerConfig, { flags, development, link }: Given): number {
  if (development || link || flags.recovery) return 1;
  return workerCount(config.workers, requireStorageKind(config.storage.type), thisMachine());
}

async function runSupervisor(
  config: ServerConfig,
  {
    count,
    files,
    io,
    log,
    flags,
  }: { count: number; files: readonly ConfigFile[]; io: ProgramIo; log: Log; flags: ServerFlags },
): Promise<number> {
  const { supervise } = await import("./workers/supervisor.ts");
  await writePidFile(config.pidFile);
  const { clock, signal, onHangup = () => {} } = io;
  const reread = async () => {
    const again = await readConfigFiles(flags, io);
    parseServerConfig(again);
    return again;
  };
  const code = await supervise({ count, files, clock, log, signal, onHangup, reread });
  if (config.pidFile !== undefined) await rm(config.pidFile, { force: true });
  return code;
}

// `exec`: runs a program with secrets in its environment, and starts it anew when they have changed. The work is the
// agent's, which is loaded when it runs; here are flags and the connection.
import { constants } from "node:os";
import { parseDurationSeconds } from "#common/duration.ts";
import { CofferError } from "#common/errors.ts";
import { createLog, isLogLevel } from "#common/log.ts";
import type { CliIo } from "../cli-io.ts";
import type { Command } from "../command.ts";
import { type FlagValues, parseFlags } from "../flags.ts";
import { connect, connectionFlags, tokenOf } from "../settings.ts";

const flagsOfExec = {
  config: { kind: "texts", help: "Configuration of an agent, with env_template stanzas; instead of -env." },
  env: { kind: "pairs", help: "A variable and the secret's key it holds: -env PASSWORD=secret/team/db#password." },
  refresh: { kind: "text", help: "How often secrets are read again; 5m without." },
  "stop-signal": { kind: "text", help: "Signal that ends the program before it is started anew; SIGTERM without." },
  "kill-timeout": { kind: "text", help: "How long after that it is killed; 30s without." },
  "no-restart": { kind: "switch", help: "Leave the program as it is when a secret has changed." },
  "log-level": { kind: "text", help: "debug, info, warn or error; warn without." },
} as const;
const all = { ...flagsOfExec, ...connectionFlags };
type Flags = FlagValues<typeof all>;

const USAGE = "Usage: coffer exec [flags] -- COMMAND [ARGUMENT…]";
const SUMMARY = "Runs a program with secrets in its environment.";
const REFRESH_SECONDS_DEFAULT = 300;
const KILL_SECONDS_DEFAULT = 30;

export const exec: Command = {
  name: "exec",
  summary: SUMMARY,
  help: helpText(),
  async run(argv, io) {
    const { flags, args } = parseFlags(all, argv);
    const hasNames = Object.keys(flags.env).length > 0;
    if (flags.config.length > 0) {
      if (hasNames) throw wrong("-config and -env exclude each other: write env_template stanzas");
      const { runFromFiles } = await import("#agent/file-config/run-from-files.ts");
      const logLevel = isLogLevel(flags["log-level"] ?? "") ? levelOf(flags) : undefined;
      return runFromFiles({ configFiles: flags.config, logLevel, command: args.length === 0 ? undefined : args }, io);
    }
    if (args.length === 0) throw wrong(`the command is missing. ${USAGE}`);
    if (!hasNames) throw wrong("name secrets by -env NAME=path#key, or give -config=FILE");
    return runNamed(flags, args, io);
  },
};

async function runNamed(flags: Flags, command: readonly string[], io: CliIo): Promise<number> {
  const token = await tokenOf(flags, io);
  if (token === undefined) throw wrong("there is no token: log in by `coffer login`, or set VAULT_TOKEN");
  using client = await connect(flags, io);
  const { execNamed } = await import("#agent/exec/exec-named.ts");
  const log = createLog({
    level: levelOf(flags),
    format: "text",
    write: (line) => void io.stderr.write(line),
    now: () => io.clock.now(),
  });
  return execNamed({
    ...{ named: flags.env, client, token, log, io },
    program: {
      command,
      stopSignal: signalOf(flags["stop-signal"] ?? "SIGTERM"),
      killMillis: seconds("kill-timeout", flags["kill-timeout"], KILL_SECONDS_DEFAULT) * 1000,
      restarts: !flags["no-restart"],
    },
    refreshSeconds: Math.max(1, seconds("refresh", flags.refresh, REFRESH_SECONDS_DEFAULT)),
  });
}

function levelOf(flags: Flags) {
  const given = flags["log-level"] ?? "warn";
  if (isLogLevel(given)) return given;
  throw wrong("-log-level must be debug, info, warn or error");
}

function signalOf(name: string): NodeJS.Signals {
  const found = Object.keys(constants.signals).find((known): known is NodeJS.Signals => known === name);
  if (found === undefined) throw wrong(`there is no signal "${name}"; write it as SIGTERM`);
  return found;
}

function seconds(flag: string, text: string | undefined, fallback: number): number {
  if (text === undefined) return fallback;
  const value = parseDurationSeconds(text);
  if (value === undefined || value < 0) throw wrong(`-${flag} must be a duration such as 30s`);
  return value;
}

function wrong(message: string): CofferError {
  return new CofferError("invalid_request", message);
}

function helpText(): string {
  const list = (flags: Readonly<Record<string, { readonly help: string }>>) =>
    Object.entries(flags).map(([name, { help }]) => `  ${`-${name}`.padEnd(20)}${help}`);
  return [
    USAGE,
    "",
    SUMMARY,
    "",
    "The secrets are in the environment of the program and nowhere else. Signals are passed on, and the program's exit",
    "status is this command's. The program does not get the token.",
    "",
    "Examples:",
    "  $ coffer exec -env DB_PASSWORD=secret/team/db#password -- ./serve",
    "  $ coffer exec -config=/etc/coffer/agent.hcl -- ./serve",
    "",
    "Flags:",
    ...list(flagsOfExec),
    "",
    "Connection:",
    ...list(connectionFlags),
    "",
  ].join("\n");
}

// The command line of `coffer server`, with Vault's single-dash flags.
import { CofferError } from "#common/errors.ts";
import { isLogLevel, LOG_LEVELS, type LogLevel } from "#common/log.ts";

export interface ServerFlags {
  readonly configFiles: readonly string[];
  readonly dev: boolean;
  readonly devRootToken: string;
  readonly devListenAddress: string;
  /** A directory: development data that survives a restart. */
  readonly devStorage: string;
  /** Undefined: as the configuration says. */
  readonly logLevel: LogLevel | undefined;
  /** Nothing runs but what repairs a store. */
  readonly recovery: boolean;
  /** A snapshot for an empty storage; "" without. */
  readonly restore: string;
  readonly help: boolean;
}

const TEXT_FLAGS = [
  "config",
  "dev-root-token-id",
  "dev-listen-address",
  "dev-storage",
  "log-level",
  "restore",
] as const;
const SWITCHES = ["dev", "recovery", "dev-no-store-token", "help", "h"] as const;
type TextFlag = (typeof TEXT_FLAGS)[number];

export const SERVER_HELP = `Usage: coffer server [flags]

  Runs a server of the Vault v1 HTTP API.

  -config=FILE             A configuration file, HCL or JSON; may be given several times.
  -dev                     A development server: unsealed, without TLS, on loopback, KV v2 at secret/.
  -dev-root-token-id=ID    Its root token; a random one by default.
  -dev-listen-address=A    Where it listens; 127.0.0.1:8200 by default, port 0 takes any.
  -dev-storage=DIR         Keeps its data in a directory; in memory by default.
  -restore=FILE            A snapshot to fill the storage with first, if that is empty or a restore was interrupted.
  -recovery                Recovery mode: only sys/raw and what opens it, for repairs of a store.
  -log-level=LEVEL         debug, info, warn or error.

  SIGTERM ends it: requests under way are answered first. SIGHUP reads certificates again. With several worker processes
  (workers in the configuration) send signals to the process that was started by hand.
`;

/** Throws `invalid_request` naming the flag. */
export function parseServerFlags(argv: readonly string[]): ServerFlags {
  const texts = new Map<TextFlag, string[]>();
  const switches = new Set<string>();
  for (let i = 0; i < argv.length; i++) {
    const word = argv[i] ?? "";
    const match = /^--?([a-z-]+)(?:=(.*))?$/s.exec(word);
    const name = match?.[1] ?? "";
    const text = TEXT_FLAGS.find((flag) => flag === name);
    if (text) {
      const value = match?.[2] ?? argv[++i];
      if (value === undefined) throw new CofferError("invalid_request", `flag -${name} needs a value`);
      texts.set(text, [...(texts.get(text) ?? []), value]);
    } else if (SWITCHES.some((flag) => flag === name) && (match?.[2] ?? "true") === "true") switches.add(name);
    else throw new CofferError("invalid_request", `unknown argument ${word}; see coffer server -help`);
  }
  const last = (flag: TextFlag) => texts.get(flag)?.at(-1) ?? "";
  return {
    configFiles: texts.get("config") ?? [],
    dev: switches.has("dev"),
    devRootToken: last("dev-root-token-id"),
    devListenAddress: last("dev-listen-address") || "127.0.0.1:8200",
    devStorage: last("dev-storage"),
    logLevel: logLevelOf(last("log-level")),
    recovery: switches.has("recovery"),
    restore: last("restore"),
    help: switches.has("help") || switches.has("h"),
  };
}

/** The command line again, without the root token of a development server. */
export function shownCommandLine(flags: ServerFlags): readonly string[] {
  return [
    ...["coffer", "server"],
    ...(flags.dev ? ["-dev", `-dev-listen-address=${flags.devListenAddress}`] : []),
    ...(flags.devRootToken === "" ? [] : ["-dev-root-token-id=[redacted]"]),
    ...(flags.devStorage === "" ? [] : [`-dev-storage=${flags.devStorage}`]),
    ...flags.configFiles.map((file) => `-config=${file}`),
    ...(flags.logLevel === undefined ? [] : [`-log-level=${flags.logLevel}`]),
  ];
}

function logLevelOf(text: string): LogLevel | undefined {
  if (text === "") return undefined;
  if (isLogLevel(text)) return text;
  throw new CofferError("invalid_request", `-log-level must be one of ${LOG_LEVELS.join(", ")}, not ${text}`);
}

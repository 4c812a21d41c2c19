// The agent as a program of a machine: `coffer agent -config=FILE`. Reads the files, builds the parts, runs them, and does
// so again at SIGHUP with the same token and credentials. A configuration that is wrong then changes nothing.
import { rm, writeFile } from "node:fs/promises";
import { resolve } from "node:path";
import { requireAuth } from "#client/kubernetes-login.ts";
import { backoffMillis } from "#client/retry.ts";
import type { AgentConfig } from "#common/agent-config.ts";
import type { Millis } from "#common/clock.ts";
import { CofferError, messageOf } from "#common/errors.ts";
import { createLog, type Log, type LogFormat, type LogLevel, LogThreshold } from "#common/log.ts";
import type { ProgramIo } from "#common/program.ts";
import { type AgentParts, RELOAD, runAgent } from "../agent.ts";
import type { Login } from "../auth/auth-method.ts";
import { Variables } from "../exec/variables.ts";
import { type AgentState, fileState, memoryState } from "../state/agent-state.ts";
import { type AgentFile, parseAgentFile } from "./agent-file.ts";
import type { AutoAuth } from "./auto-auth.ts";
import { type Connection, connectionOf } from "./connection.ts";
import { coreConfig } from "./core-config.ts";
import { identityOf } from "./identity.ts";
import { LogFile } from "./log-file.ts";
import { readAgentFiles } from "./read-files.ts";
import { writeToken } from "./token-sinks.ts";

export interface FileFlags {
  readonly configFiles: readonly string[];
  readonly logLevel?: LogLevel | undefined;
  readonly logFormat?: LogFormat | undefined;
  readonly logFile?: string | undefined;
  readonly exitAfterAuth?: boolean | undefined;
  /** Of `coffer exec`: in place of the exec stanza's. */
  readonly command?: readonly string[] | undefined;
}

/** Gives the exit code: 0, or that of the program in exec. Throws `invalid_request` for a wrong configuration. */
export async function runFromFiles(flags: FileFlags, io: ProgramIo): Promise<number> {
  const first = await readAll(flags, io);
  const threshold = new LogThreshold(levelOf(first, flags));
  const logFile = new LogFile(flags.logFile ?? first.top.log_file, io.cwd);
  const log = createLog({
    level: threshold,
    format: flags.logFormat ?? (first.top.log_format === "json" ? "json" : "text"),
    write: (line) => {
      io.stderr.write(line);
      logFile.write(line);
    },
    now: () => io.clock.now(),
  });
  const pidFile = first.top.pid_file === undefined ? undefined : resolve(io.cwd, first.top.pid_file);
  if (pidFile !== undefined) await writeFile(pidFile, `${process.pid}\n`, { mode: 0o644 });
  try {
    const machine = new Machine({ flags, io, log, threshold, logFile, variables: new Variables() });
    return await machine.run(first);
  } finally {
    if (pidFile !== undefined) await rm(pidFile, { force: true });
    logFile.close();
  }
}

async function readAll(flags: FileFlags, io: ProgramIo): Promise<AgentFile> {
  const file = parseAgentFile(await readAgentFiles(flags.configFiles, io.cwd));
  if (file.autoAuth === undefined)
    throw new CofferError(
      "invalid_request",
      "the configuration has no auto_auth stanza, so the agent has nothing to do",
    );
  return flags.exitAfterAuth === true ? { ...file, top: { ...file.top, exit_after_auth: true } } : file;
}

function levelOf({ top }: AgentFile, flags: FileFlags): LogLevel {
  if (flags.logLevel !== undefined) return flags.logLevel;
  return { trace: "debug", debug: "debug", info: "info", warn: "warn", error: "error", err: "error" }[
    top.log_level
  ] as LogLevel;
}

interface MachineParts {
  readonly flags: FileFlags;
  readonly io: ProgramIo;
  readonly log: Log;
  readonly threshold: LogThreshold;
  readonly logFile: LogFile;
  readonly variables: Variables;
}

/** One process: its runs follow each other, and the program in exec outlives them. */
class Machine {
  readonly #parts: MachineParts;
  #reload = new AbortController();
  #next: AgentFile | undefined;
  #states = new Map<string, AgentState>();
  constructor(parts: MachineParts) {
    this.#parts = parts;
    parts.io.onHangup?.(() => void this.#hangUp());
  }

  async run(first: AgentFile): Promise<number> {
    const { io, log, flags, variables } = this.#parts;
    const command = flags.command ?? first.exec?.command ?? [];
    if (first.exec === undefined && flags.command === undefined) {
      await this.#runs(first, io.signal);
      return 0;
    }
    const { runSupervised } = await import("../exec/run-supervised.ts");
    return runSupervised({
      program: {
        command,
        // parseAgentFile has looked it up among the system's signals.
        stopSignal: (first.exec?.restart_stop_signal ?? "SIGTERM") as NodeJS.Signals,
        killMillis: (first.exec?.restart_kill_timeout ?? 30) * 1000,
        restarts: first.exec?.restart_on_secret_changes !== "never",
      },
      ...{ variables, io, log, forwardsHangup: false },
      agent: (signal, ready) => this.#runs(first, signal, ready),
    });
  }

  /** One run for each configuration, until the signal aborts or a run ends by itself. */
  async #runs(first: AgentFile, end: AbortSignal, onDelivered?: () => void): Promise<void> {
    for (let file: AgentFile | undefined = first; file !== undefined; ) {
      for (const warning of file.warnings) this.#parts.log.warn(warning);
      this.#reload = new AbortController();
      this.#next = undefined;
      await this.#runOnce(file, AbortSignal.any([end, this.#reload.signal]), onDelivered);
      file = end.aborted ? undefined : this.#next;
    }
  }

  async #runOnce(file: AgentFile, signal: AbortSignal, onDelivered?: () => void): Promise<void> {
    const { io, log, variables } = this.#parts;
    const { autoAuth, top } = file;
    if (autoAuth === undefined) return;
    const connection = connectionOf(file, io);
    const config = await coreConfig(file, connection.address, io.cwd);
    const failed = new AbortController();
    using client = connection.open();
    using loginClient = connection.open({ namespace: autoAuth.namespace ?? connection.namespace });
    const login = autoAuth.login({
      ...{ client: loginClient, mountPath: autoAuth.mountPath, wrapTtlSeconds: autoAuth.wrapTtlSeconds },
      openClient: (tls) => connection.open({ ...tls, namespace: autoAuth.namespace ?? connection.namespace }),
      ...{ clock: io.clock, env: io.env },
    });
    const sinks = { sinks: autoAuth.sinks, client, cwd: io.cwd, log };
    const ending = AbortSignal.any([signal, failed.signal]);
    const wait = (attempt: number) => loginWait(autoAuth, attempt);
    if (autoAuth.wrapTtlSeconds !== undefined) {
      const { keepWrapped } = await import("./wrapped-login.ts");
      return keepWrapped({
        login,
        sinks,
        wait,
        isOnce: top.exit_after_auth,
        exitOnError: autoAuth.exitOnError,
        log,
        clock: io.clock,
        signal,
      });
    }
    await runAgent({
      ...{ config, client, clock: io.clock, log, signal: ending, tls: connection.tls, env: io.env },
      variables: definedVariables(io.env),
      login: authOf(login, loginClient, autoAuth, (error) => failed.abort(error)),
      loginWait: wait,
      state: await this.#stateOf(file, connection, config),
      write: variables.write,
      onToken: (token) => writeToken(token, sinks),
      onDelivered,
      attemptsMax: file.templateConfig.exit_on_retry_failure ? file.retries + 1 : undefined,
    });
    if (failed.signal.aborted) throw failed.signal.reason;
  }

  /** In a file, where the configuration names one; else in memory, for the next run. */
  async #stateOf({ top, autoAuth }: AgentFile, connection: Connection, config: AgentConfig): Promise<AgentState> {
    const identity = identityOf(connection, autoAuth, config);
    const known = this.#states.get(identity);
    const { io } = this.#parts;
    const state =
      known ??
      (top.state_file === undefined ? memoryState() : await fileState(resolve(io.cwd, top.state_file), identity));
    this.#states.set(identity, state);
    return state;
  }

  async #hangUp(): Promise<void> {
    const { flags, io, log, threshold, logFile } = this.#parts;
    logFile.reopen();
    try {
      const file = await readAll(flags, io);
      // What a run would fail at must not end one that works.
      const connection = connectionOf(file, io);
      await coreConfig(file, connection.address, io.cwd);
      threshold.change(levelOf(file, flags));
      this.#next = file;
      log.info("configuration read again");
      this.#reload.abort(RELOAD);
    } catch (error) {
      log.error("the configuration is wrong; going on with the one of before", { reason: messageOf(error) });
    }
  }
}

/** Doubles from the least to the most, with some randomness, as Vault's agent does. */
function loginWait({ minBackoffSeconds, maxBackoffSeconds }: AutoAuth, attempt: number): Millis {
  const least = minBackoffSeconds * 1000;
  return Math.max(least, backoffMillis(attempt + Math.ceil(Math.log2(least / 250)), maxBackoffSeconds * 1000));
}

type AgentLogin = NonNullable<AgentParts["login"]>;

function authOf(
  login: Login,
  client: Parameters<typeof requireAuth>[0],
  { mountPath, exitOnError }: AutoAuth,
  fail: (error: Error) => void,
): AgentLogin {
  return async (signal) => {
    try {
      return requireAuth(client, `${mountPath}/login`, (await login(signal)).auth);
    } catch (error) {
      if (exitOnError && !signal.aborted) {
        fail(new CofferError("unavailable", `the login failed, and exit_on_err is set: ${messageOf(error)}`));
      }
      throw error;
    }
  };
}

function definedVariables(env: ProgramIo["env"]): Readonly<Record<string, string>> {
  return Object.fromEntries(
    Object.entries(env).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])),
  );
}

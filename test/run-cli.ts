// Runs the CLI inside a test: its arguments, standard input and environment come from the test, its output goes to it.
// Each run has a home folder of its own unless one is given.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { CliIo } from "#cli/cli-io.ts";
import { runCli } from "#cli/program.ts";
import { registry } from "#cli/registry.ts";
import type { Clock } from "#common/clock.ts";
import { HastyClock } from "./hasty-clock.ts";

export interface CliResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}
export interface CliSetting {
  readonly address?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly stdin?: string;
  /** What a person types when asked; without it there is no terminal. */
  readonly typed?: string;
  readonly home?: string;
  /** Default: one that does not wait (hasty-clock.ts). */
  readonly clock?: Clock;
}

/** Runs one command line and gives what it printed. */
export async function cli(setting: CliSetting, ...argv: string[]): Promise<CliResult> {
  const home = setting.home ?? (await mkdtemp(join(tmpdir(), "coffer-cli-")));
  let stdout = "";
  let stderr = "";
  const io: CliIo = {
    stdout: { write: (text) => (stdout += text) },
    stderr: { write: (text) => (stderr += text) },
    readStdin: async () => Buffer.from(setting.stdin ?? ""),
    askSecret: async () => {
      if (setting.typed === undefined) throw new Error("there is no terminal in this test");
      return setting.typed;
    },
    isTerminal: false,
    env: { HOME: home, ...(setting.address === undefined ? {} : { VAULT_ADDR: setting.address }), ...setting.env },
    cwd: home,
    clock: setting.clock ?? new HastyClock(),
    signal: new AbortController().signal,
  };
  try {
    const code = await runCli(argv, registry, io);
    return { code, stdout, stderr };
  } finally {
    if (setting.home === undefined) await rm(home, { recursive: true, force: true });
  }
}

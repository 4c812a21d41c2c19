// The entry of everything: builds what programs and commands may use out of the process, and runs the one that the
// arguments name. The only file of the CLI that touches `process`.
import { systemClock } from "#common/clock.ts";
import { CofferError } from "#common/errors.ts";
import type { CliIo } from "./cli-io.ts";
import { runCli } from "./program.ts";
import { registry } from "./registry.ts";

/** Passwords, policies and secrets fit; an endless pipe does not. */
const STDIN_BYTES_MAX = 32 * 1024 * 1024;

async function readStdin(): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of process.stdin) {
    const bytes = Buffer.from(chunk);
    size += bytes.length;
    if (size > STDIN_BYTES_MAX) {
      throw new CofferError("too_large", `standard input has more than ${STDIN_BYTES_MAX} bytes`);
    }
    chunks.push(bytes);
  }
  return Buffer.concat(chunks);
}

async function askSecret(question: string): Promise<string> {
  if (process.stdin.isTTY !== true) {
    throw new CofferError("invalid_request", "there is no terminal to ask at; give the value as an argument, or -");
  }
  // Only where a person is asked: an agent's memory has no use for it.
  const [{ createInterface }, { Writable }] = await Promise.all([
    import("node:readline/promises"),
    import("node:stream"),
  ]);
  process.stderr.write(question);
  // readline echoes what is typed to its output; this one swallows it.
  const silent = new Writable({ write: (_chunk, _encoding, done) => done() });
  const lines = createInterface({ input: process.stdin, output: silent, terminal: true });
  // The terminal is in raw mode, so Ctrl-C comes as a key.
  const cancel = new AbortController();
  lines.once("SIGINT", () => cancel.abort());
  try {
    return await lines.question("", { signal: cancel.signal });
  } catch (cause) {
    throw new CofferError("invalid_request", "cancelled", { cause });
  } finally {
    lines.close();
    process.stderr.write("\n");
  }
}

function abortOnSignals(): AbortSignal {
  const end = new AbortController();
  for (const name of ["SIGTERM", "SIGINT"] as const) {
    // The first asks to end; a second one takes Node's own way and ends at once.
    process.once(name, () => end.abort(name));
  }
  return end.signal;
}

const io: CliIo = {
  stdout: process.stdout,
  stderr: process.stderr,
  readStdin,
  askSecret,
  isTerminal: process.stdout.isTTY === true,
  env: process.env,
  cwd: process.cwd(),
  clock: systemClock,
  signal: abortOnSignals(),
  onHangup: (run) => void process.on("SIGHUP", run),
  onSignal: (name, run) => void process.on(name, run),
};

// A reader that has seen enough (`coffer list … | head`) is no failure.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") throw error;
});
// Setting the code instead of exiting lets pipes take what is still buffered.
process.exitCode = await runCli(process.argv.slice(2), registry, io);

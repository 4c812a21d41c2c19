// This machine's own syslog daemon. Most listen on a datagram socket, which Node cannot open: for those the lines go
// through the program `logger` (util-linux), which stays open. Daemons with a stream socket are spoken to directly.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { StreamPeer } from "../transport/stream-peer.ts";
import { localMessage, type SyslogFormat } from "./syslog-message.ts";

/** What `logger` passes in one message; longer lines would be cut in two. */
export const LOCAL_LINE_BYTES_MAX = 64 * 1024;

export interface LocalSyslog {
  open(signal: AbortSignal): Promise<void>;
  send(lines: readonly string[], signal: AbortSignal): Promise<void>;
  close(): void;
}

/** Finds out by itself what the socket is. */
export function localSyslog(path: string, format: SyslogFormat, now: () => number): LocalSyslog {
  const stream = new StreamPeer({ path });
  const logger = new Logger(path, format);
  let isDatagram = false;
  const open = async (signal: AbortSignal) => {
    if (isDatagram) return logger.open();
    try {
      await stream.open(signal);
    } catch (error) {
      if (!(error instanceof Error && "code" in error && error.code === "EPROTOTYPE")) throw error;
      isDatagram = true;
      await logger.open();
    }
  };
  return {
    open,
    async send(lines, signal) {
      await open(signal);
      if (isDatagram) return logger.send(lines, signal);
      const messages = lines.map((line) => `${localMessage(format, now(), line)}\n`);
      await stream.send(messages.join(""), signal);
    },
    close() {
      stream.close();
      logger.close();
    },
  };
}

class Logger {
  readonly #argv: readonly string[];
  #child: ChildProcess | undefined;
  constructor(path: string, { facility, tag }: SyslogFormat) {
    this.#argv = [
      ...["--socket", path, "--socket-errors=on", "--id", "--tag", tag],
      ...["--priority", `${facility}.info`, "--size", String(LOCAL_LINE_BYTES_MAX)],
    ];
  }

  async open(): Promise<void> {
    if (this.#child) return;
    const child = spawn("logger", this.#argv, { stdio: ["pipe", "ignore", "ignore"] });
    child.stdin.on("error", () => {}); // whoever writes is told by the write itself
    const forget = () => {
      if (this.#child === child) this.#child = undefined;
    };
    child.once("error", forget);
    child.once("exit", forget);
    await once(child, "spawn"); // rejects with the error when there is no such program
    this.#child = child;
  }

  async send(lines: readonly string[], signal: AbortSignal): Promise<void> {
    const input = this.#child?.stdin;
    if (!input) throw new Error("the program logger has ended");
    const cut = () => this.close();
    signal.addEventListener("abort", cut, { once: true });
    try {
      await new Promise<void>((resolve, reject) => {
        input.write(`${lines.join("\n")}\n`, (error) => (error ? reject(error) : resolve()));
      });
    } finally {
      signal.removeEventListener("abort", cut);
    }
  }

  close(): void {
    this.#child?.kill();
    this.#child = undefined;
  }
}

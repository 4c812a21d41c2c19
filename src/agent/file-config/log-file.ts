// The file of log_file: lines are appended at once, and SIGHUP opens it anew, as logrotate wants it.
import { closeSync, openSync, writeSync } from "node:fs";
import { resolve } from "node:path";
import { CofferError, messageOf } from "#common/errors.ts";

/** The owner writes, the group reads: who looks at logs need not be the agent. */
const MODE = 0o640;

export class LogFile {
  readonly #path: string | undefined;
  #handle: number | undefined;
  /** Without a path it takes lines and does nothing. Throws `invalid_request` when the file cannot be opened. */
  constructor(path: string | undefined, cwd: string) {
    this.#path = path === undefined ? undefined : resolve(cwd, path);
    this.#open();
  }

  write(line: string): void {
    if (this.#handle !== undefined) writeSync(this.#handle, line);
  }

  /** Keeps the old one when the new one cannot be opened. */
  reopen(): void {
    const before = this.#handle;
    try {
      this.#open();
    } catch {
      return;
    }
    if (before !== undefined) closeSync(before);
  }

  close(): void {
    if (this.#handle !== undefined) closeSync(this.#handle);
    this.#handle = undefined;
  }

  #open(): void {
    if (this.#path === undefined) return;
    try {
      this.#handle = openSync(this.#path, "a", MODE);
    } catch (cause) {
      throw new CofferError("invalid_request", `cannot open the log file: ${messageOf(cause)}`, { cause });
    }
  }
}

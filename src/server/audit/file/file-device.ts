// Audit lines appended to a file. Lines that arrive while a write is under way go out together in the next one. A file
// that was renamed or deleted (log rotation) is noticed and opened anew.
import { type FileHandle, open, stat } from "node:fs/promises";
import { CofferError, messageOf } from "#common/errors.ts";
import type { AuditDevice, AuditDeviceType } from "../audit-device.ts";

/** Lines waiting for the disk; beyond, the device refuses, so that a hung disk does not fill the memory. */
const QUEUE_MAX = 10_000;
const DEFAULT_MODE = 0o600;

export const fileAuditDevice: AuditDeviceType = {
  type: "file",
  async open(options) {
    const path = options["file_path"] ?? options["path"];
    if (!path) throw new CofferError("invalid_request", "file_path is required");
    if (path === "stdout") return streamDevice((line) => process.stdout.write(line));
    if (path === "discard") return streamDevice(() => true);
    const device = new FileDevice(path, parseMode(options["mode"]));
    await device.reopen();
    return device;
  },
};

function parseMode(text: string | undefined): number {
  if (text === undefined || text === "" || text === "0000") return DEFAULT_MODE;
  const mode = Number.parseInt(text, 8);
  if (!/^[0-7]{3,4}$/.test(text))
    throw new CofferError("invalid_request", `mode must be octal like "0600", not "${text}"`);
  return mode;
}

function streamDevice(write: (line: string) => boolean): AuditDevice {
  return { write: async (line) => void write(line), close: async () => {} };
}

interface Waiting {
  readonly line: string;
  readonly done: () => void;
  readonly failed: (error: unknown) => void;
}

class FileDevice implements AuditDevice {
  readonly #path: string;
  readonly #mode: number;
  #file: FileHandle | undefined;
  #inode = -1;
  #queue: Waiting[] = [];
  #flushing = false;
  constructor(path: string, mode: number) {
    this.#path = path;
    this.#mode = mode;
  }

  async reopen(): Promise<void> {
    try {
      const file = await open(this.#path, "a", this.#mode);
      await this.#file?.close();
      this.#file = file;
      this.#inode = (await file.stat()).ino;
    } catch (error) {
      throw new CofferError(
        "invalid_request",
        `sanity check failed; unable to open ${this.#path} for writing: ${messageOf(error)}`,
        {
          cause: error,
        },
      );
    }
  }

  write(line: string): Promise<void> {
    if (this.#queue.length >= QUEUE_MAX)
      return Promise.reject(new Error(`the audit file ${this.#path} does not keep up`));
    return new Promise((done, failed) => {
      this.#queue.push({ line, done, failed });
      if (!this.#flushing) void this.#flush();
    });
  }

  async #flush(): Promise<void> {
    this.#flushing = true;
    while (this.#queue.length > 0) {
      const batch = this.#queue;
      this.#queue = [];
      try {
        await this.#append(batch.map((waiting) => waiting.line).join(""));
        for (const waiting of batch) waiting.done();
      } catch (error) {
        for (const waiting of batch) waiting.failed(error);
      }
    }
    this.#flushing = false;
  }

  async #append(text: string): Promise<void> {
    if (!(await this.#isCurrent())) await this.reopen();
    await this.#file?.appendFile(text);
  }

  async #isCurrent(): Promise<boolean> {
    if (!this.#file) return false;
    try {
      return (await stat(this.#path)).ino === this.#inode;
    } catch {
      return false;
    }
  }

  async close(): Promise<void> {
    await this.#file?.close();
    this.#file = undefined;
  }
}

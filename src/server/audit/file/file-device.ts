// Audit lines appended to a file. A file that was renamed or deleted (log rotation) is noticed and opened anew, one that
// was cut is noticed too; both are told to the chain. Several processes may append to one file.
import { fstatSync } from "node:fs";
import { type FileHandle, open, stat } from "node:fs/promises";
import { resolve } from "node:path";
import type { Clock } from "#common/clock.ts";
import { CofferError, messageOf } from "#common/errors.ts";
import type { AuditDevice, AuditDeviceType, DeviceOptions, NewPlace } from "../audit-device.ts";
import { endOf } from "./file-end.ts";

const DEFAULT_MODE = 0o600;
const NEWLINE = "\n";
/**
 * Between two looks at the name: a renamed file is noticed this late, and gets lines until then as a rotation expects.
 * A look before every write was an eighth of the server's processor time (measured with a profile of KV reads). A file
 * that was deleted or cut is noticed at once: the open file itself tells.
 */
const LOOK_MILLIS = 100;

export const fileAuditDevice: AuditDeviceType = {
  type: "file",
  options: {
    file_path: "The file; `stdout` for standard output, `discard` for nowhere.",
    path: "Another name of file_path.",
    mode: "Permissions of a file that is made, octal; 0600 by default.",
  },
  ownPlace(options) {
    const path = pathOf(options);
    return path === undefined || STREAMS.includes(path) ? undefined : resolve(path);
  },
  make(options, { clock }) {
    const path = pathOf(options);
    if (!path) throw new CofferError("invalid_request", "file_path is required");
    if (path === "stdout") return streamDevice(toStandardOutput);
    if (path === "discard") return streamDevice(async () => {});
    return new FileDevice(path, parseMode(options["mode"]), clock);
  },
};

/** No files: each line is written by itself, and nobody reads a chain back from there. */
const STREAMS = ["stdout", "discard"];

function pathOf(options: DeviceOptions): string | undefined {
  return options["file_path"] ?? options["path"];
}

function parseMode(text: string | undefined): number {
  if (text === undefined || text === "" || text === "0000") return DEFAULT_MODE;
  const mode = Number.parseInt(text, 8);
  if (!/^[0-7]{3,4}$/.test(text))
    throw new CofferError("invalid_request", `mode must be octal like "0600", not "${text}"`);
  return mode;
}

function streamDevice(write: (text: string) => Promise<void>): AuditDevice {
  return { probe: async () => {}, write: (lines) => write(linesText(lines)), close: async () => {} };
}

/** Done when the reader has it or the pipe's buffer has: a log collector that is gone is an error, not silence. */
function toStandardOutput(text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    process.stdout.write(text, (error) => (error ? reject(error) : resolve()));
  });
}

function linesText(lines: readonly string[]): string {
  return lines.join(NEWLINE) + NEWLINE;
}

class FileDevice implements AuditDevice {
  readonly #path: string;
  readonly #mode: number;
  readonly #clock: Clock;
  #lookedAt = Number.NEGATIVE_INFINITY;
  #file: FileHandle | undefined;
  #inode = -1;
  /** Bytes that are there at least; other processes may have added more. */
  #size = 0;
  #hasWritten = false;
  /** The file's last byte is no newline: a write was cut off, by us or by whoever wrote before. */
  #isRagged = false;
  constructor(path: string, mode: number, clock: Clock) {
    this.#path = path;
    this.#mode = mode;
    this.#clock = clock;
  }

  async probe(): Promise<void> {
    try {
      await this.#open();
    } catch (cause) {
      const message = `sanity check failed; unable to open ${JSON.stringify(this.#path)} for writing: ${messageOf(cause)}`;
      throw new CofferError("invalid_request", message, { cause });
    }
  }

  async follow(): Promise<NewPlace | undefined> {
    const now = this.#clock.now();
    if (this.#hasWritten && now - this.#lookedAt < LOOK_MILLIS && this.#isWhole()) return undefined;
    const place = await this.#look();
    this.#lookedAt = now; // not when the look failed: the next line is to find that out as well
    return place;
  }

  /** Synchronous: about a microsecond, where a question to the thread pool takes a hundred. */
  #isWhole(): boolean {
    if (!this.#file) return false;
    const { nlink, size } = fstatSync(this.#file.fd);
    return nlink > 0 && size >= this.#size;
  }

  async #look(): Promise<NewPlace | undefined> {
    const now = await this.#current();
    if (now?.ino === this.#inode && now.size >= this.#size) return this.#hasWritten ? undefined : this.#end();
    const isSame = now?.ino === this.#inode;
    if (isSame) this.#size = now.size;
    else await this.#open();
    if (!this.#hasWritten) return this.#end();
    await this.#end();
    return { start: isSame ? "truncated" : "rotated" };
  }

  async #current(): Promise<{ ino: number; size: number } | undefined> {
    if (!this.#file) return undefined;
    try {
      return await stat(this.#path);
    } catch {
      return undefined; // gone: opened anew below
    }
  }

  async #open(): Promise<void> {
    const file = await open(this.#path, "a", this.#mode);
    await this.#file?.close();
    this.#file = file;
    const { ino, size } = await file.stat();
    this.#inode = ino;
    this.#size = size;
  }

  /** Where a first line of ours would follow. */
  async #end(): Promise<NewPlace> {
    const end = await endOf(this.#path);
    this.#isRagged = end.isRagged;
    return end.isEmpty ? { start: "new" } : { start: "continued", previous: end.mac };
  }

  async write(lines: readonly string[]): Promise<void> {
    const bytes = Buffer.from(this.#isRagged ? NEWLINE + linesText(lines) : linesText(lines));
    try {
      await writeWhole(this.#file, bytes);
    } catch (error) {
      this.#lookedAt = Number.NEGATIVE_INFINITY;
      this.#isRagged = true; // perhaps a part is there; an empty line more does no harm
      throw error;
    }
    this.#isRagged = false;
    this.#hasWritten = true;
    this.#size += bytes.length;
  }

  async close(): Promise<void> {
    await this.#file?.close();
    this.#file = undefined;
  }
}

/** A write may take a part only, as when the disk is nearly full; the rest is tried until one fails. */
async function writeWhole(file: FileHandle | undefined, bytes: Buffer): Promise<void> {
  for (let at = 0; file && at < bytes.length; ) at += (await file.write(bytes, at)).bytesWritten;
}

// Variables of a program in place of files: a "file" of the agent whose path is env:NAME is kept here, never on a disk.
import { CofferError } from "#common/errors.ts";
import { type FileWriter, writeToDisk } from "../delivery.ts";

const PREFIX = "env:";

/** The path of a variable among the agent's files. */
export function variablePath(name: string): string {
  return `${PREFIX}${name}`;
}

export class Variables {
  readonly #values = new Map<string, string>();

  /** Takes variables, and writes everything else to the disk. */
  readonly write: FileWriter = async (file, path, content) => {
    if (!path.startsWith(PREFIX)) return writeToDisk(file, path, content);
    const name = path.slice(PREFIX.length);
    const value = content.toString("utf8");
    if (value.includes("\0")) {
      throw new CofferError("invalid_request", `the value of ${name} has a NUL byte, which no environment can hold`);
    }
    const isNew = this.#values.get(name) !== value;
    this.#values.set(name, value);
    return isNew;
  };

  /** All of them as they are now. */
  all(): Readonly<Record<string, string>> {
    return Object.fromEntries(this.#values);
  }
}

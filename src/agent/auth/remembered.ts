// What was read from a file that is removed after reading: the file's text while there is one, else what it last held.
import { existsSync } from "node:fs";

export class Remembered {
  readonly #keeps: boolean;
  #last: string | undefined;
  /** Without `keeps` the file is all that counts. */
  constructor(keeps: boolean) {
    this.#keeps = keeps;
  }

  /** Rejects as `read` does when there is neither the file nor a memory of it. */
  async text(file: string, read: () => Promise<string>): Promise<string> {
    if (this.#keeps && this.#last !== undefined && !existsSync(file)) return this.#last;
    const text = await read();
    if (this.#keeps) this.#last = text;
    return text;
  }
}

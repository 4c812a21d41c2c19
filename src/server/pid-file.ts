// The file that tells which process to send signals to: the one that was started by hand.
import { writeFile } from "node:fs/promises";
import { CofferError, messageOf } from "#common/errors.ts";

/** The id of this process, for whoever sends it signals. Throws `invalid_request`. */
export async function writePidFile(file: string | undefined): Promise<void> {
  if (file === undefined) return;
  try {
    await writeFile(file, `${process.pid}\n`, { mode: 0o644 });
  } catch (error) {
    throw new CofferError("invalid_request", `pid_file cannot be written: ${messageOf(error)}`, { cause: error });
  }
}

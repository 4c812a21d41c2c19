// LMDB's write lock is held by a thread that runs this program's callbacks on the main one. A process that ends while that
// thread waits for the main one, which waits for it to end, would keep the lock for ever, and nobody could write.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { systemClock, within } from "#common/clock.ts";
import { silentLog } from "#common/log.ts";
import { openLmdbStorage } from "#server/storage/lmdb/lmdb-storage.ts";

const ROUNDS = 5;
/** Of a process that is told to end, and of a commit afterwards. */
const END_MILLIS_MAX = 15_000;

it.each(["exit", "failure"])("a process that ends by %s with commits under way holds nobody up", async (way) => {
  const path = await mkdtemp(join(tmpdir(), "coffer-exit-"));
  const storage = await openLmdbStorage({ path, log: silentLog, clock: systemClock });
  try {
    for (let round = 0; round < ROUNDS; round++) {
      const script = join(import.meta.dirname, "exiting-writer.ts");
      const child = spawn(process.execPath, [script, path, way], { stdio: ["ignore", "ignore", "pipe"] });
      let told = "";
      child.stderr.on("data", (chunk) => (told += String(chunk)));
      const ended = await within(systemClock, END_MILLIS_MAX, once(child, "close"));
      child.kill("SIGKILL");
      expect(ended).not.toBe("late");
      const writes = new Map([["after", Buffer.from(String(round))]]);
      expect(await within(systemClock, END_MILLIS_MAX, storage.commit({ expected: new Map(), writes }))).toBe(
        "committed",
      );
      if (way === "failure") expect(told).toContain("nobody has expected this");
    }
  } finally {
    await storage.close();
    await rm(path, { recursive: true, force: true });
  }
});

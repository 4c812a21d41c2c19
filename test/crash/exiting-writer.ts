// A process of its own for exit-under-way.test.ts: writes to the store in argv[2] with many at once and ends in the middle
// of it, in the way that argv[3] names.
import { systemClock } from "#common/clock.ts";
import { silentLog } from "#common/log.ts";
import { openLmdbStorage } from "#server/storage/lmdb/lmdb-storage.ts";

const WRITERS = 16;
const WRITE_MILLIS = 150;

const [, , path = "", way = ""] = process.argv;
const storage = await openLmdbStorage({ path, log: silentLog, clock: systemClock });
for (let writer = 0; writer < WRITERS; writer++)
  void (async () => {
    for (let n = 0; ; n++)
      await storage.commit({ expected: new Map(), writes: new Map([[`w/${writer}`, Buffer.from(String(n))]]) });
  })();
await systemClock.sleep(WRITE_MILLIS);
if (way === "exit") process.exit(0);
void Promise.reject(new Error("nobody has expected this"));

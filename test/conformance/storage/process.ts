// A process of its own for the tests of sharing and of crashes: opens the store in argv[2] and does what argv[3] says.
import { createInterface } from "node:readline";
import { systemClock } from "#common/clock.ts";
import { silentLog } from "#common/log.ts";
import { openLmdbStorage } from "#server/storage/lmdb/lmdb-storage.ts";
import type { Storage } from "#server/storage/storage.ts";

const WRITERS = 8;

/** Adds to the shared counter, `rounds` times for certain. */
async function increment(storage: Storage, rounds: number): Promise<void> {
  for (let done = 0; done < rounds; ) {
    const [entry] = await storage.get(["counter"]);
    const value = Buffer.from(String(Number(Buffer.from(entry?.value ?? []).toString() || "0") + 1));
    const expected = new Map([["counter", entry?.version]]);
    if ((await storage.commit({ expected, writes: new Map([["counter", value]]) })) === "committed") done++;
  }
}

/** Writes keys w/<writer>/<n> in pairs and prints each name once it is durable, until killed. */
async function writeForever(storage: Storage, writer: number): Promise<never> {
  for (let n = 0; ; n++) {
    const name = `${writer}/${n}`;
    const writes = new Map([
      [`w/${name}`, Buffer.from(name)],
      [`twin/${name}`, Buffer.from(name)],
    ]);
    await storage.commit({ expected: new Map(), writes });
    process.stdout.write(`${name}\n`);
  }
}

/** Does what each line of standard input says: "read KEY" prints the value's sixth byte, "write" writes one record. */
async function obey(storage: Storage): Promise<void> {
  process.stdout.write("open\n");
  for await (const line of createInterface({ input: process.stdin })) {
    const [verb, key = ""] = line.split(" ");
    if (verb === "read") process.stdout.write(`${key}=${(await storage.get([key]))[0]?.value[5]}\n`);
    else {
      await storage.commit({ expected: new Map(), writes: new Map([["by-other", Buffer.alloc(10, 7)]]) });
      process.stdout.write("written\n");
    }
  }
}

const [, , path = "", task = "", count = "0"] = process.argv;
const mapBytes = task === "obey" && count !== "0" ? { mapBytes: Number(count) } : {};
const storage = await openLmdbStorage({ path, log: silentLog, clock: systemClock, ...mapBytes });
if (task === "obey") await obey(storage);
else if (task === "increment") await increment(storage, Number(count));
else await Promise.all(Array.from({ length: WRITERS }, (_, writer) => writeForever(storage, writer)));
await storage.close();

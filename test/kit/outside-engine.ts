// An engine whose outside world is a folder, for the tests of the journal and of the end of leases: each thing it makes
// is a file. What it does to which thing, by which process, is in a log of its own, line by line. A file named after a
// point in its code kills the process right there, once.
//
//   <folder>/things/<name>   what stands outside
//   <folder>/log             <millis> <pid> <make|revoke|undo> <begin|end> <name>
//   <folder>/crash/<point>   present: kill -9 at that point
import { randomUUID } from "node:crypto";
import { appendFile, mkdir, readdir, readFile, rm, unlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type Clock, systemClock } from "#common/clock.ts";
import { CofferError } from "#common/errors.ts";
import type { JsonObject } from "#common/json.ts";
import { string } from "#common/schema.ts";
import type { Backend, BackendType, LeaseContext } from "#server/framework/backend.ts";
import { field } from "#server/framework/fields.ts";
import { definePath } from "#server/framework/path.ts";

/** Where the process can be killed, in the order of a thing's life. */
export const CRASH_POINTS = [
  "before-intent",
  "before-effect",
  "after-effect",
  "before-revoke",
  "after-revoke",
  "before-undo",
  "after-undo",
] as const;
export type CrashPoint = (typeof CRASH_POINTS)[number];

/** How long an effect may take with its commit. */
export const WITHIN_SECONDS = 2;

export interface LogLine {
  readonly millis: number;
  readonly pid: number;
  readonly what: "make" | "revoke" | "undo";
  readonly when: "begin" | "end";
  readonly name: string;
}

/** The outside world as a test sees it. */
export class OutsideWorld {
  readonly folder: string;
  constructor(folder: string) {
    this.folder = folder;
  }

  async create(): Promise<void> {
    await mkdir(join(this.folder, "things"), { recursive: true });
    await mkdir(join(this.folder, "crash"), { recursive: true });
    await writeFile(join(this.folder, "log"), "");
  }

  async things(): Promise<readonly string[]> {
    return (await readdir(join(this.folder, "things"))).sort();
  }

  async log(): Promise<readonly LogLine[]> {
    const text = await readFile(join(this.folder, "log"), "utf8");
    return text
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => {
        const [millis, pid, what, when, name = ""] = line.split(" ");
        return { millis: Number(millis), pid: Number(pid), what, when, name } as LogLine; // written right below
      });
  }

  /** Kills the process that comes to the point next. */
  async crashAt(point: CrashPoint): Promise<void> {
    await writeFile(join(this.folder, "crash", point), "");
  }

  async crashNowhere(): Promise<void> {
    for (const point of CRASH_POINTS) await rm(join(this.folder, "crash", point), { force: true });
  }
}

/** The engine, of type "outside": `things/:id` makes a thing and a lease on it. `slow` milliseconds for each act. */
export function outsideEngine(folder: string, clock: Clock = systemClock): BackendType {
  const world = new World(folder, clock);
  return { type: "outside", create: () => backendOf(world) };
}

class World {
  readonly #folder: string;
  readonly #clock: Clock;
  constructor(folder: string, clock: Clock) {
    this.#folder = folder;
    this.#clock = clock;
  }

  async note(what: LogLine["what"], when: LogLine["when"], name: string): Promise<void> {
    await appendFile(join(this.#folder, "log"), `${Date.now()} ${process.pid} ${what} ${when} ${name}\n`);
  }

  /** Dies here if the test wants it to. */
  async at(point: CrashPoint): Promise<void> {
    try {
      await unlink(join(this.#folder, "crash", point));
    } catch {
      return;
    }
    process.kill(process.pid, "SIGKILL");
    await this.#clock.sleep(60_000);
  }

  /** Fails when there is one already: nothing is made twice. */
  async make(name: string, slowMillis: number): Promise<void> {
    await this.note("make", "begin", name);
    await this.#clock.sleep(slowMillis);
    await writeFile(join(this.#folder, "things", name), name, { flag: "wx" });
    await this.note("make", "end", name);
  }

  async remove(what: "revoke" | "undo", name: string): Promise<void> {
    await this.note(what, "begin", name);
    await this.at(`before-${what}`);
    await rm(join(this.#folder, "things", name), { force: true });
    await this.at(`after-${what}`);
    await this.note(what, "end", name);
  }
}

function backendOf(world: World): Backend {
  const remove = (what: "revoke" | "undo") => (_context: LeaseContext, data: JsonObject) =>
    world.remove(what, string.parse(data["name"], "name"));
  return {
    type: "outside",
    summary: "For tests.",
    paths: [thingPath(world)],
    leaseKinds: { thing: { revoke: remove("revoke") } },
    effects: { thing: { undo: remove("undo") } },
  };
}

const thingPath = (world: World) =>
  definePath("things/:id", {
    summary: "A thing outside, for as long as its lease.",
    fields: {
      ttl: field.seconds("How long."),
      slow: field.integer("Milliseconds that making it takes."),
      fail: field.flag("Fail when it is made."),
      contend: field.flag("Write what all such requests write."),
    },
    operations: {
      update: {
        summary: "Make it.",
        handler: async (context, { id, ttl, slow, fail, contend }) => {
          if (contend) {
            await context.storage.get("contended");
            context.storage.put("contended", Buffer.from(id));
          }
          const name = `${id}-${randomUUID()}`;
          await world.at("before-intent");
          await context.outside.make({ kind: "thing", data: { name }, withinSeconds: WITHIN_SECONDS }, async () => {
            await world.at("before-effect");
            await world.make(name, slow ?? 0);
            await world.at("after-effect");
          });
          if (fail) throw new CofferError("invalid_request", "failed as it was told");
          const internal = { name };
          const lease = { kind: "thing", ttlSeconds: ttl ?? 0, maxTtlSeconds: 0, renewable: true, internal };
          return { data: { name }, lease };
        },
      },
    },
  });

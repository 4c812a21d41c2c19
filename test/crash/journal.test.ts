// Kills servers while an engine makes and ends things outside, at random instants and at each named point, stops them
// and lets them go on, and looks at what stands outside afterwards: within the deadline each thing belongs to a live
// lease or is gone, no lease is without its thing, nothing was made twice, and nobody ended what another was ending.
import { randomBytes, randomInt } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { systemClock } from "#common/clock.ts";
import type { JsonObject } from "#common/json.ts";
import { at, must, send } from "#test/kit/client.ts";
import { CRASH_POINTS, OutsideWorld } from "#test/kit/outside-engine.ts";
import { type RunningServer, startProgram, untilUnsealed, writeConfig } from "#test/kit/server.ts";
import { sharedKinds, startSharedStorage } from "#test/kit/shared-storages.ts";

const PROGRAM = join(import.meta.dirname, "../kit/outside-server.ts");
const RANDOM_KILLS = 10;
const PAUSES = 3;
/** How long the clients are at work before the kill, at most, once they have had some answers. */
const ROUND_MILLIS_MAX = 600;
const ANSWERS = 30;
/** A machine that is busy with other things gives fewer. */
const ANSWERS_MILLIS_MAX = 3_000;
/** A process that comes to no crash point in this time is killed all the same. */
const POINT_MILLIS_MAX = 6_000;
/** Longer than any claim and any intent of these servers. */
const PAUSE_MILLIS = 5_000;
const CLIENTS = 6;
/** Intents last 2 s, claims 3 s, failures wait 10 s and then 20 s; what fell silent is undone again after 12 s. */
const SETTLED_MILLIS_MAX = 60_000;
const TEST_MILLIS_MAX = 280_000;

interface Interval {
  readonly pid: number;
  readonly from: number;
  readonly to: number;
}

class Drill {
  readonly world: OutsideWorld;
  readonly servers: RunningServer[] = [];
  root = "";
  made = 0;
  answered = 0;
  readonly #folder: string;
  readonly #configs: string[] = [];
  /** When processes were killed, by their ids, and when they stood still. */
  readonly #killed = new Map<number, number>();
  readonly #paused: Interval[] = [];

  constructor(folder: string) {
    this.#folder = folder;
    this.world = new OutsideWorld(join(folder, "world"));
  }

  /** `storage` for the configuration; LMDB in the drill's own folder without it. */
  async start(count: number, storage: JsonObject = { lmdb: { path: join(this.#folder, "data") } }): Promise<void> {
    const seal = { static: { current_key: randomBytes(32).toString("base64"), current_key_id: "drill" } };
    await this.world.create();
    this.#configs.push(await writeConfig(this.#folder, { seal, storage }));
    for (let i = 0; i < count; i++) this.servers[i] = await this.#launch();
    const [first] = this.servers;
    const made = await must(first?.address ?? "", "", "POST", "sys/init", {
      recovery_shares: 1,
      recovery_threshold: 1,
    });
    this.root = String(made["root_token"]);
    for (const server of this.servers) await untilUnsealed(server);
    await must(first?.address ?? "", this.root, "POST", "sys/mounts/out", { type: "outside" });
  }

  async #launch(): Promise<RunningServer> {
    const server = await startProgram([PROGRAM, this.#configs[0] ?? "", this.world.folder]);
    void this.#noteEnd(server.pid);
    return server;
  }

  /** At once: on a busy machine others have taken its claims over before anybody starts it again. */
  async #noteEnd(pid: number): Promise<void> {
    while (isRunning(pid)) await systemClock.sleep(10);
    this.#killed.set(pid, Date.now());
  }

  server(index: number): RunningServer {
    const server = this.servers[index];
    if (!server) throw new Error(`there is no server ${index}`);
    return server;
  }

  async killAndRestart(index: number): Promise<void> {
    await this.server(index).kill9();
    await this.restart(index);
  }

  /** One that is dead already. */
  async restart(index: number): Promise<void> {
    this.servers[index] = await this.#launch();
    await untilUnsealed(this.server(index));
  }

  async pause(index: number): Promise<void> {
    const { pid } = this.server(index);
    const from = Date.now();
    this.server(index).signal("SIGSTOP");
    await systemClock.sleep(PAUSE_MILLIS);
    this.server(index).signal("SIGCONT");
    this.#paused.push({ pid, from, to: Date.now() });
  }

  /** Clients on all servers until what is done to the servers is over; what they are answered does not matter. */
  async during(work: () => Promise<void>): Promise<void> {
    let over = false;
    const client = async (number: number) => {
      while (!over) {
        const { address } = this.server(number % this.servers.length);
        const answer = await this.#act(address);
        if (answer === undefined) await systemClock.sleep(100);
      }
    };
    const clients = Array.from({ length: CLIENTS }, (_, number) => client(number));
    try {
      await work();
    } finally {
      over = true;
      await Promise.all(clients);
    }
  }

  /** Lets the clients work until they have had so many answers more. */
  async work(answers: number): Promise<void> {
    const until = Date.now() + ANSWERS_MILLIS_MAX;
    for (const wanted = this.answered + answers; this.answered < wanted && Date.now() < until; )
      await systemClock.sleep(20);
  }

  async #act(address: string): Promise<unknown> {
    const id = `t${this.made++}`;
    const kind = randomInt(10);
    const body: JsonObject = {
      ttl: kind < 4 ? `${1 + randomInt(3)}s` : "1h",
      slow: kind < 2 ? 200 : 0,
      fail: kind === 4,
      contend: kind === 5,
    };
    const answer = await send(address, this.root, "POST", `out/things/${id}`, body);
    if (answer !== undefined) this.answered++;
    const lease_id = answer?.body["lease_id"];
    if (kind !== 6 || typeof lease_id !== "string") return answer;
    return send(address, this.root, "POST", "sys/leases/revoke", { lease_id });
  }

  /** Waits until nothing is to be ended or undone any more, and compares. */
  async assertWhole(): Promise<void> {
    await this.world.crashNowhere();
    const until = Date.now() + SETTLED_MILLIS_MAX;
    for (;;) {
      const [things, leased] = [idsOf(await this.world.things()), await this.#leased()];
      const open = await this.#openIntents();
      if (open.length === 0 && JSON.stringify(things) === JSON.stringify(leased)) break;
      if (Date.now() > until) {
        expect(open).toEqual([]);
        expect(things).toEqual(leased);
      }
      await systemClock.sleep(200);
    }
    await this.assertLog();
  }

  /** Ids of things that have a lease, in order; a thing's id is in its lease's path. */
  async #leased(): Promise<readonly string[]> {
    const { address } = this.server(0);
    const answer = await send(address, this.root, "GET", "sys/leases/lookup/out/things?list=true");
    const found: string[] = [];
    for (const folder of textsOf(at(answer?.body, "data", "keys"))) {
      const leases = await send(address, this.root, "GET", `sys/leases/lookup/out/things/${folder}?list=true`);
      for (const _ of textsOf(at(leases?.body, "data", "keys"))) found.push(folder.slice(0, -1));
    }
    return found.sort();
  }

  /** Those that wait for their deadline, to be undone, or to be undone once more because their maker fell silent. */
  async #openIntents(): Promise<readonly string[]> {
    const answer = await send(this.server(0).address, this.root, "GET", "sys/journal?list=true");
    const info = Object.values(Object(at(answer?.body, "data", "key_info") ?? {}));
    return info.map((each) => String(Object(each).state));
  }

  async assertLog(): Promise<void> {
    const log = await this.world.log();
    const made = log.filter(({ what, when }) => what === "make" && when === "end").map(({ name }) => name);
    expect(new Set(made).size, "things made twice").toBe(made.length);
    const endings = new Map<string, Interval[]>();
    for (const [i, { millis, pid, what, when, name }] of log.entries()) {
      if (what === "make" || when !== "begin") continue;
      const ended = log.slice(i).find((line) => line.pid === pid && line.when === "end" && line.name === name);
      const to = ended?.millis ?? this.#killed.get(pid) ?? millis;
      const known = endings.get(name) ?? [];
      for (const other of known) {
        const overlaps = other.from < to && millis < other.to;
        const isPaused = [other, { pid, from: millis, to }].some((each) => this.#wasPaused(each));
        const both = [other, { pid, from: millis, to }].map((each) => JSON.stringify(each)).join(" and ");
        expect(overlaps && !isPaused, `${name} is ended by two at once: ${both}`).toBe(false);
      }
      endings.set(name, [...known, { pid, from: millis, to }]);
    }
  }

  #wasPaused({ pid, from, to }: Interval): boolean {
    return this.#paused.some((pause) => pause.pid === pid && pause.from < to && from < pause.to);
  }

  async stop(): Promise<void> {
    for (const server of this.servers) await server.kill9();
  }
}

function idsOf(things: readonly string[]): readonly string[] {
  return things.map((name) => name.slice(0, name.indexOf("-"))).sort();
}

function textsOf(value: unknown): readonly string[] {
  return Array.isArray(value) ? value.map(String) : [];
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

async function untilGone(pid: number): Promise<boolean> {
  const until = Date.now() + POINT_MILLIS_MAX;
  while (isRunning(pid) && Date.now() < until) await systemClock.sleep(10);
  return !isRunning(pid);
}

describe("what stands outside", { timeout: TEST_MILLIS_MAX }, () => {
  let folder = "";
  let drill = new Drill(folder);
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "coffer-journal-"));
    drill = new Drill(folder);
  });
  afterEach(async (context) => {
    await drill.stop();
    if (context.task.result?.state === "fail") console.log(drill.servers.map((server) => server.output()).join("\n"));
    await rm(folder, { recursive: true, force: true });
  });

  it("has its lease or goes, whichever point in the life of a thing its server dies at", async () => {
    await drill.start(1);
    await drill.during(async () => {
      for (const point of [...CRASH_POINTS, ...CRASH_POINTS]) {
        await drill.work(ANSWERS);
        await drill.world.crashAt(point);
        const died = await untilGone(drill.server(0).pid);
        expect(died, `nothing came to ${point}`).toBe(true);
        await drill.restart(0);
      }
    });
    await drill.assertWhole();
    console.log(`${drill.answered} of ${drill.made} requests answered`);
  });

  it(`has its lease or goes, in ${RANDOM_KILLS} kills at any instant`, async () => {
    await drill.start(1);
    await drill.during(async () => {
      for (let round = 0; round < RANDOM_KILLS; round++) {
        await drill.work(randomInt(2 * ANSWERS));
        await systemClock.sleep(randomInt(ROUND_MILLIS_MAX));
        await drill.killAndRestart(0);
      }
    });
    await drill.assertWhole();
    console.log(`${drill.answered} of ${drill.made} requests answered`);
  });

  it.each(sharedKinds)(
    "has its lease or goes with two servers on one $type, killed and paused in turns",
    async (kind) => {
      await using storage = await startSharedStorage(kind);
      if (!storage) return;
      await drill.start(2, storage.stanza);
      await killAndPause(drill);
      await drill.assertWhole();
      console.log(`${drill.answered} of ${drill.made} requests answered`);
    },
  );
});

async function killAndPause(drill: Drill): Promise<void> {
  const restartDead = async () => {
    for (const index of [0, 1]) if (await diesSoon(drill.server(index).pid)) await drill.restart(index);
  };
  await drill.during(async () => {
    for (let round = 0; round < PAUSES; round++) {
      await systemClock.sleep(randomInt(ROUND_MILLIS_MAX));
      await drill.pause(round % 2);
      await systemClock.sleep(randomInt(ROUND_MILLIS_MAX));
      await drill.killAndRestart((round + 1) % 2);
      await drill.world.crashAt(CRASH_POINTS[randomInt(CRASH_POINTS.length)] ?? "before-undo");
      await restartDead();
      await drill.world.crashNowhere();
    }
  });
  await restartDead();
}

/** Within about a second. */
async function diesSoon(pid: number): Promise<boolean> {
  await systemClock.sleep(700);
  return !isRunning(pid);
}

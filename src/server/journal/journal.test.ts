import { describe, expect, it } from "vitest";
import { CofferError } from "#common/errors.ts";
import { type Core, coreParts, startCore, testSeal } from "#test/kit/core.ts";
import { createMaker, type Maker } from "#test/kit/maker-engine.ts";
import { assemble } from "../assemble.ts";
import { CONFIRM_SECONDS, UNDO_ATTEMPTS_MAX } from "./undoing.ts";

/** Of the maker's intents. */
const WITHIN = 30;

interface Making {
  readonly core: Core;
  readonly maker: Maker;
}

async function startMaking(): Promise<Making> {
  const maker = createMaker(WITHIN);
  const core = await startCore({ engines: [maker.type] });
  await core.root("update", "sys/mounts/m", { type: "maker" });
  return { core, maker };
}

const make = (core: Core, id: string, data = {}) => core.send(core.rootToken, "update", `m/make/${id}`, data);

async function pass(core: Core, seconds: number): Promise<void> {
  await core.clock.advance(seconds * 1000);
  await core.settle();
}

async function journalKeys(core: Core): Promise<readonly string[]> {
  return [...(await core.dump()).keys()].filter((key) => key.includes("core/journal"));
}

async function listed(core: Core, namespace = ""): Promise<readonly Record<string, unknown>[]> {
  const { data } = await core.send(core.rootToken, "list", "sys/journal", {}, { namespace });
  return Object.values(Object(data["key_info"] ?? {}));
}

describe("what a request makes outside", () => {
  it("is written down before it is made, and forgotten in the commit that keeps it", async () => {
    const { core, maker } = await startMaking();
    let before: readonly unknown[] = [];
    maker.during = async () => {
      before = await listed(core);
    };
    const made = await make(core, "a");
    expect(made.status).toBe(200);
    expect(before).toEqual([
      expect.objectContaining({ mount_path: "m/", kind: "thing", state: "open", attempts: 0, age: 0, error: "" }),
    ]);
    expect(await journalKeys(core)).toEqual([]);
    await pass(core, WITHIN + CONFIRM_SECONDS + 10);
    expect([...maker.outside]).toEqual(["a-1"]);
  });

  it("is undone at once when the request fails afterwards", async () => {
    const { core, maker } = await startMaking();
    expect((await make(core, "a", { fail: true })).status).toBe(400);
    expect([...maker.outside]).toEqual(["a-1"]);
    await core.settle();
    expect([...maker.outside]).toEqual([]);
    expect(await journalKeys(core)).toEqual([]);
  });

  it("is undone when making it fails half-way, even if the request goes on and commits", async () => {
    const { core, maker } = await startMaking();
    maker.during = async () => {
      throw new CofferError("upstream_failed", "made, and the connection is lost");
    };
    expect((await make(core, "a", { shrug: true })).status).toBe(204);
    expect([...maker.outside]).toEqual(["a-1"]);
    await core.settle();
    expect([...maker.outside]).toEqual([]);
    expect(await journalKeys(core)).toEqual([]);
  });

  it("is undone for every run of a request but the one that commits", async () => {
    const { core, maker } = await startMaking();
    let runs = 0;
    maker.during = async () => {
      if (runs++ < 2) await core.root("update", "m/contended");
    };
    const made = await make(core, "a", { contend: true });
    expect(made.data).toEqual({ name: "a-3" });
    expect([...maker.outside]).toEqual(["a-1", "a-2", "a-3"]);
    await core.settle();
    expect([...maker.outside]).toEqual(["a-3"]);
    expect(await journalKeys(core)).toEqual([]);
  });

  it("is not made by a run that could not commit", async () => {
    const { core, maker } = await startMaking();
    let runs = 0;
    maker.before = async () => {
      if (runs++ < 2) await core.root("update", "m/contended");
    };
    expect((await make(core, "a", { contend: true })).status).toBe(200);
    expect(runs).toBe(3);
    expect([...maker.outside]).toEqual(["a-3"]);
  });

  it("does not stand without its lease when it took longer than it may", async () => {
    const { core, maker } = await startMaking();
    maker.during = async () => {
      await core.clock.sleep(0);
      await core.clock.advance((WITHIN + 1) * 1000);
      await core.settle();
    };
    const late = await make(core, "a");
    expect(late.status).toBe(502);
    expect(maker.aborted).toBe(1);
    await core.settle();
    await pass(core, CONFIRM_SECONDS);
    expect([...maker.outside]).toEqual([]);
    expect(await journalKeys(core)).toEqual([]);
  });

  it("is undone at its deadline when nobody is there any more, and once more later", async () => {
    const { core, maker } = await startMaking();
    // A process that dies between effect and commit never answers.
    maker.during = () => new Promise(() => {});
    void make(core, "a");
    await expect.poll(() => [...maker.outside]).toEqual(["a-1"]);
    maker.during = async () => {};
    const other = assemble(
      coreParts({ storage: core.storage, clock: core.clock, engines: [maker.type], seals: [testSeal()] }),
    );
    await other.services.node.tryAutoUnseal();
    // Without waking the timer of the request, which this process is not to have any more.
    core.clock.now = () => Date.UTC(2026, 0, 1) + (WITHIN + 1) * 1000;
    await other.background.sweep();
    expect([...maker.outside]).toEqual([]);
    expect(await listed(core)).toEqual([expect.objectContaining({ state: "confirming" })]);
    // It was only stopped, and goes on.
    maker.outside.add("a-1");
    core.clock.now = () => Date.UTC(2026, 0, 1) + (WITHIN + CONFIRM_SECONDS + 2) * 1000;
    await other.background.sweep();
    expect([...maker.outside]).toEqual([]);
    expect(await journalKeys(core)).toEqual([]);
  });

  it("stays when it is not known that the commit came through", async () => {
    const { core, maker } = await startMaking();
    const commit = core.storage.commit.bind(core.storage);
    let lost = false;
    core.storage.commit = async (batch) => {
      const outcome = await commit(batch);
      if (lost || ![...batch.writes.keys()].some((key) => key.startsWith("core/lease/m/"))) return outcome;
      lost = true;
      throw new CofferError("unavailable", "the connection broke");
    };
    expect((await make(core, "a")).status).toBe(503);
    await core.settle();
    expect([...maker.outside]).toEqual(["a-1"]);
    expect(await journalKeys(core)).toEqual([]);
    await core.root("update", "sys/leases/revoke-prefix/m");
    expect([...maker.outside]).toEqual([]);
  });

  it("is undone when it is not known that the commit came through, and it did not", async () => {
    const { core, maker } = await startMaking();
    const commit = core.storage.commit.bind(core.storage);
    core.storage.commit = async (batch) => {
      if (![...batch.writes.keys()].some((key) => key.startsWith("core/lease/m/"))) return commit(batch);
      throw new CofferError("unavailable", "the connection broke");
    };
    expect((await make(core, "a")).status).toBe(503);
    await core.settle();
    expect([...maker.outside]).toEqual([]);
    expect(await journalKeys(core)).toEqual([]);
  });

  it("is not made when the intent cannot be written", async () => {
    const { core, maker } = await startMaking();
    const commit = core.storage.commit.bind(core.storage);
    core.storage.commit = async (batch) => {
      if ([...batch.writes.keys()].some((key) => key.startsWith("core/journal/")))
        throw new CofferError("unavailable", "the disk is full");
      return commit(batch);
    };
    expect((await make(core, "a")).status).toBe(503);
    expect(maker.outside.size).toBe(0);
  });
});

describe("what cannot be undone", () => {
  it("is tried again after 10, 20, 40… seconds up to 15 minutes, and then kept for an administrator", async () => {
    const { core, maker } = await startMaking();
    maker.failing = true;
    await make(core, "a", { fail: true });
    await core.settle();
    for (let attempt = 1; attempt < UNDO_ATTEMPTS_MAX; attempt++) {
      expect(await listed(core)).toEqual([
        expect.objectContaining({ state: "retrying", attempts: attempt, error: "the other system is down" }),
      ]);
      const wait = Math.min(10 * 2 ** (attempt - 1), 900);
      await pass(core, wait - 1);
      expect(await listed(core)).toEqual([expect.objectContaining({ attempts: attempt })]);
      await pass(core, 1);
    }
    const stuck = expect.objectContaining({ state: "stuck", attempts: UNDO_ATTEMPTS_MAX, due_time: null });
    expect(await listed(core)).toEqual([stuck]);
    maker.failing = false;
    await pass(core, 365 * 86_400);
    expect(await listed(core)).toEqual([stuck]);
    expect(core.services.sweeps.stuck).toBe(1);
    expect((await core.root("update", "sys/journal/retry")).data).toEqual({ retried: 1 });
    await core.settle();
    expect([...maker.outside]).toEqual([]);
    expect(await journalKeys(core)).toEqual([]);
  });

  it("is shown and forgotten by its id", async () => {
    const { core, maker } = await startMaking();
    maker.failing = true;
    await make(core, "a", { fail: true });
    await core.settle();
    const [id] = Object(await core.root("list", "sys/journal")).data.keys;
    const shown = await core.root("read", `sys/journal/${id}`);
    expect(shown.data).toMatchObject({ id, mount_path: "m/", state: "retrying" });
    expect(shown.text).not.toContain('"a-1"');
    await core.root("delete", `sys/journal/${id}`);
    expect(await journalKeys(core)).toEqual([]);
    expect((await core.send(core.rootToken, "delete", `sys/journal/${id}`)).status).toBe(404);
    expect((await core.send(core.rootToken, "update", "sys/journal/retry", { id })).status).toBe(404);
    maker.failing = false;
    await pass(core, 86_400);
    expect([...maker.outside]).toEqual(["a-1"]);
  });

  it("does not keep others from being undone while a system hangs", async () => {
    const { core, maker } = await startMaking();
    await core.root("update", "sys/mounts/hung", { type: "maker" });
    for (let i = 0; i < 20; i++) await core.send(core.rootToken, "update", `hung/make/h${i}`, { fail: true });
    await make(core, "a", { fail: true });
    maker.hanging = (name) => name.startsWith("h");
    const sweep = core.server.background.sweep();
    await expect
      .poll(() => maker.outside.has("a-21"))
      .toBe(false)
      .catch(() => {});
    await expect.poll(() => maker.undoing).toBe(8);
    for (let i = 0; i < 5; i++) await core.clock.advance(1_000);
    await sweep;
    expect([...maker.outside].filter((name) => name.startsWith("a"))).toEqual([]);
    expect(maker.undoing).toBe(8);
  });

  it("needs sudo to be seen or touched", async () => {
    const { core } = await startMaking();
    await core.policy("p", 'path "sys/journal*" { capabilities = ["create", "read", "update", "delete", "list"] }');
    const token = await core.token({ policies: ["p"] });
    expect((await core.send(token, "list", "sys/journal")).status).toBe(403);
    expect((await core.send(token, "read", "sys/journal/x")).status).toBe(403);
    expect((await core.send(token, "delete", "sys/journal/x")).status).toBe(403);
    expect((await core.send(token, "update", "sys/journal/retry")).status).toBe(403);
  });
});

describe("a mount that is disabled", () => {
  it("undoes what it made outside before its data goes", async () => {
    const { core, maker } = await startMaking();
    await core.root("update", "m/contended");
    maker.failing = true;
    await make(core, "a", { fail: true });
    await core.root("delete", "sys/mounts/m");
    await core.settle();
    expect((await core.dump("mount/")).size).toBe(1);
    maker.failing = false;
    await pass(core, 10);
    await core.settle();
    expect([...maker.outside]).toEqual([]);
    expect((await core.dump("mount/")).size).toBe(0);
    expect(await journalKeys(core)).toEqual([]);
  });

  it("takes no intent any more, and has what was under way undone", async () => {
    const { core, maker } = await startMaking();
    maker.during = async () => {
      maker.during = async () => {};
      await core.root("delete", "sys/mounts/m");
    };
    expect((await make(core, "a")).status).toBe(404);
    await core.settle();
    await core.settle();
    expect([...maker.outside]).toEqual([]);
    expect(await journalKeys(core)).toEqual([]);
  });
});

describe("the journal of a namespace", () => {
  it("is its own, and is empty before the namespace goes", async () => {
    const { core, maker } = await startMaking();
    await core.root("update", "sys/namespaces/n");
    await core.root("update", "sys/mounts/m", { type: "maker" }, { namespace: "n" });
    maker.failing = true;
    await core.send(core.rootToken, "update", "m/make/a", { fail: true }, { namespace: "n" });
    await core.settle();
    expect(await listed(core)).toEqual([]);
    expect(await listed(core, "n")).toHaveLength(1);
    await core.root("delete", "sys/namespaces/n");
    await core.settle();
    expect([...(await core.dump("core/namespace/")).keys()]).toHaveLength(1);
    maker.failing = false;
    await pass(core, 10);
    // The journal, then the mount, then the namespace.
    for (let round = 0; round < 3; round++) await core.settle();
    expect([...maker.outside]).toEqual([]);
    expect([...(await core.dump("core/namespace/")).keys()]).toEqual([]);
  });

  it("finds its mount again that has moved to another namespace", async () => {
    const { core, maker } = await startMaking();
    await core.root("update", "sys/namespaces/n");
    maker.failing = true;
    await make(core, "a", { fail: true });
    await core.settle();
    await core.root("update", "sys/remount", { from: "m", to: "n/moved" });
    maker.failing = false;
    await pass(core, 10);
    expect([...maker.outside]).toEqual([]);
    expect(await journalKeys(core)).toEqual([]);
  });
});

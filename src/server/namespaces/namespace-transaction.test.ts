import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { FakeClock } from "#common/clock.ts";
import { silentLog } from "#common/log.ts";
import { object, string } from "#common/schema.ts";
import { SecretBytes } from "#common/secret-bytes.ts";
import { Barrier } from "../barrier/barrier.ts";
import { recordKind } from "../barrier/transaction.ts";
import { openMemoryStorage } from "../storage/memory/memory-storage.ts";
import { namespaceIdOf, namespacePrefix, namespaceView } from "./namespace-transaction.ts";

const kind = recordKind("thing", object({ v: string }));

async function openBarrier(): Promise<Barrier> {
  const barrier = new Barrier({ storage: openMemoryStorage(), clock: new FakeClock(), log: silentLog });
  using rootKey = SecretBytes.random(32);
  await barrier.initialize({ rootKey, plain: [] });
  await barrier.unseal(rootKey);
  return barrier;
}

describe("a namespace's part of a transaction", () => {
  it("is the transaction itself for the root namespace", async () => {
    const tx = (await openBarrier()).begin();
    expect(namespaceView(tx, "")).toBe(tx);
    const view = namespaceView(tx, "aaaaaa");
    expect([namespaceIdOf(tx), namespaceIdOf(view)]).toEqual(["", "aaaaaa"]);
    expect(namespaceView(view, "")).toBe(tx);
    expect(namespaceView(view, "aaaaaa")).toBe(view);
  });

  it("keeps its records below its prefix and shows them by their own keys", async () => {
    const tx = (await openBarrier()).begin();
    const [a, b] = [namespaceView(tx, "aaaaaa"), namespaceView(tx, "bbbbbb")];
    a.write(kind, "core/policy/p", { v: "a" });
    b.write(kind, "core/policy/p", { v: "b" });
    b.write(kind, "core/policy/q", { v: "b" });
    expect(await tx.list("ns/", { limit: 10 })).toEqual(["aaaaaa/", "bbbbbb/"]);
    expect(await a.list("core/policy/", { limit: 10 })).toEqual(["p"]);
    expect(await b.scan({ from: "core/policy/", to: "core/policy0", limit: 10 })).toEqual([
      "core/policy/p",
      "core/policy/q",
    ]);
    expect(await a.read(kind, "core/policy/p")).toEqual({ v: "a" });
    expect(await tx.read(kind, "core/policy/p")).toBeUndefined();
    expect(await a.get("core/policy/q")).toBeUndefined();
    a.delete("core/policy/p");
    expect(await a.get("core/policy/p")).toBeUndefined();
    expect(await b.read(kind, "core/policy/p")).toEqual({ v: "b" });
  });

  it.each([
    "mount/1/a",
    "core/token/id/h",
    "core/expiry/000000000001/x",
    "core/job/1",
    "core/audit",
    "core/token-salt",
  ])("shares %s with all others", async (key) => {
    const tx = (await openBarrier()).begin();
    namespaceView(tx, "aaaaaa").write(kind, key, { v: "1" });
    expect(await namespaceView(tx, "bbbbbb").read(kind, key)).toEqual({ v: "1" });
    expect(await tx.read(kind, key)).toEqual({ v: "1" });
  });

  it("never reaches what another one keeps, whatever the keys", async () => {
    const barrier = await openBarrier();
    const key = fc.stringMatching(/^[a-z./%-]{1,24}$/).filter((text) => !text.includes("//") && !text.startsWith("/"));
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom("core/policy/", "identity/", "core/lease/", "ns/bbbbbb/", ""),
        key,
        async (folder, name) => {
          const tx = barrier.begin();
          const [a, b] = [namespaceView(tx, "aaaaaa"), namespaceView(tx, "bbbbbb")];
          b.write(kind, folder + name, { v: "theirs" });
          const shared = (await tx.get(folder + name)) !== undefined;
          if (shared) return;
          expect(await a.get(folder + name)).toBeUndefined();
          a.write(kind, folder + name, { v: "ours" });
          a.delete(namespacePrefix("bbbbbb") + folder + name);
          expect(await b.read(kind, folder + name)).toEqual({ v: "theirs" });
        },
      ),
      { numRuns: 200 },
    );
  });
});

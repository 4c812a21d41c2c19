import { describe, expect, it } from "vitest";
import { FakeClock } from "#common/clock.ts";
import { silentLog } from "#common/log.ts";
import { jsonObject } from "#common/schema.ts";
import { SecretBytes } from "#common/secret-bytes.ts";
import { openMemoryStorage } from "../storage/memory/memory-storage.ts";
import { Barrier } from "./barrier.ts";
import { storageView } from "./storage-view.ts";
import { recordKind } from "./transaction.ts";

async function begin() {
  const barrier = new Barrier({ storage: openMemoryStorage(), clock: new FakeClock(), log: silentLog });
  const rootKey = SecretBytes.random(32);
  await barrier.initialize({ rootKey, plain: [] });
  await barrier.unseal(rootKey);
  return barrier.begin();
}

describe("storageView", () => {
  it("reads, writes and lists below its prefix", async () => {
    const tx = await begin();
    const view = storageView(tx, "logical/one/");
    const kind = recordKind("thing", jsonObject);
    tx.put("logical/two/a", Buffer.from("other"));
    view.put("a", Buffer.from("mine"));
    view.write(kind, "deep/er", { x: 1 });
    await view.prefetch(["a", "b"]);
    expect(Buffer.from((await tx.get("logical/one/a")) ?? []).toString()).toBe("mine");
    expect(await view.read(kind, "deep/er")).toEqual({ x: 1 });
    expect(await view.list("", { limit: 9 })).toEqual(["a", "deep/"]);
    expect(await view.list("deep/", { limit: 9 })).toEqual(["er"]);
    view.delete("a");
    expect(await view.get("a")).toBeUndefined();
  });

  it.each(["..", "../two/a", "a/../../two/a", "a/.."])("refuses %s", async (path) => {
    const view = storageView(await begin(), "logical/one/");
    const refused = expect.objectContaining({ code: "invalid_request" });
    expect(() => view.get(path)).toThrow(refused);
    expect(() => view.put(path, Buffer.from(""))).toThrow(refused);
    expect(() => view.list(`${path}/`, { limit: 1 })).toThrow(refused);
  });

  it("takes names that merely contain dots", async () => {
    const view = storageView(await begin(), "logical/one/");
    view.put("a..b/...", Buffer.from("1"));
    expect(await view.list("a..b/", { limit: 1 })).toEqual(["..."]);
  });

  it("refuses an empty path and a prefix that others could share", async () => {
    const tx = await begin();
    expect(() => storageView(tx, "logical/one/").put("", Buffer.from(""))).toThrow("the path is empty");
    expect(() => storageView(tx, "logical/one")).toThrow("does not end in /");
  });
});

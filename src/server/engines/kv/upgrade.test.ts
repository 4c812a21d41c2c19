import { describe, expect, it } from "vitest";
import { FakeClock } from "#common/clock.ts";
import { silentLog } from "#common/log.ts";
import { SecretBytes } from "#common/secret-bytes.ts";
import { Barrier } from "../../barrier/barrier.ts";
import { storageView } from "../../barrier/storage-view.ts";
import { openMemoryStorage } from "../../storage/memory/memory-storage.ts";
import { UPGRADE_BYTES_MAX, UPGRADE_SECRETS_MAX } from "./upgrade.ts";
import { createKvV1 } from "./v1.ts";
import { createKvV2 } from "./v2.ts";

type Options = Readonly<Record<string, string>>;

/** A mount with version 1 secrets as they are stored, and the change of its version as sys makes it. */
async function mountWith(secrets: ReadonlyMap<string, string>) {
  const clock = new FakeClock();
  const barrier = new Barrier({ storage: openMemoryStorage(), clock, log: silentLog });
  using rootKey = SecretBytes.random(32);
  await barrier.initialize({ rootKey, plain: [] });
  await barrier.unseal(rootKey);
  const begin = () => {
    const tx = barrier.begin();
    return { tx, storage: storageView(tx, "m/") };
  };
  const put = async (...entries: readonly (readonly [string, string])[]) => {
    const { tx, storage } = begin();
    for (const [key, value] of entries) storage.put(key, Buffer.from(value));
    await tx.commit();
  };
  await put(...[...secrets].map(([path, value]) => [`v1/${path}`, value] as const));
  const change = async (to: "1" | "2", before: Options) => {
    const { tx, storage } = begin();
    const backend = to === "2" ? createKvV2() : createKvV1();
    const warnings = await backend.upgrade?.({ storage, clock, log: silentLog }, before);
    await tx.commit();
    return warnings;
  };
  return {
    change,
    put: (key: string, value: string) => put([key, value]),
    stored: begin().storage,
    get: async (key: string) => text(await begin().storage.get(key)),
  };
}

function text(value: Uint8Array | undefined): string | undefined {
  return value === undefined ? undefined : Buffer.from(value).toString("utf8");
}

const numbered = (count: number) => new Map(Array.from({ length: count }, (_, i) => [`d${i % 7}/k${i}`, '{"v":"1"}']));

describe("kv: from version 1 to version 2", () => {
  it("moves every secret, at every depth, and leaves none behind", async () => {
    const mount = await mountWith(
      new Map([
        ["a", '{"v":"1"}'],
        ["a/b/c", '{"n":1.10}'],
        ["d", "{}"],
      ]),
    );
    expect(await mount.change("2", { version: "1" })).toHaveLength(1);
    expect(await mount.get("data/a/1")).toBe('{"v":"1"}');
    expect(await mount.get("data/a/b/c/1")).toBe('{"n":1.1}');
    expect(await mount.get("data/d/1")).toBe("{}");
    expect(JSON.parse((await mount.get("key/a")) ?? "")).toMatchObject({ current: 1, oldest: 0 });
    expect(await mount.stored.list("v1/", { limit: 10 })).toEqual([]);
  });

  it("does nothing when the version stays", async () => {
    const mount = await mountWith(new Map([["a", '{"v":"1"}']]));
    expect(await mount.change("2", { version: "2" })).toEqual([]);
    expect(await mount.change("1", {})).toEqual([]);
    expect(await mount.get("v1/a")).toBe('{"v":"1"}');
  });

  it("takes what came late when it runs again, but never over a secret of version 2", async () => {
    const mount = await mountWith(new Map([["a", '{"v":"1"}']]));
    await mount.change("2", {});
    await mount.put("v1/late", '{"v":"2"}');
    await mount.change("2", {});
    expect(await mount.get("data/late/1")).toBe('{"v":"2"}');
    await mount.put("v1/a", '{"v":"old"}');
    await expect(mount.change("2", {})).rejects.toMatchObject({ code: "invalid_request" });
    expect(await mount.get("data/a/1")).toBe('{"v":"1"}');
    expect(await mount.get("data/a/2")).toBeUndefined();
  });

  it("takes as many as its limit and refuses one more, with nothing changed", async () => {
    const most = await mountWith(numbered(UPGRADE_SECRETS_MAX));
    await most.change("2", {});
    expect(await most.get("data/d0/k0/1")).toBe('{"v":"1"}');
    const tooMany = await mountWith(numbered(UPGRADE_SECRETS_MAX + 1));
    await expect(tooMany.change("2", {})).rejects.toMatchObject({ code: "invalid_request" });
    expect(await tooMany.get("v1/d0/k0")).toBe('{"v":"1"}');
  });

  it("takes as many bytes as its limit and refuses one more", async () => {
    const sized = (bytes: number) => `{"v":"${"x".repeat(bytes - '{"v":""}'.length)}"}`;
    const half = UPGRADE_BYTES_MAX / 2;
    const of = (a: number, b: number) => new Map([["a", sized(a)]]).set("b", sized(b));
    const most = await mountWith(of(half, half));
    expect(await most.change("2", {})).toHaveLength(1);
    const tooMuch = await mountWith(of(half, half + 1));
    await expect(tooMuch.change("2", {})).rejects.toMatchObject({ code: "invalid_request" });
  });

  it("does not go back", async () => {
    const mount = await mountWith(new Map());
    await expect(mount.change("1", { version: "2" })).rejects.toMatchObject({ code: "invalid_request" });
  });
});

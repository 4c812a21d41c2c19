import { hkdfSync } from "node:crypto";
import { describe, expect, it } from "vitest";
import { FakeClock } from "#common/clock.ts";
import { SecretBytes } from "#common/secret-bytes.ts";
import type { SharedDataKeys } from "../core/siblings.ts";
import { DataKeys, deriveDataKey, KEY_MILLIS, purposeOf } from "./data-keys.ts";

const KEY = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const wrapKey = () => new SecretBytes(Buffer.from(KEY, "hex"));

/** Data keys over a seal that is counted and can be slow. */
function fixture() {
  const clock = new FakeClock();
  const given: SecretBytes[] = [];
  const state: { wait: Promise<void> | undefined } = { wait: undefined };
  const keys = new DataKeys(clock, async () => {
    await state.wait;
    const key = wrapKey();
    given.push(key);
    return key;
  });
  return { clock, keys, given, state };
}

const isZero = (key: SecretBytes | undefined) => key?.expose().every((byte) => byte === 0);

describe("data keys", () => {
  it("are derived by HKDF, one for each mount and one for the server's own records", () => {
    // RFC 5869 by another program (Python's hmac).
    const core = "f3d74c43ba2470eee7a85caf85e29d5383327b9eeefe17f8873c9a4f4afd27b9";
    const ofMount = "c9908646cba243f87de357745af4e39295b14e48a2a913e56bf49fa864e9d455";
    expect(deriveDataKey(wrapKey(), "core").export().toString("hex")).toBe(core);
    expect(deriveDataKey(wrapKey(), "mount/1").export().toString("hex")).toBe(ofMount);
    expect(["core/token-salt", "ns/a/identity/x", "mount/1/a/b", "mount"].map(purposeOf)).toEqual([
      "core",
      "core",
      "mount/1",
      "core",
    ]);
  });

  it("come of the HKDF of RFC 5869 (test case 3: no salt, no info)", () => {
    const out = Buffer.from(hkdfSync("sha256", Buffer.alloc(22, 0x0b), "", "", 42)).toString("hex");
    expect(out).toBe("8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8");
  });

  it("are at hand for a time; then the key they come of is zeroed, but the server's own data key stays", async () => {
    const { clock, keys, given } = fixture();
    await keys.get(1, "mount/1/a");
    await keys.get(1, "core/token-salt");
    expect(keys.opened).toBe(1);
    await clock.advance(KEY_MILLIS - 1);
    expect(keys.atHand(1, "mount/2/b")).toBeDefined();
    await clock.advance(1);
    expect(keys.atHand(1, "mount/1/a")).toBeUndefined();
    keys.evict();
    expect(given.map(isZero)).toEqual([true]);
    expect(keys.atHand(1, "core/token-salt")).toBeDefined();
  });

  it("are all forgotten at sealing, and what a seal answers afterwards is thrown away", async () => {
    const { keys, given, state } = fixture();
    await keys.get(1, "core/token-salt");
    const { promise, resolve } = Promise.withResolvers<void>();
    state.wait = promise;
    const late = keys.get(2, "mount/1/a");
    keys.clear();
    resolve();
    await expect(late).rejects.toMatchObject({ code: "sealed" });
    expect(given.map(isZero)).toEqual([true, true]);
    expect([keys.atHand(1, "core/token-salt"), keys.atHand(2, "mount/1/a")]).toEqual([undefined, undefined]);
    expect(keys.generations).toEqual([]);
  });

  it("of the server's own records are had from another worker before a seal is asked", async () => {
    const kept = new Map<string, string>();
    const keysOfWorkers: SharedDataKeys = {
      keep: async (name, key) => void kept.set(name, key.expose().toString("hex")),
      find: async (name) => {
        const hex = kept.get(name);
        return hex === undefined ? undefined : new SecretBytes(Buffer.from(hex, "hex"));
      },
    };
    const shared = { keys: keysOfWorkers, storeId: () => "a" };
    const clock = new FakeClock();
    const first = new DataKeys(clock, async () => wrapKey(), shared);
    const core = await first.get(1, "core/token-salt");
    const away = () => Promise.reject(new Error("no seal answers"));
    const second = new DataKeys(clock, away, shared);
    expect((await second.get(1, "core/audit")).equals(core)).toBe(true);
    await expect(second.get(1, "mount/1/a")).rejects.toThrow("no seal answers");
    await expect(second.get(2, "core/audit")).rejects.toThrow("no seal answers");
    // As after the restore of another cluster's snapshot: the same generation, another key.
    const restored = new DataKeys(clock, away, { ...shared, storeId: () => "b" });
    await expect(restored.get(1, "core/audit")).rejects.toThrow("no seal answers");
  });

  it("ask a seal once for many that want a key at the same time", async () => {
    const { keys } = fixture();
    const wanted = Array.from({ length: 20 }, (_, i) => keys.get(1, `mount/${i}/a`));
    expect(new Set((await Promise.all(wanted)).map((key) => key.export().toString("hex"))).size).toBe(20);
    expect(keys.opened).toBe(1);
  });
});

// The static seal through the registry: where keys come from, rotation, refusals.
import { randomBytes } from "node:crypto";
import { describe, expect, it } from "vitest";
import { FakeClock } from "#common/clock.ts";
import type { JsonObject } from "#common/json.ts";
import { SecretBytes } from "#common/secret-bytes.ts";
import { findSealType } from "../registry.ts";
import type { AutoSeal } from "../seal.ts";

const key = randomBytes(32);
const files = new Map([
  ["/keys/raw", key],
  ["/keys/base64", Buffer.from(`${key.toString("base64")}\n`)],
  ["/keys/short", Buffer.alloc(31)],
]);
const variables = new Map([["SEAL_KEY", key.toString("hex")]]);

async function open(config: JsonObject): Promise<AutoSeal> {
  const seal = await findSealType("static").parse(config, {
    clusterName: "test",
    clock: new FakeClock(),
    environment: (name) => variables.get(name),
    readFile: async (path) => {
      const content = files.get(path);
      if (content === undefined) throw new Error("no such file");
      return Buffer.from(content);
    },
  });
  if (seal.kind !== "auto") throw new Error("the static seal must be automatic");
  return seal;
}

describe("static seal", () => {
  it.each([
    key.toString("base64"),
    key.toString("base64url"),
    key.toString("hex"),
    "file:///keys/raw",
    "file:///keys/base64",
    "env://SEAL_KEY",
  ])("takes the key in each spelling (%#)", async (spelling) => {
    const seal = await open({ current_key: spelling, current_key_id: "k1" });
    const reference = await open({ current_key: key.toString("hex"), current_key_id: "k1" });
    using root = SecretBytes.random(32);
    const wrapped = await seal.wrap(root, "root-key");
    expect(wrapped).toMatchObject({ seal: "static", keyId: "k1" });
    expect((await reference.unwrap(wrapped, "root-key")).equals(root)).toBe(true);
    await expect(seal.probe()).resolves.toEqual({ keyId: "k1", latencyMillis: 0 });
  });

  it("opens what the previous key wrapped, and wraps with the current one", async () => {
    const next = randomBytes(32).toString("base64");
    const before = await open({ current_key: "file:///keys/raw" });
    const after = await open({ current_key: next, previous_key: "file:///keys/raw", name: "local" });
    const later = await open({ current_key: next });
    using root = SecretBytes.random(32);
    const old = await before.wrap(root, "root-key");
    expect((await after.unwrap(old, "root-key")).equals(root)).toBe(true);
    const fresh = await after.wrap(root, "root-key");
    expect(fresh.seal).toBe("local");
    expect(fresh.keyId).not.toBe(old.keyId);
    expect((await later.unwrap(fresh, "root-key")).equals(root)).toBe(true);
    await expect(later.unwrap(old, "root-key")).rejects.toMatchObject({ fault: "KeyNotFound", transient: false });
  });

  it("opens no other purpose and nothing under another key of the same id", async () => {
    const seal = await open({ current_key: "env://SEAL_KEY", current_key_id: "k" });
    const other = await open({ current_key: randomBytes(32).toString("hex"), current_key_id: "k" });
    const wrapped = await seal.wrap(SecretBytes.random(32), "root-key");
    await expect(seal.unwrap(wrapped, "recovery-key")).rejects.toMatchObject({ fault: "InvalidCiphertext" });
    await expect(other.unwrap(wrapped, "root-key")).rejects.toMatchObject({ fault: "InvalidCiphertext" });
  });

  it.each<[JsonObject, string]>([
    [{}, "seal static.current_key must be a string"],
    [
      { current_key: "short" },
      'current_key must be 32 bytes in base64 or hex; make one with "openssl rand -base64 32"',
    ],
    [{ current_key: "x".repeat(32) }, "current_key must be 32 bytes in base64 or hex"],
    [{ current_key: "file:///keys/short" }, "current_key must be 32 bytes in base64 or hex"],
    [{ current_key: "file:///nowhere" }, "current_key: cannot read /nowhere: no such file"],
    [{ current_key: "env://NOTHING" }, "current_key: the environment variable NOTHING is not set"],
    [{ current_key: "env://SEAL_KEY", colour: "red" }, "seal static: colour is not a setting of this seal"],
    [{ current_key: "env://SEAL_KEY", name: "a b" }, "seal static: name must be"],
    [
      { current_key: "env://SEAL_KEY", current_key_id: "a", previous_key: "file:///keys/raw", previous_key_id: "a" },
      "current_key_id and previous_key_id must differ",
    ],
  ])("refuses %j", async (config, message) => {
    await expect(open(config)).rejects.toMatchObject({
      code: "invalid_request",
      message: expect.stringContaining(message),
    });
  });

  it("is found by name only", () => {
    expect(() => findSealType("rot13")).toThrow("there is no seal type rot13; the types are shamir, static, awskms");
  });
});

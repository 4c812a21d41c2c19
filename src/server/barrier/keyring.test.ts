import { createSecretKey } from "node:crypto";
import { describe, expect, it } from "vitest";
import { SecretBytes } from "#common/secret-bytes.ts";
import { envelopeTerm, openEnvelope, sealEnvelope } from "./envelope.ts";
import { ENCRYPTIONS_CEILING, KEYRING_KEY, Keyring, ROTATION_DEFAULT } from "./keyring.ts";

const rootKey = createSecretKey(Buffer.alloc(32, 7));

/** The worked example of the plaintext: one term, installed at 1000 ms, five encryptions, the key all 0x11. */
const DESCRIPTION =
  '{"rotation":{"enabled":true,"interval_millis":0,"max_encryptions":2147483648},' +
  '"terms":[{"encryptions":5,"installed_at":1000,"term":1}]}';
const EXAMPLE = Buffer.concat([Buffer.from("0100000087", "hex"), Buffer.from(DESCRIPTION), Buffer.alloc(32, 0x11)]);

const store = (plaintext: Uint8Array) => sealEnvelope(rootKey, 0, KEYRING_KEY, plaintext);

describe("the stored keyring", () => {
  it("is read from the worked example and written like it", () => {
    expect(DESCRIPTION.length).toBe(0x87);
    const keyring = Keyring.open(store(EXAMPLE), rootKey);
    expect(keyring?.active).toMatchObject({ term: 1, installedAt: 1000, encryptions: 5 });
    expect(keyring?.rotation).toEqual(ROTATION_DEFAULT);
    expect(keyring?.activeKey.export()).toEqual(Buffer.alloc(32, 0x11));
    const written = keyring?.encrypt(rootKey) ?? new Uint8Array();
    expect(envelopeTerm(written)).toBe(0);
    expect(openEnvelope(rootKey, KEYRING_KEY, written)).toEqual(EXAMPLE);
  });

  it("does not open with another root key", () => {
    expect(Keyring.open(store(EXAMPLE), createSecretKey(Buffer.alloc(32)))).toBeUndefined();
  });

  it.each([
    ["an unknown version", EXAMPLE.with(0, 2)],
    ["a length beyond its end", EXAMPLE.with(1, 9)],
    ["a key cut short", EXAMPLE.subarray(0, EXAMPLE.length - 1)],
    ["nothing in it", new Uint8Array()],
  ])("is refused with %s", (_what, plaintext) => {
    expect(() => Keyring.open(store(plaintext), rootKey)).toThrow(expect.objectContaining({ code: "internal" }));
  });
});

describe("terms", () => {
  it("grow by one and keep the old keys", () => {
    const one = Keyring.create(1);
    const two = one.rotated(2);
    expect(two.terms.map((t) => [t.term, t.installedAt])).toEqual([
      [1, 1],
      [2, 2],
    ]);
    expect(two.keyOf(1)?.equals(one.activeKey)).toBe(true);
    expect(two.activeKey.equals(one.activeKey)).toBe(false);
    expect(two.keyOf(3)).toBeUndefined();
  });

  it("are zeroed on dispose, but for those that a successor shares", () => {
    const one = Keyring.create(1);
    const two = one.rotated(2);
    two.dispose(one);
    const zeroed = Keyring.open(two.encrypt(rootKey), rootKey);
    expect(zeroed?.activeKey.export()).toEqual(Buffer.alloc(32));
    expect(zeroed?.keyOf(1)?.equals(one.activeKey)).toBe(true);
  });
});

describe("the decision to rotate", () => {
  const policy = { enabled: true, max_encryptions: 1000, interval_millis: 500 };
  it.each([
    ["below the count", policy, 900, 100, 0, false],
    ["above the count", policy, 901, 100, 0, true],
    ["a first booking larger than the limit", policy, 0, 5000, 0, false],
    ["before the age", policy, 0, 0, 499, false],
    ["at the age", policy, 0, 0, 500, true],
    ["disabled", { ...policy, enabled: false }, 5000, 5000, 5000, false],
    ["disabled, at the ceiling", { ...policy, enabled: false }, ENCRYPTIONS_CEILING, 0, 0, false],
    ["disabled, above the ceiling", { ...policy, enabled: false }, ENCRYPTIONS_CEILING, 1, 0, true],
  ])("%s", (_name, rotation, made, more, now, due) => {
    expect(Keyring.create(0).withRotation(rotation).charged(made).rotationDue(now, more)).toBe(due);
  });
});

describe("key material", () => {
  it("is not shown when a keyring is printed", () => {
    const shown = JSON.stringify({ key: new SecretBytes(Buffer.alloc(32, 0x11)), keyring: Keyring.create(1) });
    expect(shown).not.toContain("17,17");
  });
});

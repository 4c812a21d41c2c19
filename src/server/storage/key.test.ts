import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { assertKey, assertPrefix, assertValue, compareKeys } from "./key.ts";
import { KEY_BYTES_MAX, VALUE_BYTES_MAX } from "./storage.ts";

describe("the order of keys", () => {
  it("is that of their UTF-8 bytes", () => {
    const text = fc.string({
      unit: fc.oneof(fc.constantFrom("a", "/", "\u{ffff}", "\u{10000}", "é"), fc.constant("z")),
    });
    const property = fc.property(text, text, (a, b) => {
      expect(Math.sign(compareKeys(a, b))).toBe(Math.sign(Buffer.compare(Buffer.from(a), Buffer.from(b))));
    });
    fc.assert(property);
  });
});

describe("limits of keys and values", () => {
  it.each([
    ["ASCII", "a"],
    ["two bytes", "é"],
    ["three bytes", "€"],
  ])("take keys up to the maximum in bytes and none beyond: %s", (_name, unit) => {
    const key = unit.repeat(KEY_BYTES_MAX / Buffer.byteLength(unit));
    expect(() => assertKey(key)).not.toThrow();
    expect(() => assertKey(`${key}a`)).toThrow(expect.objectContaining({ code: "too_large" }));
  });

  it.each(["", "\ud800"])("refuse a key that no store can hold", (key) => {
    expect(() => assertKey(key)).toThrow(expect.objectContaining({ code: "invalid_request" }));
  });

  it("take values up to the maximum and none beyond", () => {
    expect(() => assertValue("k", new Uint8Array(VALUE_BYTES_MAX))).not.toThrow();
    const larger = new Uint8Array(VALUE_BYTES_MAX + 1);
    expect(() => assertValue("k", larger)).toThrow(expect.objectContaining({ code: "too_large" }));
  });

  it("refuse a prefix that is not a folder", () => {
    expect(() => assertPrefix("")).not.toThrow();
    expect(() => assertPrefix("a/")).not.toThrow();
    expect(() => assertPrefix("a")).toThrow(expect.objectContaining({ code: "invalid_request" }));
  });
});

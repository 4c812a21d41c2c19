import { describe, expect, it } from "vitest";
import { areWithin, assertAddressAllowed, assertBlocks, isWithin } from "./cidr.ts";

describe("blocks of addresses", () => {
  it.each([
    ["10.0.0.0/8", "10.255.0.1", true],
    ["10.0.0.0/8", "11.0.0.1", false],
    ["10.1.2.3", "10.1.2.3", true],
    ["10.1.2.3/32", "10.1.2.4", false],
    ["0.0.0.0/0", "203.0.113.9", true],
    ["10.0.0.0/8", "::ffff:10.0.0.1", true],
    ["2001:db8::/32", "2001:db8::1", true],
    ["2001:db8::/32", "2001:db9::1", false],
    ["10.0.0.0/8", "10.0.0.0/9", false],
    ["10.0.0.0/8", "", false],
  ])("%s and %s: %s", (block, address, inside) => {
    expect(isWithin([block], address)).toBe(inside);
  });

  it.each([
    [["10.1.0.0/16"], ["10.0.0.0/8"], true],
    [["10.0.0.0/8"], ["10.1.0.0/16"], false],
    [["10.1.0.0/16", "192.0.2.1"], ["10.0.0.0/8"], false],
    [["::1"], ["0.0.0.0/0"], false],
    [[], ["10.0.0.0/8"], true],
  ])("%j within %j: %s", (inner, outer, within) => {
    expect(areWithin(inner, outer)).toBe(within);
  });

  it("refuses what is no block", () => {
    expect(() => assertBlocks("f", ["10.0.0.0/8", "::1", "::/0"])).not.toThrow();
    for (const bad of ["10.0.0.0/33", "::/129", "10.0.0/8", "host", "", "10.0.0.0/", "10.0.0.0/-1"])
      expect(() => assertBlocks("f", [bad])).toThrow(/^f: /);
  });

  it("lets everybody in when there are no blocks", () => {
    expect(() => assertAddressAllowed([], "203.0.113.9")).not.toThrow();
    expect(() => assertAddressAllowed(["10.0.0.0/8"], "203.0.113.9")).toThrow("permission denied");
  });
});

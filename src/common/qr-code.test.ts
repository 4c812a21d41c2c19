import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { QR_PIXELS_MAX, qrModules, qrPng } from "./qr-code.ts";

const drawn = (text: string) =>
  (qrModules(Buffer.from(text)) ?? []).map((row) => row.map((dark) => (dark ? "#" : ".")).join(""));

describe("a QR code", () => {
  it("is drawn as the standard says", () => {
    expect(drawn("COFFER")).toEqual([
      "#######.#.#...#######",
      "#.....#.#.....#.....#",
      "#.###.#.#...#.#.###.#",
      "#.###.#..###..#.###.#",
      "#.###.#.###.#.#.###.#",
      "#.....#...###.#.....#",
      "#######.#.#.#.#######",
      ".........####........",
      "#..######.#.##..#.###",
      ".#..#.......#.#.##..#",
      ".##.#######..##.#..##",
      "##...#.#.#.#......###",
      ".####.#.......#..####",
      "........#..##....####",
      "#######.#.#.#####....",
      "#.....#.#.####...##..",
      "#.###.#.##.##.##.####",
      "#.###.#.#.###..##.#..",
      "#.###.#...#...#.##.##",
      "#.....#..#...###.####",
      "#######.#.##....#.#..",
    ]);
  });

  // Several blocks, alignment patterns and version bits. The pictures of these were read back by a reader of others.
  it.each([
    [150, "x", "9a0e80d4d5cd61d36a0628e5e1cc64c4fe2798b4d0677fe6fcaaadbeb171be8a"],
    [500, "y", "144c31e51bc6c36acd2980605f886c84794b564e2ee0ce6b39b228c8c163a021"],
  ])("of %i bytes is what readers were seen to read", (length, filler, digest) => {
    const rows = drawn("otpauth://totp/".padEnd(length, filler));
    expect(createHash("sha256").update(rows.join("\n")).digest("hex")).toBe(digest);
  });

  it("is a PNG of the size that was asked for, or none", () => {
    const picture = qrPng("COFFER", 200);
    expect(picture?.subarray(1, 4).toString()).toBe("PNG");
    expect([picture?.readUInt32BE(16), picture?.readUInt32BE(20)]).toEqual([200, 200]);
    expect(qrPng("COFFER", 28)).toBe(undefined);
    expect(qrPng("COFFER", 29)?.readUInt32BE(16)).toBe(29);
    expect(qrPng("COFFER", QR_PIXELS_MAX + 1)).toBe(undefined);
  });

  it("holds at most 2331 bytes", () => {
    expect(qrModules(Buffer.alloc(2_331))).toHaveLength(177);
    expect(qrModules(Buffer.alloc(2_332))).toBe(undefined);
  });
});

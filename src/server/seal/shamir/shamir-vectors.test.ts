// Shares that another program made, and what one share tells. The program was Python: schoolbook multiplication of
// polynomials, division by 0x11b, the polynomial evaluated power by power; secret 00 08 .. f8; coefficient i of the split
// with threshold k is the SHA-256 of "coefficient <i> of <k>"; y of all bytes, then x, as Vault has them.
import { expect, it } from "vitest";
import { SecretBytes } from "#common/secret-bytes.ts";
import { combine } from "../combine.ts";

const SECRET = Buffer.from(Array.from({ length: 32 }, (_, i) => i * 8)).toString("hex");
const MADE: readonly [number, readonly string[]][] = [
  [
    2,
    [
      "bf936c7b31df2575339118bf7bcabfe5139a4e6a3dc5b778c9074511ffca016701",
      "6525e8de02dd1aa2a6e1c08d5637f559bdac37678172be23d24de151deac09dd02",
      "aca77c6fb68277105ebd569baa3ad8e39604ae1c3b527b628660f244fbdf6e86ff",
    ],
  ],
  [
    3,
    [
      "fc4fdea9defbe0669a174d215f50b3026aa2df06fdfdfa5fab3223374e72329d07",
      "7eb0ffde3cb7a4007424f944fe54c814200beaf53ac50c816143aad9e9beeeef13",
      "9837495ce8d2d452cd3eb49cf9581721e6d796d05a1a9d14258ccbef8c190ad942",
      "f049e0586b7bc1b8844352772f1806fcc8075f93db644f187cd6fc97c101c74c80",
      "1bdcfb0eb22447c30f180684855bb533689df589597f55d9864c906e4aab3e1afe",
    ],
  ],
  [
    5,
    [
      "15850401d4b976273782ff3896954107a49ff42e90e101cc5241f3b536f7da3d03",
      "8ad64e8e6beed402ab020e1c0235973dda2f408627df786fcbd4c93f71d1550901",
      "b8c9c62c87d489d657e72362dd337fc0755b051451de68b47f447f43bc236770c8",
      "6033ed72b5f6aa7339d47c46280aed9c4a5d4e10469c95906a69392a5e83f51763",
      "0023adb8f88244ec578e55aa3a0abfcd01c2a0916430db4e3dea4347b71f7d561f",
    ],
  ],
];

/** All ways to take `count` of the items, in their order. */
function choices<T>(items: readonly T[], count: number): readonly (readonly T[])[] {
  if (count === 0) return [[]];
  return items.flatMap((item, i) => choices(items.slice(i + 1), count - 1).map((rest) => [item, ...rest]));
}

it.each(MADE)("any %d of another program's shares open", (threshold, shares) => {
  for (const some of choices(shares, threshold)) {
    const given = some.map((text) => new SecretBytes(Buffer.from(text, "hex")));
    expect(combine(given, threshold).expose().toString("hex")).toBe(SECRET);
  }
});

it("one share of two, whatever it is, goes with each secret byte exactly once", () => {
  // Every share of one byte at x = 1, and for each of them every share that its holder may lack, at x = 2.
  let uneven = 0;
  for (let known = 0; known < 256; known++) {
    const seen = new Uint16Array(256);
    const have = new SecretBytes(Buffer.of(known, 1));
    for (let y = 0; y < 256; y++) {
      const at = combine([have, new SecretBytes(Buffer.of(y, 2))], 2).expose()[0] ?? 0;
      seen[at] = (seen[at] ?? 0) + 1;
    }
    if (seen.some((times) => times !== 1)) uneven++;
  }
  expect(uneven).toBe(0);
});

// Flags in every spelling that Vault's CLI takes.
import { describe, expect, it } from "vitest";
import { parseFlags } from "./flags.ts";

const DECLARED = {
  name: { kind: "text", help: "" },
  count: { kind: "number", help: "" },
  on: { kind: "switch", help: "" },
  policy: { kind: "texts", help: "" },
  meta: { kind: "pairs", help: "" },
} as const;

describe("flags", () => {
  it("takes one dash or two, = or a space, before and behind arguments", () => {
    const { flags, args } = parseFlags(DECLARED, ["-name=a=b", "x", "--count", "3", "-", "-on", "--", "-name=c"]);
    expect(flags).toEqual({ name: "a=b", count: 3, on: true, policy: [], meta: {} });
    expect(args).toEqual(["x", "-", "-name=c"]);
  });

  it("collects lists and pairs, takes the last of others", () => {
    const words = ["-policy=a,b", "-policy", "c", "-meta=k=v=w", "-name=1", "-name=2", "-on=false"];
    expect(parseFlags(DECLARED, words).flags).toMatchObject({
      policy: ["a", "b", "c"],
      meta: { k: "v=w" },
      name: "2",
      on: false,
    });
  });

  it.each([
    [["-nme=x"], "unknown flag -nme"],
    [["-constructor=x"], "unknown flag -constructor"],
    [["-name"], "the flag -name needs a value"],
    [["-count=1.5"], "the flag -count needs a whole number"],
    [["-on=maybe"], "the flag -on is either true or false"],
    [["-meta=k"], "the flag -meta needs key=value"],
  ])("refuses %j", (words, message) => {
    expect(() => parseFlags(DECLARED, words)).toThrow(message);
  });
});

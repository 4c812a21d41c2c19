// The command line of `coffer server`.
import { describe, expect, it } from "vitest";
import { parseServerFlags } from "./flags.ts";

describe("parseServerFlags", () => {
  it("takes values behind = and as the next word, with one dash or two", () => {
    const flags = parseServerFlags(["-config=a.hcl", "--config", "b.hcl", "-log-level", "info", "-dev"]);
    expect(flags).toMatchObject({ configFiles: ["a.hcl", "b.hcl"], logLevel: "info", dev: true });
  });

  it("has defaults", () => {
    expect(parseServerFlags([])).toMatchObject({ dev: false, devListenAddress: "127.0.0.1:8200", logLevel: undefined });
  });

  it.each([
    [["-log-level=loud"], "-log-level must be one of"],
    [["-frobnicate"], "unknown argument -frobnicate"],
    [["-config"], "flag -config needs a value"],
  ])("refuses %j", (argv, message) => {
    expect(() => parseServerFlags(argv)).toThrow(message);
  });
});

import { describe, expect, it } from "vitest";
import { cluster, observed, shown } from "#test/operator/fixtures.ts";
import { decide } from "./decide.ts";

const serving = observed({ boundary: { kind: "unknown" } });

describe("a server whose configuration cannot be read", () => {
  it("is not ready the first time", () => {
    const { status } = decide(serving);
    expect(shown(status.conditions)).toEqual(
      expect.arrayContaining(["Ready=False Configuring", "ConfigSynced=Unknown Configuring"]),
    );
  });

  it("is what it was when that has been read before", () => {
    const known = decide({ ...serving, boundary: { kind: "same" } }).status;
    const { status } = decide({ ...serving, cluster: { ...cluster(), status: known } });
    expect(shown(status.conditions)).toEqual(
      expect.arrayContaining(["Ready=True Running", "ConfigSynced=True Configured"]),
    );
  });
});

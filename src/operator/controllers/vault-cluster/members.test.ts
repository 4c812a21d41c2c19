import { describe, expect, it } from "vitest";
import { answered, cluster, kms, LOOK, SETTINGS, shown } from "#test/operator/fixtures.ts";
import { decide, type Observed } from "./decide.ts";

const serving: Observed = {
  cluster: cluster(),
  isManaged: true,
  unseal: kms(),
  secret: undefined,
  certificate: { kind: "issued", notAfter: LOOK.now + 1e9, caBundle: "CA" },
  templateSize: undefined,
  pods: [{ name: "main-0", trouble: undefined, isFailing: false }],
  members: [answered()],
  boundary: { kind: "unknown" },
  settings: SETTINGS,
  look: LOOK,
};

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

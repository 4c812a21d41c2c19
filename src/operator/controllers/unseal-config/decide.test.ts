import { describe, expect, it } from "vitest";
import { answered, KEY_DISABLED, kms, LOOK, NOW, shown, silent } from "#test/operator/fixtures.ts";
import { decide, type Observed } from "./decide.ts";

const using = (...members: Observed["clusters"][number]["members"]) => [{ name: "main", isSuspended: false, members }];
const withSecret = kms({
  spec: { awsKms: { keyId: "alias/x", region: "eu-west-1", credentials: { secretRef: { name: "aws" } } } },
});
const base: Observed = { config: kms(), secret: undefined, clusters: [], look: LOOK };
const ready = {
  status: {
    conditions: [
      {
        type: "Ready",
        status: "True",
        reason: "KeyAccessible",
        message: "",
        lastTransitionTime: "2026-01-01T00:00:00Z",
        observedGeneration: 1,
      },
    ],
  },
};

describe("decide for an UnsealConfig", () => {
  it.each<[string, Partial<Observed>, string, string]>([
    ["nobody uses it", {}, "False", "NotProbed"],
    ["a server is unsealed", { clusters: using(answered()) }, "True", "KeyAccessible"],
    [
      "the key is disabled",
      { clusters: using(answered({ sealed: true, troubles: [KEY_DISABLED] })) },
      "False",
      "KeyDisabled",
    ],
    [
      "the service is away",
      { clusters: using(answered({ troubles: [{ ...KEY_DISABLED, reason: "Unreachable" }] })) },
      "False",
      "EndpointUnreachable",
    ],
    [
      "the context is wrong",
      { clusters: using(answered({ troubles: [{ ...KEY_DISABLED, reason: "InvalidCiphertext" }] })) },
      "False",
      "WrongEncryptionContext",
    ],
    ["the Secret is missing", { config: withSecret }, "False", "SecretNotFound"],
    [
      "a key of the Secret is missing",
      { config: withSecret, secret: { keys: ["AWS_ACCESS_KEY_ID"], version: "1" } },
      "False",
      "SecretNotFound",
    ],
    [
      "its cluster is suspended",
      { clusters: [{ name: "main", isSuspended: true, members: [] }] },
      "False",
      "Suspended",
    ],
    [
      "servers are silent that it once unsealed",
      { config: kms(ready), clusters: using(silent("gone")) },
      "True",
      "KeyAccessible",
    ],
  ])("%s", (_case, observed, status, reason) => {
    const { conditions } = decide({ ...base, ...observed }).status;
    expect(shown(conditions)).toContain(`Ready=${status} ${reason}`);
  });

  it("stalls where somebody has to act and goes on where waiting helps", () => {
    const of = (reason: string) =>
      shown(
        decide({ ...base, clusters: using(answered({ troubles: [{ ...KEY_DISABLED, reason }] })) }).status.conditions,
      );
    expect(of("AccessDenied")).toContain("Stalled=True AccessDenied");
    expect(of("Throttled")).toContain("Reconciling=True Throttled");
  });

  it("names the missing keys and the users, and tells once", () => {
    const missing = decide({ ...base, config: withSecret, secret: { keys: [], version: "1" }, clusters: using() });
    expect(missing.status.conditions[0]?.message).toBe(
      "the Secret coffer-system/aws lacks AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY: add them",
    );
    expect(missing.status.usedBy).toEqual(["main"]);
    expect(missing.events).toMatchObject([{ type: "Warning", reason: "SecretNotFound" }]);
    const again = decide({
      ...base,
      config: { ...withSecret, status: missing.status },
      secret: { keys: [], version: "1" },
      clusters: using(),
    });
    expect(again.events).toEqual([]);
    expect(again.status).toEqual(missing.status);
  });

  it("writes the last probe when its result changes and now and then", () => {
    const first = decide({ ...base, clusters: using(answered()) });
    expect(first.status.lastProbe).toEqual({ time: "2026-01-01T00:00:00Z", result: "OK" });
    const probeAfter = (millis: number, members = answered()) =>
      decide({
        config: { ...kms(), status: first.status },
        secret: undefined,
        clusters: using(members),
        look: { now: NOW + millis, generation: 1 },
      }).status.lastProbe;
    expect(probeAfter(60_000)).toEqual(first.status.lastProbe);
    expect(probeAfter(60_000, answered({ sealed: true, troubles: [KEY_DISABLED] }))).toMatchObject({
      result: "KeyDisabled",
    });
    expect(probeAfter(301_000)?.time).toBe("2026-01-01T00:05:01Z");
  });
});

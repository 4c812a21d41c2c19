import { describe, expect, it } from "vitest";
import { answered, KEY_DISABLED, kms, LOOK, NOW, shown, silent } from "#test/operator/fixtures.ts";
import type { Machinery } from "../../servers/machinery.ts";
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

describe("a CloudHSM cluster behind the key", () => {
  const spec = {
    pkcs11: {
      ...{
        library: "/opt/cloudhsm/lib/libcloudhsm_pkcs11.so",
        keyLabel: "coffer",
        pin: { secretRef: { name: "pin" } },
      },
      cloudHsm: { clusterId: "cluster-1", region: "eu-west-1" },
    },
  };
  const machinery: Machinery = {
    ...{ cluster_id: "cluster-1", state: "ACTIVE", active_hsms: 2, backup_count: 3, newest_backup_age_seconds: 3600 },
    ...{ looked_at: "2026-01-01T00:00:00.400Z", warnings: [], error: undefined },
  };
  const of = (found: Partial<Machinery> | undefined, config = kms({ spec })) =>
    decide({
      ...{ ...base, config, secret: { keys: ["pin"], version: "1" } },
      clusters: [
        {
          ...{ name: "main", isSuspended: false, members: [answered()] },
          machinery: found === undefined ? undefined : { ...machinery, ...found },
        },
      ],
    });

  it("is shown beside the key, and its troubles do not touch Ready", () => {
    const { status } = of({});
    expect(status).toMatchObject({ provider: "pkcs11", keyId: "coffer" });
    expect(status.hsm).toEqual({
      ...{ clusterId: "cluster-1", state: "ACTIVE", activeHsms: 2, backups: 3, newestBackup: "2025-12-31T23:00:00Z" },
    });
    expect(shown(status.conditions)).toEqual(
      expect.arrayContaining(["Ready=True KeyAccessible", "HsmHealthy=True ClusterHealthy"]),
    );
    const warnings = [
      { reason: "OneHsmOnly", message: "one only" },
      { reason: "StaleBackup", message: "too old" },
    ];
    const troubled = of({ active_hsms: 1, warnings });
    expect(shown(troubled.status.conditions)).toEqual(
      expect.arrayContaining(["Ready=True KeyAccessible", "HsmHealthy=False OneHsmOnly"]),
    );
    expect(troubled.status.conditions.find(({ type }) => type === "HsmHealthy")?.message).toBe("one only; too old");
    expect(troubled.events).toContainEqual(expect.objectContaining({ type: "Warning", reason: "OneHsmOnly" }));
  });

  it("is unknown while AWS does not say, and stays as it was while no server says anything", () => {
    const error = { reason: "AccessDenied", message: "AWS denies it" };
    expect(shown(of({ state: undefined, error }).status.conditions)).toContain("HsmHealthy=Unknown ClusterUnknown");
    const before = { ...kms({ spec }), status: of({}).status };
    expect(of(undefined, before).status.hsm).toEqual(of({}).status.hsm);
    expect(shown(of(undefined, before).status.conditions)).toContain("HsmHealthy=True ClusterHealthy");
  });

  it("does not write a new time for the same backup, and forgets a cluster that is no longer named", () => {
    const before = { ...kms({ spec }), status: of({}).status };
    const later = of({ looked_at: "2026-01-01T00:05:01.000Z", newest_backup_age_seconds: 3900 }, before);
    expect(later.status.hsm?.newestBackup).toBe("2025-12-31T23:00:00Z");
    const without = { ...kms({ spec: { pkcs11: { ...spec.pkcs11, cloudHsm: null } } }), status: of({}).status };
    const forgotten = of(undefined, without).status;
    expect(forgotten.hsm).toBeUndefined();
    expect(shown(forgotten.conditions).join()).not.toContain("HsmHealthy");
  });

  it("needs the Secret with the PIN", () => {
    const missing = decide({ ...base, config: kms({ spec }), clusters: using() });
    expect(missing.status.conditions[0]?.message).toContain("there is no Secret coffer-system/pin");
  });
});

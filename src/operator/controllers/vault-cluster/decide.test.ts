import { describe, expect, it } from "vitest";
import { parseJson } from "#common/json.ts";
import { at } from "#test/injector/fixtures.ts";
import { answered, cluster, KEY_DISABLED, kms, objectOf, observed, shown, silent } from "#test/operator/fixtures.ts";
import { decide, type Observed, removalsOf } from "./decide.ts";

const base = observed();
const initialized = cluster({ status: { initialized: true, conditions: [] } });
const pod = (trouble: string, isFailing: boolean) => [{ name: "main-0", trouble, isFailing }];

describe("the status of a VaultCluster", () => {
  it.each<[string, Partial<Observed>, string, string]>([
    ["all is well", {}, "Ready=True Running", "Running"],
    ["no pods yet", { pods: [], members: [] }, "Reconciling=True PodsStarting", "Pending"],
    [
      "a pod crashes",
      { pods: pod("CrashLoopBackOff: x", true), members: [silent("refused")] },
      "Ready=False PodFailing",
      "Pending",
    ],
    [
      "a pod waits for a node",
      { pods: pod("cannot be scheduled", false), members: [] },
      "Ready=False PodsStarting",
      "Pending",
    ],
    [
      "it initialises itself",
      { members: [answered({ initialized: false, sealed: true })] },
      "Ready=False Initializing",
      "Initializing",
    ],
    [
      "a first start waits for the key",
      { members: [answered({ initialized: false, sealed: true, troubles: [KEY_DISABLED] })] },
      "Ready=False Sealed",
      "Initializing",
    ],
    [
      "a restart waits for the key",
      { cluster: initialized, members: [answered({ sealed: true, troubles: [KEY_DISABLED] })] },
      "Unsealed=False Sealed",
      "Unsealing",
    ],
    ["no UnsealConfig", { unseal: undefined }, "Stalled=True UnsealConfigNotFound", "Pending"],
    [
      "a certificate that ended",
      { certificate: { kind: "unusable", reason: "CertificateInvalid", message: "ended" } },
      "TLSReady=False CertificateInvalid",
      "Pending",
    ],
    ["another namespace", { isManaged: false }, "Stalled=True NamespaceNotManaged", "Pending"],
    [
      "rules that the server does not have",
      { boundary: { kind: "different" } },
      "ConfigSynced=False ConfigFailed",
      "Running",
    ],
    [
      "a server that knows no operator",
      { boundary: { kind: "failed", message: "no" } },
      "Ready=False ConfigFailed",
      "Degraded",
    ],
    ["suspended", { cluster: cluster({ spec: { suspend: true } }) }, "Ready=True Running", "Suspended"],
  ])("%s", (_case, observed, condition, phase) => {
    const { status } = decide({ ...base, ...observed });
    expect(shown(status.conditions)).toContain(condition);
    expect(status.phase).toBe(phase);
  });

  it("says what the server waits for, in the condition, at the pod and in an event", () => {
    const { status, events } = decide({
      ...base,
      cluster: initialized,
      members: [answered({ sealed: true, troubles: [KEY_DISABLED] })],
    });
    const sentence = "waiting for the key service: KeyDisabled: KMS key alias/coffer is disabled: enable it";
    expect(status.conditions.find(({ type }) => type === "Ready")?.message).toBe(sentence);
    expect(status.members).toEqual([{ name: "main-0", sealed: true, reason: sentence }]);
    expect(events).toContainEqual({ type: "Warning", reason: "Sealed", action: "Reconcile", note: sentence });
  });

  it("shows the address, the counts and the bundle that pods are to trust", () => {
    expect(decide(base).status).toMatchObject({
      address: "https://main.coffer-system.svc:8200",
      replicas: 1,
      readyReplicas: 1,
      sealed: false,
      caBundle: "coffer-ca.coffer-system.main",
    });
  });

  it("tells of a server that stopped answering", () => {
    const conditions = [
      { type: "Ready", status: "True", reason: "Running", message: "", lastTransitionTime: "2026-01-01T00:00:00Z" },
    ];
    const { status } = decide({
      ...base,
      cluster: cluster({ status: { initialized: true, conditions } }),
      members: [silent("refused")],
    });
    expect(shown(status.conditions)).toContain("Ready=False Unreachable");
  });
});

describe("the objects of a VaultCluster", () => {
  it("are all there, owned where they can be", () => {
    const decision = decide(base);
    expect(
      decision.objects.map(({ kind, object }) => `${kind.kind} ${String(at(object, "metadata", "name"))}`),
    ).toEqual([
      "ServiceAccount main-server",
      "ClusterRoleBinding coffer.coffer-system.main.auth-delegator",
      "ConfigMap main-config",
      "ConfigMap coffer-ca.coffer-system.main",
      "Service main",
      "Service main-internal",
      "StatefulSet main",
    ]);
    const unowned = decision.objects.filter(({ object }) => at(object, "metadata", "ownerReferences") === undefined);
    expect(unowned.map(({ kind }) => kind.kind)).toEqual(["ClusterRoleBinding"]);
    expect(removalsOf(base.cluster)).toMatchObject([{ ref: { name: "coffer.coffer-system.main.auth-delegator" } }]);
  });

  it("are none while something is wrong or it is suspended", () => {
    expect(decide({ ...base, unseal: undefined }).objects).toEqual([]);
    expect(decide({ ...base, cluster: cluster({ spec: { suspend: true } }) }).objects).toEqual([]);
  });

  it("keep to the Pod Security Standard restricted", () => {
    const spec = at(objectOf(decide(base), "StatefulSet"), "spec", "template", "spec");
    expect(at(spec, "securityContext")).toMatchObject({
      runAsNonRoot: true,
      seccompProfile: { type: "RuntimeDefault" },
    });
    expect(at(spec, "containers", 0, "securityContext")).toEqual({
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ["ALL"] },
    });
  });

  it("restart servers for a changed seal, not for changed access rules", () => {
    const hash = (observed: Partial<Observed>) =>
      at(objectOf(decide({ ...base, ...observed }), "StatefulSet"), "spec", "template", "metadata", "annotations");
    const rules = cluster({ spec: { access: { rules: [{ paths: ["secret/x/*"] }] } } });
    expect(hash({ cluster: rules })).toEqual(hash({}));
    expect(hash({ unseal: kms({ spec: { awsKms: { keyId: "alias/other", region: "eu-west-1" } } }) })).not.toEqual(
      hash({}),
    );
    expect(hash({ secret: { keys: [], version: "7" } })).not.toEqual(hash({}));
  });

  it("do not touch the template of the StatefulSet when the volume is to grow", () => {
    const decision = decide({ ...base, cluster: cluster({ spec: { storage: { size: "2Gi" } } }), templateSize: "1Gi" });
    const size = ["resources", "requests", "storage"];
    expect(at(objectOf(decision, "StatefulSet"), "spec", "volumeClaimTemplates", 0, "spec", ...size)).toBe("1Gi");
  });

  it("give AWS credentials as environment variables from the Secret, and never copy them", () => {
    const role = { roleArn: "arn:aws:iam::111122223333:role/coffer", externalId: "coffer-42" };
    const spec = {
      awsKms: { keyId: "arn:aws:kms:eu-west-1:1:key/x", credentials: { secretRef: { name: "aws" } }, ...role },
    };
    const secret = { keys: ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"], version: "1" };
    const decision = decide({ ...base, unseal: kms({ spec }), secret });
    const env = at(objectOf(decision, "StatefulSet"), "spec", "template", "spec", "containers", 0, "env");
    expect(env).toContainEqual({
      name: "AWS_ACCESS_KEY_ID",
      valueFrom: { secretKeyRef: { name: "aws", key: "AWS_ACCESS_KEY_ID" } },
    });
    const config = parseJson(String(at(objectOf(decision, "ConfigMap", "main-config"), "data", "coffer.json")));
    expect(at(config, "seal", "awskms")).toEqual({
      ...{ kms_key_id: "arn:aws:kms:eu-west-1:1:key/x", region: "eu-west-1" },
      ...{ role_arn: role.roleArn, external_id: "coffer-42" },
    });
    expect(at(config, "cluster_name")).toBe("coffer-system/main");
  });

  it("give the PIN of an HSM as a file from the Secret, and name the cluster behind it", () => {
    const library = "/opt/cloudhsm/lib/libcloudhsm_pkcs11.so";
    const cloudHsm = { clusterId: "cluster-1", region: "eu-west-1", backupMaxAge: "30h" };
    const pkcs11 = { library, keyLabel: "coffer", pin: { secretRef: { name: "pin" } }, cloudHsm };
    const secret = { keys: ["pin"], version: "1" };
    const decision = decide({ ...base, unseal: kms({ spec: { pkcs11 } }), secret });
    const pod = at(objectOf(decision, "StatefulSet"), "spec", "template", "spec");
    expect(at(pod, "volumes")).toContainEqual({
      name: "unseal",
      secret: { secretName: "pin", items: [{ key: "pin", path: "pin" }] },
    });
    expect(at(pod, "containers", 0, "volumeMounts")).toContainEqual({
      ...{ name: "unseal", mountPath: "/coffer/unseal", readOnly: true },
    });
    expect(at(pod, "containers", 0, "env")).toEqual([]);
    const config = parseJson(String(at(objectOf(decision, "ConfigMap", "main-config"), "data", "coffer.json")));
    expect(at(config, "seal", "pkcs11")).toEqual({
      ...{ lib: library, key_label: "coffer", generate_key: true, pin_file: "/coffer/unseal/pin" },
      cloudhsm: { cluster_id: "cluster-1", region: "eu-west-1", backup_max_age: "30h" },
    });
  });
});

import { describe, expect, it } from "vitest";
import { type JsonObject, parseJson } from "#common/json.ts";
import { at } from "#test/injector/fixtures.ts";
import { answered, cluster, objectOf, observed, shown } from "#test/operator/fixtures.ts";
import { decide, type Observed } from "./decide.ts";
import type { EtcdPlan } from "./etcd/decide-etcd.ts";

const base = observed();

describe("several servers", () => {
  const several = (storage: JsonObject = {}, more: JsonObject = {}) =>
    cluster({ spec: { replicas: 3, storage, ...more }, status: { initialized: true, conditions: [] } });
  const plan = (more: Partial<EtcdPlan> = {}): EtcdPlan => ({
    ...{ phases: new Map([["main-etcd-0", { kind: "joined" }]]), replicas: 3, step: undefined },
    ...{ isServing: true, isSettled: true, status: { members: [] } },
    finding: { type: "EtcdHealthy", status: "True", reason: "EtcdMembersHealthy", message: "3 members work" },
    ...more,
  });
  const etcd = (more: Partial<EtcdPlan> = {}) => ({ plan: plan(more), caBundle: "CA", templateSize: undefined });
  const three = [0, 1, 2].map((i) => ({ name: `main-${i}`, trouble: undefined, isFailing: false }));
  const all = three.map(({ name }) => ({ ...answered(), pod: name }));
  const rollout = { updated: 3, total: 3, halted: undefined };
  const whole: Observed = { ...base, cluster: several(), etcd: etcd(), pods: three, members: all, rollout };
  const kinds = (observed: Observed) =>
    decide(observed).objects.map(({ kind, object }) => `${kind.kind} ${String(at(object, "metadata", "name"))}`);
  const pod = (observed: Observed) => at(objectOf(decide(observed), "Deployment"), "spec", "template", "spec");
  const config = (observed: Observed) =>
    parseJson(String(at(objectOf(decide(observed), "ConfigMap", "main-config"), "data", "coffer.json")));

  it("are a Deployment that is never fewer than asked for, on members that the operator runs", () => {
    const decision = decide(whole);
    expect(shown(decision.status.conditions)).toEqual(
      expect.arrayContaining(["Ready=True Running", "EtcdHealthy=True EtcdMembersHealthy", "UpToDate=True Updated"]),
    );
    expect(decision.status).toMatchObject({ storage: "etcd", readyReplicas: 3 });
    expect(at(objectOf(decision, "Deployment"), "spec")).toMatchObject({
      replicas: 3,
      strategy: { type: "RollingUpdate", rollingUpdate: { maxUnavailable: 0, maxSurge: 1 } },
    });
    expect(objectOf(decision, "StatefulSet")).toBeUndefined();
    expect(at(objectOf(decision, "StatefulSet", "main-etcd"), "spec")).toMatchObject({
      replicas: 3,
      updateStrategy: { type: "OnDelete" },
      persistentVolumeClaimRetentionPolicy: { whenDeleted: "Retain", whenScaled: "Delete" },
    });
    for (const name of ["main", "main-etcd"])
      expect(at(objectOf(decision, "PodDisruptionBudget", name), "spec")).toMatchObject({
        maxUnavailable: 1,
        unhealthyPodEvictionPolicy: "AlwaysAllow",
      });
  });

  it("reach etcd by certificates that are files", () => {
    expect(at(config(whole), "storage", "etcd")).toMatchObject({
      address: "https://main-etcd-client.coffer-system.svc:2379",
      tls_cert_file: "/coffer/etcd/tls.crt",
    });
    expect(at(pod(whole), "volumes")).toContainEqual({
      name: "storage",
      secret: { secretName: "main-etcd-client-tls" },
    });
  });

  it("are not made before etcd serves, and not taken away when it does not", () => {
    const starting = plan({
      isServing: false,
      finding: { type: "EtcdHealthy", status: "False", reason: "EtcdStarting", message: "starting" },
    });
    const before = { ...whole, etcd: { ...etcd(), plan: starting }, rollout: undefined, pods: [], members: [] };
    expect(kinds(before)).not.toContain("Deployment main");
    expect(kinds(before)).toContain("StatefulSet main-etcd");
    expect(shown(decide(before).status.conditions)).toContain("Ready=False EtcdStarting");
    const lost = { ...starting, finding: { ...starting.finding, reason: "EtcdUnavailable" } };
    const later = { ...whole, etcd: { ...etcd(), plan: lost } };
    expect(kinds(later)).toContain("Deployment main");
    expect(shown(decide(later).status.conditions)).toContain("Ready=False EtcdUnavailable");
  });

  it("stay ready while one more starts or one more is sealed", () => {
    const surge = { name: "main-3", trouble: undefined, isFailing: false };
    const sealed = { ...answered({ sealed: true }), pod: "main-3" };
    const { status } = decide({ ...whole, pods: [...three, surge], members: [...all, sealed] });
    expect(shown(status.conditions)).toContain("Ready=True Running");
    expect(shown(decide({ ...whole, members: all.slice(1) }).status.conditions)).toContain("Ready=False PodsStarting");
  });

  it("halt an update that fails, and say so, while the old ones serve", () => {
    const { status, events } = decide({ ...whole, rollout: { updated: 1, total: 4, halted: "the new one fails" } });
    expect(shown(status.conditions)).toEqual(
      expect.arrayContaining(["Ready=True Running", "Stalled=True UpdateHalted", "UpToDate=False UpdateHalted"]),
    );
    expect(events).toContainEqual(expect.objectContaining({ type: "Warning", reason: "UpdateHalted" }));
    const broken = { name: "main-3", trouble: "ImagePullBackOff: no such image", isFailing: true };
    const early = decide({ ...whole, pods: [...three, broken], rollout: { updated: 1, total: 4, halted: undefined } });
    expect(early.status.conditions.find(({ type }) => type === "UpToDate")?.message).toContain("main-3: ImagePull");
    const running = decide({ ...whole, rollout: { updated: 1, total: 4, halted: undefined } }).status.conditions;
    expect(shown(running)).toEqual(expect.arrayContaining(["Stalled=False Running", "UpToDate=False UpdateRunning"]));
  });

  it("reach somebody else's etcd with what its Secret has", () => {
    const external = { endpoints: ["https://a:2379", "https://b:2379"], secretRef: { name: "mine" }, path: "x" };
    const foreign = { ...whole, cluster: several({ etcd: { external } }), etcd: undefined };
    expect(shown(decide(foreign).status.conditions)).toContain("Stalled=True StorageInvalid");
    const found = { ...foreign, storageSecret: { keys: ["ca.crt", "username", "password"], version: "5" } };
    expect(kinds(found).filter((kind) => kind.includes("etcd"))).toEqual([]);
    expect(at(config(found), "storage")).toEqual({
      etcd: { address: "https://a:2379,https://b:2379", path: "x", tls_ca_file: "/coffer/etcd/ca.crt" },
    });
    expect(at(pod(found), "containers", 0, "env")).toContainEqual({
      name: "ETCD_PASSWORD",
      valueFrom: { secretKeyRef: { name: "mine", key: "password", optional: true } },
    });
  });

  it("reach PostgreSQL by a URL that is in no ConfigMap", () => {
    const storage = { type: "postgres", postgres: { secretRef: { name: "db-app" } } };
    const database = { ...whole, cluster: several(storage), etcd: undefined };
    const lacking = decide({ ...database, storageSecret: { keys: ["host"], version: "5" } }).status.conditions;
    expect(lacking.find(({ type }) => type === "Ready")?.message).toContain("coffer-system/db-app lacks uri");
    const found = { ...database, storageSecret: { keys: ["uri"], version: "5" } };
    expect(at(config(found), "storage")).toEqual({ postgres: {} });
    expect(at(pod(found), "containers", 0, "env")).toContainEqual({
      name: "VAULT_PG_CONNECTION_URL",
      valueFrom: { secretKeyRef: { name: "db-app", key: "uri" } },
    });
    const hash = (observed: Observed) => at(objectOf(decide(observed), "Deployment"), "spec", "template", "metadata");
    expect(hash({ ...found, storageSecret: { keys: ["uri"], version: "6" } })).not.toEqual(hash(found));
  });

  it("are left as they are while suspended, members too, and status keeps what was seen last", () => {
    const members = [{ name: "main-etcd-0", state: "Healthy" }];
    const spec = { replicas: 3, suspend: true };
    const status = { initialized: true, conditions: [], etcd: { members } };
    const decision = decide({ ...whole, cluster: cluster({ spec, status }), etcd: undefined });
    expect(decision.objects).toEqual([]);
    expect(decision.status).toMatchObject({ phase: "Suspended", etcd: { members } });
  });

  it("have their data looked after while they cannot be made", () => {
    const lacking = { ...whole, unseal: undefined };
    expect(shown(decide(lacking).status.conditions)).toContain("Stalled=True UnsealConfigNotFound");
    expect(kinds(lacking)).toContain("StatefulSet main-etcd");
    expect(kinds(lacking)).not.toContain("Deployment main");
    expect(kinds({ ...lacking, isManaged: false })).toEqual([]);
  });

  it("tell of an update without a warning", () => {
    const { events } = decide({ ...whole, rollout: { updated: 1, total: 4, halted: undefined } });
    expect(events).toContainEqual(expect.objectContaining({ type: "Normal", reason: "UpdateRunning" }));
  });

  it("say when nobody names an image for etcd", () => {
    const { status } = decide({ ...whole, settings: { ...whole.settings, etcdImage: "" } });
    expect(shown(status.conditions)).toContain("Stalled=True EtcdImageMissing");
  });

  it("run where they are told to, apart from each other", () => {
    const scheduling = {
      antiAffinity: "Required",
      nodeSelector: { pool: "secrets" },
      tolerations: [{ key: "secrets", operator: "Exists" }],
      priorityClassName: "high",
    };
    const placed = { ...whole, cluster: several({}, { scheduling }) };
    const etcdPod = at(objectOf(decide(placed), "StatefulSet", "main-etcd"), "spec", "template", "spec");
    for (const spec of [pod(placed), etcdPod]) {
      expect(spec).toMatchObject({
        nodeSelector: { pool: "secrets" },
        tolerations: [{ key: "secrets", operator: "Exists" }],
        priorityClassName: "high",
      });
      const rule = ["affinity", "podAntiAffinity", "requiredDuringSchedulingIgnoredDuringExecution", 0];
      expect(at(spec, ...rule, "topologyKey")).toBe("kubernetes.io/hostname");
    }
    const labels = ["topologySpreadConstraints", 0, "labelSelector", "matchLabels", "app.kubernetes.io/component"];
    expect([at(pod(placed), ...labels), at(etcdPod, ...labels)]).toEqual(["server", "etcd"]);
  });

  it("carry what is added to them, and no label of the operator's is overwritten", () => {
    const podTemplate = {
      labels: { team: "a", "coffer.dev/cluster": "other" },
      annotations: { x: "y", "coffer.dev/config-hash": "z" },
      serviceAccountAnnotations: { "eks.amazonaws.com/role-arn": "arn" },
    };
    const decision = decide({ ...whole, cluster: several({}, { podTemplate }) });
    const metadata = at(objectOf(decision, "Deployment"), "spec", "template", "metadata");
    expect(metadata).toMatchObject({ labels: { team: "a", "coffer.dev/cluster": "main" }, annotations: { x: "y" } });
    expect(at(metadata, "annotations", "coffer.dev/config-hash")).not.toBe("z");
    expect(at(objectOf(decision, "ServiceAccount", "main-server"), "metadata", "annotations")).toEqual({
      "eks.amazonaws.com/role-arn": "arn",
    });
  });

  it("leave the template of the members' volumes as it is when they are to grow, and tell of it", () => {
    const grown = { ...whole, cluster: several({ size: "2Gi" }), etcd: { ...etcd(), templateSize: "1Gi" } };
    const decision = decide({ ...grown, volumes: { growing: ["data-main-etcd-0"], refusal: undefined } });
    const set = objectOf(decision, "StatefulSet", "main-etcd");
    expect(at(set, "spec", "volumeClaimTemplates", 0, "spec", "resources", "requests", "storage")).toBe("1Gi");
    expect(shown(decision.status.conditions)).toEqual(
      expect.arrayContaining(["Ready=True Running", "VolumesSized=False VolumeResizing"]),
    );
  });
});

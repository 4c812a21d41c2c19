// The chart, rendered by helm: what is promised of it holds in the objects, whatever the values.
import { beforeAll, describe, expect, it } from "vitest";
import { isJsonArray, isJsonObject, type JsonObject, type JsonValue } from "#common/json.ts";
import { customResourceDefinition } from "#operator/api/crd.ts";
import { definitions } from "#operator/api/registry.ts";
import { at } from "#test/injector/fixtures.ts";
import { findHelm, renderChart } from "./helm.ts";

const helm = findHelm(process.env);
if (helm === undefined) {
  if (process.env["CI"] === "true") throw new Error("helm is not installed: run tools/install-helm.sh");
  console.log("the chart's tests are skipped: helm is not installed (tools/install-helm.sh installs it)");
}

function rendered(values: JsonObject = {}): readonly JsonObject[] {
  const objects = renderChart(helm ?? "helm", "coffer-system", values);
  if (typeof objects === "string") throw new Error(objects);
  return objects;
}

const named = (objects: readonly JsonObject[], kind: string, name: string) =>
  objects.find((object) => object["kind"] === kind && at(object, "metadata", "name") === name);
const ofKind = (objects: readonly JsonObject[], kind: string) => objects.filter((object) => object["kind"] === kind);

interface Rule {
  readonly resources: readonly JsonValue[];
  readonly names: readonly JsonValue[];
  readonly verbs: readonly JsonValue[];
}

function rulesOf(role: JsonObject | undefined): readonly Rule[] {
  const list = (value: JsonValue | undefined) => (isJsonArray(value) ? value : []);
  return list(role?.["rules"]).map((rule) => ({
    resources: list(at(rule, "resources")),
    names: list(at(rule, "resourceNames")),
    verbs: list(at(rule, "verbs")),
  }));
}

describe.skipIf(helm === undefined)("the chart", () => {
  let objects: readonly JsonObject[] = [];
  beforeAll(() => {
    objects = rendered();
  });

  it("brings the CRDs as they are generated, kept when it goes, and leaves them out when told", () => {
    for (const definition of definitions) {
      const crd = named(objects, "CustomResourceDefinition", `${definition.plural}.coffer.dev`);
      expect(at(crd, "metadata", "annotations", "helm.sh/resource-policy")).toBe("keep");
      expect(crd?.["spec"]).toEqual(customResourceDefinition(definition)["spec"]);
    }
    expect(ofKind(rendered({ crds: { install: false } }), "CustomResourceDefinition")).toEqual([]);
  });

  it("runs pods under the Pod Security Standard restricted, with a read-only root", () => {
    const deployments = ofKind(objects, "Deployment");
    expect(deployments.map((d) => at(d, "metadata", "name")).sort()).toEqual(["coffer-injector", "coffer-operator"]);
    for (const deployment of deployments) {
      const pod = at(deployment, "spec", "template", "spec");
      expect(at(pod, "securityContext")).toMatchObject({
        runAsNonRoot: true,
        seccompProfile: { type: "RuntimeDefault" },
      });
      expect(at(pod, "containers", 0, "securityContext")).toEqual({
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        capabilities: { drop: ["ALL"] },
      });
      expect(at(deployment, "spec", "selector", "matchLabels")).toSatisfy((wanted: JsonValue) => {
        const labels = at(deployment, "spec", "template", "metadata", "labels");
        return isJsonObject(wanted) && Object.entries(wanted).every(([key, value]) => at(labels, key) === value);
      });
    }
  });

  it("tells the operator which image etcd members run", () => {
    const env = (values: JsonObject) =>
      at(named(rendered(values), "Deployment", "coffer-operator"), "spec", "template", "spec", "containers", 0, "env");
    const image = (value: string) => ({ name: "COFFER_ETCD_IMAGE", value });
    expect(env({})).toContainEqual(image("registry.k8s.io/etcd:3.6.4-0"));
    expect(env({ etcd: { image: "mirror/etcd:3" } })).toContainEqual(image("mirror/etcd:3"));
  });

  it("sends labelled pods to the injector when they are created, and no others", () => {
    const webhook = at(named(objects, "MutatingWebhookConfiguration", "coffer-injector"), "webhooks", 0);
    expect(webhook).toMatchObject({
      failurePolicy: "Fail",
      sideEffects: "None",
      reinvocationPolicy: "IfNeeded",
      timeoutSeconds: 5,
      objectSelector: { matchLabels: { "coffer.dev/inject": "true" } },
      namespaceSelector: {
        matchExpressions: [
          { key: "kubernetes.io/metadata.name", operator: "NotIn", values: ["coffer-system", "kube-system"] },
        ],
      },
      rules: [{ operations: ["CREATE"], resources: ["pods"] }],
    });
    expect(at(webhook, "clientConfig", "caBundle")).toBeUndefined();
    const service = at(webhook, "clientConfig", "service", "name");
    expect(at(named(objects, "Service", String(service)), "spec", "ports", 0, "port")).toBe(443);
  });

  it("sends pods with the annotation of vault-k8s there when told, and only those", () => {
    const webhooks = (values: JsonObject) =>
      at(named(rendered(values), "MutatingWebhookConfiguration", "coffer-injector"), "webhooks");
    expect(webhooks({})).toHaveLength(1);
    const second = at(webhooks({ webhook: { vaultAnnotations: true, excludedNamespaces: ["ci"] } }), 1);
    expect(second).toMatchObject({
      failurePolicy: "Fail",
      sideEffects: "None",
      objectSelector: { matchExpressions: [{ key: "coffer.dev/inject", operator: "NotIn", values: ["true"] }] },
      namespaceSelector: { matchExpressions: [{ values: ["coffer-system", "kube-system", "ci"] }] },
      rules: [{ operations: ["CREATE"], resources: ["pods"] }],
    });
    expect(at(second, "matchConditions", 0, "expression")).toContain(
      '"vault.hashicorp.com/agent-inject" in object.metadata',
    );
  });

  it.each([
    ["none", []],
    ["report", ["pods"]],
    ["evict", ["pods", "pods/eviction"]],
  ])("gives the injector of pods what it needs to %s those that were missed", (missedPods, wanted) => {
    const role = named(rendered({ injector: { missedPods } }), "ClusterRole", "coffer-injector");
    const resources = rulesOf(role).flatMap((rule) => rule.resources);
    expect(resources.filter((name) => String(name).startsWith("pods"))).toEqual(wanted);
  });

  it("lets nobody read Secrets but the operator where clusters live, and the injector its own", () => {
    for (const role of [...ofKind(objects, "ClusterRole"), ...ofKind(objects, "Role")]) {
      const touching = rulesOf(role).filter((rule) => rule.resources.includes("secrets"));
      const name = `${String(role["kind"])} ${String(at(role, "metadata", "name"))}`;
      if (name === "ClusterRole coffer-operator-clusters") continue;
      expect([name, touching.map((rule) => rule.names)]).toEqual([
        name,
        name === "Role coffer-injector" ? [["coffer-injector-ca"]] : [],
      ]);
    }
    const bound = (all: readonly JsonObject[]) =>
      all
        .filter((object) => at(object, "roleRef", "name") === "coffer-operator-clusters")
        .map((object) => [object["kind"], at(object, "metadata", "namespace")]);
    expect(bound(objects)).toEqual([["RoleBinding", "coffer-system"]]);
    expect(bound(rendered({ operator: { clusterNamespaces: ["a", "b"] } }))).toEqual([
      ["RoleBinding", "a"],
      ["RoleBinding", "b"],
    ]);
    expect(bound(rendered({ operator: { clusterNamespaces: ["*"] } }))).toEqual([["ClusterRoleBinding", undefined]]);
  });

  it("uses no wildcard and lets the operator bind one role only", () => {
    const rules = [...ofKind(objects, "ClusterRole"), ...ofKind(objects, "Role")].flatMap(rulesOf);
    expect(rules.filter((rule) => [...rule.resources, ...rule.verbs].includes("*"))).toEqual([]);
    expect(rules.filter((rule) => rule.verbs.includes("bind")).map((rule) => rule.names)).toEqual([
      ["system:auth-delegator"],
    ]);
    expect(rules.filter((rule) => rule.verbs.includes("escalate") || rule.verbs.includes("impersonate"))).toEqual([]);
  });

  it("gives both programs the image that injected pods and servers run", () => {
    const digest = `sha256:${"0".repeat(64)}`;
    const pinned = rendered({ image: { repository: "registry.example.com/coffer", digest, pullSecrets: ["pull"] } });
    for (const deployment of ofKind(pinned, "Deployment")) {
      const pod = at(deployment, "spec", "template", "spec");
      const image = `registry.example.com/coffer@${digest}`;
      expect(at(pod, "containers", 0, "image")).toBe(image);
      expect(at(pod, "imagePullSecrets")).toEqual([{ name: "pull" }]);
      expect(at(pod, "containers", 0, "env")).toContainEqual({ name: "COFFER_IMAGE", value: image });
    }
  });

  it.each([
    ["a value that does not exist", { operators: {} }],
    ["three operators", { operator: { replicas: 3 } }],
    ["a policy that does not exist", { image: { pullPolicy: "Sometimes" } }],
    ["a digest that is none", { image: { digest: "latest" } }],
  ])("refuses %s", (_name, values) => {
    expect(renderChart(helm ?? "helm", "coffer-system", values)).toContain(
      "don't meet the specifications of the schema",
    );
  });
});

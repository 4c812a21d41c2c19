// The injector's patches through the admission of a real API server: the chart's webhooks, with this process behind them,
// in a namespace of the Pod Security level "restricted". Pods are created as a dry run, so nothing starts.
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { systemClock } from "#common/clock.ts";
import { isJsonArray, isJsonObject, type JsonObject, type JsonValue, parseJson } from "#common/json.ts";
import { silentLog } from "#common/log.ts";
import { createCertificateAuthority, issueServerCertificate } from "#common/x509.ts";
import { createWebhook } from "#injector/http.ts";
import { at, binding, pod, settings, surroundings } from "#test/injector/fixtures.ts";
import { findHelm, renderChart } from "../parts/helm.ts";
import { startCluster, waitFor } from "./cluster-fixture.ts";

const NAMESPACE = "coffer-test-admission";
const NAME = "coffer-test-admission";
const cluster = await startCluster();
const helm = findHelm(process.env);
const canRun = cluster !== undefined && helm !== undefined && cluster.machineAddress !== undefined;
const VAULT = "vault.hashicorp.com/";

let reviewed = 0;
let close: () => void = () => {};

const secure: JsonObject = { allowPrivilegeEscalation: false, capabilities: { drop: ["ALL"] } };
const podSecurity: JsonObject = { runAsNonRoot: true, runAsUser: 1000, seccompProfile: { type: "RuntimeDefault" } };
const container = (name: string, more: JsonObject = {}): JsonObject => ({
  ...{ name, image: "x:1", command: ["/x"], securityContext: secure, ...more },
});

function shape(spec: JsonObject, metadata: JsonObject): JsonObject {
  const base = { securityContext: podSecurity, serviceAccountName: "default", containers: [container("web")] };
  return pod({ ...base, ...spec }, { name: "p", namespace: NAMESPACE, ...metadata });
}

function annotated(annotations: Readonly<Record<string, string>>, spec: JsonObject = {}): JsonObject {
  const all = { "agent-inject": "true", role: "web", "agent-inject-secret-db": "secret/data/team/db", ...annotations };
  const prefixed = Object.fromEntries(Object.entries(all).map(([key, value]) => [`${VAULT}${key}`, value]));
  return shape(spec, { labels: {}, annotations: prefixed });
}

/** What the API server makes of the pod, all its admission included. */
async function create(json: JsonObject): Promise<JsonValue> {
  const out = await cluster?.kubectl(["create", "--dry-run=server", "-o", "json", "-f", "-"], JSON.stringify(json));
  return parseJson(out ?? "null");
}

function namesIn(admitted: JsonValue, list: string): readonly (JsonValue | undefined)[] {
  const all = at(admitted, "spec", list);
  return isJsonArray(all) ? all.map((item) => at(item, "name")) : [];
}

/** The webhooks of the chart, called here and for this namespace alone. */
function webhooks(url: string, caBundle: string): JsonObject {
  const objects = renderChart(helm ?? "helm", "coffer-system", { webhook: { vaultAnnotations: true } });
  if (typeof objects === "string") throw new Error(objects);
  const found = objects.find((object) => object["kind"] === "MutatingWebhookConfiguration") ?? {};
  const hooks = isJsonArray(found["webhooks"]) ? found["webhooks"].filter(isJsonObject) : [];
  return {
    ...found,
    metadata: { name: NAME },
    webhooks: hooks.map((hook) => ({
      ...hook,
      clientConfig: { url, caBundle },
      namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": NAMESPACE } },
    })),
  };
}

describe.skipIf(!canRun)("a real API server", () => {
  beforeAll(async () => {
    // The API server is in a network of its own and knows this machine by this address.
    const host = cluster?.machineAddress ?? "";
    const authority = await createCertificateAuthority({ commonName: NAME, days: 2, clock: systemClock });
    const identity = await issueServerCertificate(authority, {
      ...{ commonName: NAME, dnsNames: [NAME], ipAddresses: [host], days: 1, clock: systemClock },
    });
    const tls = { cert: identity.certificatePem, key: identity.privateKeyPem.expose().toString("latin1") };
    const around = surroundings([
      binding("db", { files: [{ path: "db.json" }], env: [{ name: "DB", key: "k" }], envMethod: "Helper" }),
    ]);
    const app = createWebhook({
      catalog: {
        isSynced: () => true,
        surroundings: (namespace) => ({ ...around, namespace }),
        [Symbol.dispose]: () => {},
      },
      settings,
      log: silentLog,
      onOutcome: () => reviewed++,
    });
    const server = createServer(tls, app).listen(0, host);
    await new Promise((resolve) => server.once("listening", resolve));
    close = () => server.close();
    // An address with a port: the server listens on TCP.
    const { port } = server.address() as AddressInfo;
    const labels = { "pod-security.kubernetes.io/enforce": "restricted" };
    const namespace = { apiVersion: "v1", kind: "Namespace", metadata: { name: NAMESPACE, labels } };
    await cluster?.kubectl(["apply", "-f", "-"], JSON.stringify(namespace));
    const ca = Buffer.from(authority.certificatePem).toString("base64");
    const hooks = webhooks(`https://${host}:${port}/mutate`, ca);
    await cluster?.kubectl(["apply", "-f", "-"], JSON.stringify(hooks));
    const isInjected = async () => namesIn(await create(annotated({})), "initContainers").includes("coffer-agent");
    await waitFor("the webhooks are called", isInjected, 30);
  }, 90_000);

  afterAll(async () => {
    await cluster?.kubectl(["delete", "mutatingwebhookconfiguration", NAME, "--ignore-not-found"]);
    await cluster?.kubectl(["delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait=false"]);
    close();
  });

  it.each<[string, JsonObject, readonly string[]]>([
    ["a SecretBinding", shape({}, {}), ["coffer-helper", "coffer-agent"]],
    ["annotations", annotated({}), ["coffer-agent"]],
    [
      "annotations, before init containers",
      annotated({ "agent-init-first": "true" }, { initContainers: [container("setup")] }),
      ["coffer-agent", "setup"],
    ],
    [
      "annotations, after init containers",
      annotated({}, { initContainers: [container("setup")] }),
      ["setup", "coffer-agent"],
    ],
    ["a Job", annotated({ "agent-pre-populate-only": "true" }, { restartPolicy: "Never" }), ["coffer-agent"]],
    [
      "a mesh with a native proxy",
      shape({ initContainers: [container("istio-proxy", { restartPolicy: "Always" })] }, {}),
      ["istio-proxy", "coffer-helper", "coffer-agent"],
    ],
    [
      "what annotations add to the agent",
      annotated({
        "agent-inject-template-db": '{{ with secret "secret/data/team/db" }}{{ .Data.data.user }}{{ end }}',
        "agent-share-process-namespace": "true",
        "agent-limits-cpu": "100m",
        "agent-requests-ephemeral": "1Mi",
        "tls-secret": "vault-tls",
        "agent-json-patch": '[{"op":"add","path":"/tty","value":true}]',
      }),
      ["coffer-agent"],
    ],
    ["a pod without a token", annotated({}, { automountServiceAccountToken: false }), ["coffer-agent"]],
  ])("admits a pod injected for %s", async (_name, json, initContainers) => {
    const admitted = await create(json);
    expect(namesIn(admitted, "initContainers")).toEqual(initContainers);
    expect(at(admitted, "metadata", "annotations", "coffer.dev/injected")).toBe("true");
  });

  it("shows the sentence of a refusal", async () => {
    await expect(create(annotated({ "agent-inject-perms-db": "rw" }))).rejects.toThrow(
      'admission webhook "migrate.coffer.dev" denied the request: vault.hashicorp.com/agent-inject-perms-db: write an octal mode',
    );
  });

  it.each<[string, JsonObject]>([
    ["no annotation and no label", shape({}, { labels: {} })],
    ["an annotation that says no", annotated({ "agent-inject": "false" })],
  ])("does not ask about a pod with %s", async (_name, json) => {
    const before = reviewed;
    const admitted = await create(json);
    expect(namesIn(admitted, "initContainers")).toEqual([]);
    expect(reviewed).toBe(before);
  });
});

import { request } from "node:https";
import { afterEach, describe, expect, it } from "vitest";
import { type Clock, systemClock } from "#common/clock.ts";
import { type JsonObject, type JsonValue, parseJson } from "#common/json.ts";
import type { ProgramIo } from "#common/program.ts";
import { accepted, at, pod } from "#test/injector/fixtures.ts";
import { eventually } from "#test/kube/eventually.ts";
import { type FakeApiServer, startFakeApiServer } from "#test/kube/fake-api-server.ts";
import { run } from "./main.ts";

const WEBHOOK = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/coffer-injector";
const CA = "/api/v1/namespaces/coffer-system/secrets/coffer-injector-ca";
const BINDINGS = "/apis/coffer.dev/v1alpha1/namespaces/team/secretbindings";

const ends: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

/** A cluster as the chart leaves it, and a VaultCluster that runs. */
async function cluster(groups: readonly string[] = []): Promise<FakeApiServer> {
  const api = await startFakeApiServer();
  ends.push(async () => api[Symbol.asyncDispose]());
  const answers: Record<string, JsonValue> = {
    "/version": { major: "1", minor: "35" },
    "/apis": { kind: "APIGroupList", groups: groups.map((name) => ({ name })) },
  };
  api.intercept((asked, response) => {
    const answer = answers[asked.path];
    if (answer === undefined) return false;
    response.setHeader("content-type", "application/json");
    response.end(JSON.stringify(answer));
    return true;
  });
  api.put(CA, { apiVersion: "v1", kind: "Secret", metadata: { name: "coffer-injector-ca" } });
  api.put(WEBHOOK, {
    apiVersion: "admissionregistration.k8s.io/v1",
    kind: "MutatingWebhookConfiguration",
    metadata: { name: "coffer-injector" },
    webhooks: [{ name: "inject.coffer.dev", clientConfig: { service: { name: "coffer-injector" } } }],
  });
  api.put("/apis/coffer.dev/v1alpha1/namespaces/coffer-system/vaultclusters/main", {
    apiVersion: "coffer.dev/v1alpha1",
    kind: "VaultCluster",
    metadata: { name: "main", namespace: "coffer-system" },
    spec: { unsealConfigRef: { name: "kms" } },
    status: { address: "https://main.coffer-system.svc:8200" },
  });
  return api;
}

function bindingObject(): JsonObject {
  return {
    apiVersion: "coffer.dev/v1alpha1",
    kind: "SecretBinding",
    metadata: { name: "db", namespace: "team" },
    spec: { path: "secret/team/db", files: [{ path: "db.json" }] },
    status: accepted,
  };
}

/** Longer waits are deadlines of calls, which a busy machine needs. */
const SHORTENED_MILLIS_MAX = 10_000;
/** The drain is no part of what is tested here. */
const hasty: Clock = {
  now: systemClock.now,
  sleep: (ms, signal) => systemClock.sleep(ms > SHORTENED_MILLIS_MAX ? ms : Math.min(ms, 20), signal),
  after: systemClock.after,
};

async function injector(api: FakeApiServer) {
  const stop = new AbortController();
  const lines: string[] = [];
  const environment = {
    COFFER_POD_NAMESPACE: "coffer-system",
    COFFER_IMAGE: "coffer/coffer:1",
    COFFER_WEBHOOK_NAME: "coffer-injector",
    COFFER_WEBHOOK_SERVICE: "coffer-injector",
    COFFER_CA_SECRET: "coffer-injector-ca",
    COFFER_LISTEN_ADDRESS: "127.0.0.1:0",
    COFFER_HEALTH_ADDRESS: "127.0.0.1:0",
    KUBECONFIG: await kubeconfigOf(api),
  };
  const io: ProgramIo = {
    stdout: { write: () => {} },
    stderr: { write: (text) => lines.push(text) },
    readStdin: async () => Buffer.alloc(0),
    env: environment,
    cwd: "/",
    clock: hasty,
    signal: stop.signal,
  };
  const done = run([], io);
  ends.push(async () => {
    stop.abort();
    expect(await done).toBe(0);
  });
  const started = () => lines.find((line) => line.includes("the injector runs"));
  await eventually(() => {
    if (started() === undefined) throw new Error(lines.join(""));
  });
  return { port: Number(at(parseJson(started() ?? "{}"), "port")), lines };
}

async function kubeconfigOf(api: FakeApiServer): Promise<string> {
  const { mkdtemp, rm, writeFile } = await import("node:fs/promises");
  const { tmpdir } = await import("node:os");
  const folder = await mkdtemp(`${tmpdir()}/coffer-injector-`);
  ends.push(() => rm(folder, { recursive: true }));
  const config = {
    apiVersion: "v1",
    kind: "Config",
    clusters: [{ name: "c", cluster: { server: api.url, "insecure-skip-tls-verify": true } }],
    users: [{ name: "u", user: { token: "t" } }],
    contexts: [{ name: "x", context: { cluster: "c", user: "u" } }],
    "current-context": "x",
  };
  await writeFile(`${folder}/config`, JSON.stringify(config));
  return `${folder}/config`;
}

/** Calls as the API server does: trusting what the configuration's caBundle holds. */
function review(api: FakeApiServer, port: number, object: JsonObject): Promise<JsonValue> {
  const ca = at(api.stored(WEBHOOK), "webhooks", 0, "clientConfig", "caBundle");
  const body = JSON.stringify({
    apiVersion: "admission.k8s.io/v1",
    kind: "AdmissionReview",
    request: {
      uid: "1",
      kind: { version: "v1", kind: "Pod" },
      resource: { version: "v1", resource: "pods" },
      operation: "CREATE",
      namespace: "team",
      object,
    },
  });
  return new Promise((resolve, reject) => {
    const outgoing = request(
      {
        host: "127.0.0.1",
        port,
        path: "/mutate",
        method: "POST",
        servername: "coffer-injector.coffer-system.svc",
        ca: Buffer.from(String(ca), "base64"),
        agent: false,
      },
      (incoming) => {
        const chunks: Buffer[] = [];
        incoming.on("data", (chunk: Buffer) => chunks.push(chunk));
        incoming.on("end", () => {
          if (incoming.statusCode === 200) resolve(parseJson(Buffer.concat(chunks).toString()));
          else reject(new Error(Buffer.concat(chunks).toString()));
        });
      },
    );
    outgoing.on("error", reject);
    outgoing.end(body);
  });
}

describe("the injector program", () => {
  it("fills in its CA, serves with it, and follows the bindings", async () => {
    const api = await cluster();
    const { port } = await injector(api);
    await eventually(async () => at(await review(api, port, pod()), "response", "allowed") === false);
    api.put(`${BINDINGS}/db`, bindingObject());
    await eventually(async () => at(await review(api, port, pod()), "response", "allowed") === true);
    expect(at(await review(api, port, pod()), "response", "patchType")).toBe("JSONPatch");
    api.remove(`${BINDINGS}/db`);
    await eventually(async () => at(await review(api, port, pod()), "response", "allowed") === false);
  });

  it("leaves users to the cluster on OpenShift", async () => {
    const api = await cluster(["security.openshift.io"]);
    const { port, lines } = await injector(api);
    api.put(`${BINDINGS}/db`, bindingObject());
    await eventually(async () => at(await review(api, port, pod()), "response", "allowed") === true);
    const patch = Buffer.from(String(at(await review(api, port, pod()), "response", "patch")), "base64").toString();
    expect(patch).toContain('"runAsNonRoot":true');
    expect(patch).not.toContain("runAsUser");
    expect(lines.join("")).toContain('"assignsUsers":true');
  });

  it("writes nothing but its CA and its caBundle", async () => {
    const api = await cluster();
    const { port } = await injector(api);
    await eventually(async () => at(await review(api, port, pod()), "response", "uid") === "1");
    const written = api.requests
      .filter(({ method }) => method !== "GET")
      .map(({ method, path }) => `${method} ${path}`);
    expect([...new Set(written)].sort()).toEqual([`PATCH ${WEBHOOK}`, `PUT ${CA}`]);
  });

  it("ends with a sentence when its configuration lacks something", async () => {
    const lines: string[] = [];
    const io: ProgramIo = {
      stdout: { write: () => {} },
      stderr: { write: (text) => lines.push(text) },
      readStdin: async () => Buffer.alloc(0),
      env: {},
      cwd: "/",
      clock: systemClock,
      signal: new AbortController().signal,
    };
    expect(await run([], io)).toBe(1);
    expect(lines).toEqual(["coffer injector: COFFER_POD_NAMESPACE is not set; the chart sets it\n"]);
    expect(await run(["-listen"], io)).toBe(1);
  });
});

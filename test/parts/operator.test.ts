// The operator's controllers with a real server and everything but Kubernetes: the API server is the fake one, and the
// test plays the kubelet, which starts the server from the ConfigMap and the Secret that the operator made.
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type ApiClient, createApiClient } from "#client/api-client.ts";
import { loginWithKubernetes } from "#client/kubernetes-login.ts";
import { systemClock } from "#common/clock.ts";
import { isJsonArray, isJsonObject, type JsonObject, type JsonValue, parseJson } from "#common/json.ts";
import { silentLog } from "#common/log.ts";
import { createMetrics } from "#common/metrics.ts";
import { declareControllerMetrics } from "#kube/controller.ts";
import { createEventRecorder } from "#kube/events.ts";
import { createKubeClient, type KubeClient } from "#kube/kube-client.ts";
import { resourceKind } from "#operator/api/resource.ts";
import { secretBinding } from "#operator/api/secret-binding.ts";
import { CLUSTER_LABEL, OPERATOR_AUTH_MOUNT } from "#operator/cluster-names.ts";
import { createApplier } from "#operator/controllers/applier.ts";
import { controllerTypes } from "#operator/controllers/registry.ts";
import { adminRoleName } from "#operator/controllers/vault-cluster/bootstrap.ts";
import { createServers } from "#operator/servers/servers.ts";
import { createWatches } from "#operator/watches.ts";
import { type RunningServer, startServer } from "#test/kit/server.ts";
import { startTokenReviewServer, type TokenReviewServer } from "#test/kit/token-review.ts";
import { type FakeApiServer, startFakeApiServer } from "#test/kube/fake-api-server.ts";
import { SETTINGS } from "#test/operator/fixtures.ts";

const SYSTEM = "coffer-system";
const CUSTOM = "/apis/coffer.dev/v1alpha1/namespaces";
const ADMIN = { namespace: SYSTEM, serviceAccount: "admin" };
/** Of VaultCluster coffer-system/main. */
const AUDIENCE = "coffer.coffer-system.main";
const PATIENCE_MILLIS = 30_000;

let api: FakeApiServer;
let review: TokenReviewServer;
let server: RunningServer | undefined;
let kube: KubeClient;
let folder: string;
let port: number;
const end = new AbortController();
let running: Promise<unknown> = Promise.resolve();

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "coffer-operator-"));
  port = await freePort();
  api = await startFakeApiServer();
  review = await startTokenReviewServer();
  kube = await createKubeClient({ source: { from: "values", server: api.url }, fieldManager: "coffer-operator" });
  await writeFile(join(folder, "key"), Buffer.alloc(32, 7));
  running = startControllers();
});

afterAll(async () => {
  end.abort();
  await running;
  await server?.stop();
  await review.close();
  kube[Symbol.dispose]();
  await api[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

describe("the operator with a real server", () => {
  it("makes what a server needs, and the server initialises itself", async () => {
    for (const name of [SYSTEM, "team"]) api.put(`/api/v1/namespaces/${name}`, { metadata: { name, labels: {} } });
    api.put(`/api/v1/namespaces/${SYSTEM}/secrets/key`, { data: { key: "a2V5" } });
    put("unsealconfigs", SYSTEM, "kms", { static: { secretRef: { name: "key" } } });
    put("vaultclusters", SYSTEM, "main", { unsealConfigRef: { name: "kms" }, access: { admins: [ADMIN] } });
    await until(() => api.stored(`/apis/apps/v1/namespaces/${SYSTEM}/statefulsets/main`) !== undefined);
    server = await startPod();
    await until(() => condition("vaultclusters", SYSTEM, "main", "Ready") === "True Running");
    await until(() => condition("vaultclusters", SYSTEM, "main", "ConfigSynced") === "True Configured");
    await until(() => condition("unsealconfigs", SYSTEM, "kms", "Ready") === "True KeyAccessible");
  });

  it("lets pods read what their namespace may have, and says what is missing", async () => {
    put("secretbindings", "team", "db", { path: "secret/team/db", files: [{ path: "db.json" }] });
    put("secretbindings", "team", "theirs", { path: "secret/other/db", files: [{ path: "db.json" }] });
    await until(() => condition("secretbindings", "team", "db", "Ready") === "False SecretMissing");
    await until(() => condition("secretbindings", "team", "theirs", "Stalled") === "True PathNotAllowed");
    expect(condition("secretbindings", "team", "db", "Synced")).toBe("True Synced");
    const admin = await login(OPERATOR_AUTH_MOUNT, adminRoleName(ADMIN), jwt(SYSTEM, "admin"));
    for (const namespace of ["team", "other"])
      await admin.write(`secret/data/${namespace}/db`, { data: { a: namespace } });
    await touch("db");
    await until(() => condition("secretbindings", "team", "db", "Ready") === "True Synced");
    const pod = await login("kubernetes", "sb_team", jwt("team", "default"));
    expect((await pod.read("secret/data/team/db")).data).toMatchObject({ data: { a: "team" } });
    await expect(pod.read("secret/data/other/db")).rejects.toMatchObject({ status: 403 });
    expect(api.stored("/api/v1/namespaces/team/configmaps/coffer-ca.coffer-system.main")).toMatchObject({
      metadata: {
        ownerReferences: [
          { kind: "SecretBinding", name: "db" },
          { kind: "SecretBinding", name: "theirs" },
        ],
      },
    });
  });

  it("gives a thief of its token nothing beyond the boundary", async () => {
    const thief = await login(OPERATOR_AUTH_MOUNT, "operator", jwt(SYSTEM, SETTINGS.serviceAccount));
    await expect(thief.read("secret/data/team/db")).rejects.toMatchObject({ status: 403 });
    await expect(thief.write("sys/policies/acl/coffer-boundary", { policy: "" })).rejects.toMatchObject({
      status: 403,
    });
    await expect(thief.write("auth/coffer-operator/role/operator", {})).rejects.toMatchObject({ status: 403 });
    await thief.write("sys/policies/acl/sb_evil", { policy: 'path "*" { capabilities = ["read", "update", "sudo"] }' });
    const role = {
      bound_service_account_names: "*",
      bound_service_account_namespaces: "*",
      token_policies: "sb_evil",
    };
    await thief.write("auth/kubernetes/role/sb_evil", { ...role, token_policies: "sb_evil,root" });
    await expect(login("kubernetes", "sb_evil", jwt("team", "default"))).rejects.toMatchObject({ status: 400 });
    await thief.write("auth/kubernetes/role/sb_evil", role);
    const evil = await login("kubernetes", "sb_evil", jwt("team", "default"));
    await expect(evil.read("secret/data/other/db")).rejects.toMatchObject({ status: 403 });
    await expect(evil.read("sys/policies/acl/sb_evil")).rejects.toMatchObject({ status: 403 });
    await thief.delete("auth/kubernetes/role/sb_evil");
    await thief.delete("sys/policies/acl/sb_evil");
  });

  it("takes no token that is meant for another server", async () => {
    const stray = jwt("team", "default", "coffer.coffer-system.other");
    await expect(login("kubernetes", "sb_team", stray)).rejects.toMatchObject({ status: 403 });
  });

  it("cleans up after a deleted binding", async () => {
    const admin = await login(OPERATOR_AUTH_MOUNT, adminRoleName(ADMIN), jwt(SYSTEM, "admin"));
    expect(await admin.list("auth/kubernetes/role")).toEqual(["sb_team"]);
    markDeleted("db");
    await until(() => finalizers("db").length === 0);
    expect(await admin.list("auth/kubernetes/role")).toEqual([]);
    expect((await admin.list("sys/policies/acl")).filter((name) => name.startsWith("sb_"))).toEqual([]);
  });

  it("tells that the server is away and keeps no session with it", async () => {
    await server?.stop();
    await kube.mergePatch(
      { group: "", version: "v1", plural: "pods", kind: "Pod", namespaced: true },
      { namespace: SYSTEM, name: "main-0" },
      { status: { conditions: [] } },
    );
    await until(() => condition("vaultclusters", SYSTEM, "main", "Ready") === "False Unreachable");
  });
});

async function startControllers(): Promise<void> {
  const clock = systemClock;
  const settings = SETTINGS;
  const token = async (audience: string) => jwt(SYSTEM, SETTINGS.serviceAccount, audience);
  const watches = createWatches({ client: kube, settings, clock, log: silentLog });
  const servers = createServers({ client: kube, watches, token, port, clock });
  const events = createEventRecorder({ client: kube, instance: "test", log: silentLog });
  const applier = createApplier({ client: kube, watches, events, clock });
  const metrics = declareControllerMetrics(createMetrics());
  const parts = { client: kube, watches, servers, applier, events, settings, metrics, clock, log: silentLog };
  const controllers = controllerTypes.map((type) => type.create(parts));
  await Promise.all([watches.run(end.signal), ...controllers.map((controller) => controller.run(end.signal))]);
  servers.close();
}

/** What kubelet and the image do: files from ConfigMap and Secrets, the program, the pod's status. */
async function startPod(): Promise<RunningServer> {
  const data = (path: string) => objectAt(api.stored(`/api/v1/namespaces/${SYSTEM}/${path}`), "data");
  const tls = data("secrets/main-tls");
  await mkdir(join(folder, "tls"));
  for (const [name, value] of Object.entries(tls))
    await writeFile(join(folder, "tls", name), Buffer.from(String(value), "base64"));
  const config = String(data("configmaps/main-config")["coffer.json"])
    .replaceAll("/coffer/tls", join(folder, "tls"))
    .replaceAll("/coffer/data", join(folder, "data"))
    .replaceAll("/coffer/unseal", folder)
    .replaceAll("0.0.0.0:8200", `127.0.0.1:${port}`)
    .replaceAll("https://kubernetes.default.svc", review.address);
  parseJson(config);
  await writeFile(join(folder, "coffer.json"), config);
  const started = await startServer([`-config=${join(folder, "coffer.json")}`]);
  const conditions = [{ type: "Ready", status: "True" }];
  const labels = { [CLUSTER_LABEL]: "main", "app.kubernetes.io/component": "server" };
  api.put(`/api/v1/namespaces/${SYSTEM}/pods/main-0`, {
    metadata: { labels },
    status: { podIP: "127.0.0.1", conditions },
  });
  return started;
}

async function login(mount: string, role: string, token: string): Promise<ApiClient> {
  const tokenFile = join(folder, `token-${role}`);
  await writeFile(tokenFile, token);
  const secret = objectAt(api.stored(`/api/v1/namespaces/${SYSTEM}/secrets/main-tls`), "data");
  const ca = Buffer.from(String(secret["ca.crt"]), "base64").toString("utf8");
  const address = `https://127.0.0.1:${port}`;
  const client = createApiClient({ address, ca, serverName: "main.coffer-system.svc", clock: systemClock });
  const auth = await loginWithKubernetes(client, { mount, role, tokenFile });
  return client.with({ token: auth.client_token });
}

/** A token as the cluster issues them; the stand-in for TokenReview does not check signatures. */
function jwt(namespace: string, account: string, audience = AUDIENCE): string {
  const part = (value: JsonObject) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const bound = { namespace, serviceaccount: { name: account, uid: `uid-${namespace}-${account}` } };
  const exp = Math.floor(systemClock.now() / 1000) + 3600;
  const claims = {
    iss: "conform",
    aud: [audience],
    exp,
    sub: `system:serviceaccount:${namespace}:${account}`,
    "kubernetes.io": bound,
  };
  return `${part({ alg: "RS256" })}.${part(claims)}.c2ln`;
}

function put(plural: string, namespace: string, name: string, spec: JsonObject): void {
  api.put(`${CUSTOM}/${namespace}/${plural}/${name}`, { spec });
}

async function touch(name: string): Promise<void> {
  const patch = { metadata: { annotations: { "coffer.dev/reconcile-at": "now" } } };
  await kube.mergePatch(resourceKind(secretBinding), { namespace: "team", name }, patch);
}

function markDeleted(name: string): void {
  const path = `${CUSTOM}/team/secretbindings/${name}`;
  const object = api.stored(path) ?? {};
  const metadata = { ...objectAt(object, "metadata"), deletionTimestamp: new Date(systemClock.now()).toISOString() };
  api.put(path, { ...object, metadata });
}

function finalizers(name: string): readonly JsonValue[] {
  const found = objectAt(api.stored(`${CUSTOM}/team/secretbindings/${name}`), "metadata")["finalizers"];
  return found !== undefined && isJsonArray(found) ? found : [];
}

/** "True Running", or undefined. */
function condition(plural: string, namespace: string, name: string, type: string): string | undefined {
  const { conditions } = objectAt(api.stored(`${CUSTOM}/${namespace}/${plural}/${name}`), "status");
  if (conditions === undefined || !isJsonArray(conditions)) return undefined;
  const found = conditions.filter(isJsonObject).find((one) => one["type"] === type);
  return found && `${String(found["status"])} ${String(found["reason"])}`;
}

function objectAt(value: JsonValue | undefined, member: string): JsonObject {
  const inner = isJsonObject(value) ? value[member] : undefined;
  return isJsonObject(inner) ? inner : {};
}

async function until(check: () => boolean): Promise<void> {
  const deadline = systemClock.now() + PATIENCE_MILLIS;
  while (!check()) {
    if (systemClock.now() > deadline) throw new Error(`did not come about: ${check.toString()}`);
    await systemClock.sleep(50);
  }
}

async function freePort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>((resolve) => probe.listen(0, "127.0.0.1", resolve));
  const address = probe.address();
  await new Promise((resolve) => probe.close(resolve));
  if (address === null || typeof address === "string") throw new Error("a TCP server has a port");
  return address.port;
}

// The operator as a process of its own, on a real API server without a node, with a real server: the test plays the
// kubelet, which starts the server from the ConfigMap and the Secret that the operator made. The operator has exactly the
// rights that the chart gives it.
import { type ChildProcess, spawn } from "node:child_process";
import { randomInt } from "node:crypto";
import { once } from "node:events";
import { createWriteStream } from "node:fs";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ApiClient, createApiClient } from "#client/api-client.ts";
import { loginWithToken } from "#client/kubernetes-login.ts";
import { systemClock } from "#common/clock.ts";
import { isJsonArray, isJsonObject, type JsonObject, type JsonValue, parseJson } from "#common/json.ts";
import type { KubeClient } from "#kube/kube-client.ts";
import type { KubeObject, ResourceKind } from "#kube/kube-object.ts";
import { CONFIG_MAP, NAMESPACE, POD, SECRET, SERVICE_ACCOUNT, STATEFUL_SET } from "#kube/resource-kinds.ts";
import { requestToken } from "#kube/service-account-tokens.ts";
import { resourceKind } from "#operator/api/resource.ts";
import { secretBinding } from "#operator/api/secret-binding.ts";
import { unsealConfig } from "#operator/api/unseal-config.ts";
import { vaultCluster } from "#operator/api/vault-cluster.ts";
import { adminRoleName } from "#operator/controllers/vault-cluster/bootstrap.ts";
import { freePorts } from "#test/kit/free-ports.ts";
import { type KubeApi, startKubeApi } from "#test/kit/kube-api.ts";
import { type RunningServer, startServer } from "#test/kit/server.ts";
import { findHelm, renderChart } from "#test/parts/helm.ts";

export const SYSTEM = "coffer-system";
export const OPERATOR = "coffer-operator";
export const ADMIN = { namespace: SYSTEM, serviceAccount: "admin" };
/** Of VaultCluster coffer-system/main. */
export const AUDIENCE = "coffer.coffer-system.main";
export const BINDING = resourceKind(secretBinding);
export const CLUSTER = resourceKind(vaultCluster);
const PROGRAM = join(import.meta.dirname, "../../src/cli/main.ts");
const PATIENCE_MILLIS = 25_000;
const OUTPUT_CHARACTERS_MAX = 256 * 1024;

export interface OperatorProcess {
  readonly pid: number;
  /** Base address of its health listener. */
  readonly health: string;
  output(): string;
  /** Asks it to end, which hands the Lease over. */
  stop(): Promise<void>;
  kill9(): Promise<void>;
}

export interface World extends AsyncDisposable {
  readonly api: KubeApi;
  readonly kube: KubeClient;
  readonly server: RunningServer;
  /** The server's API as an administrator. */
  readonly admin: ApiClient;
  startOperator(options?: {
    kubeUrl?: string;
    log?: string;
    environment?: Record<string, string>;
  }): Promise<OperatorProcess>;
  /** Makes a namespace with its ServiceAccounts, "default" among them. */
  namespace(name: string, accounts?: readonly string[]): Promise<void>;
  bind(namespace: string, name: string, spec: JsonObject): Promise<KubeObject>;
  binding(namespace: string, name: string): Promise<KubeObject | undefined>;
  /** The keys of a Secret as texts; undefined when there is none. */
  secret(namespace: string, name: string): Promise<Readonly<Record<string, string>> | undefined>;
  /** A token of a ServiceAccount. */
  tokenOf(namespace: string, name: string, audience?: string): Promise<string>;
  /** The server's API as a ServiceAccount by a role. */
  login(mount: string, role: string, jwt: string): Promise<ApiClient>;
}

/** Everything but the operator's work on bindings; `values` are the chart's. The operator that made it has ended. */
export async function startWorld(programs: string, values: JsonObject = {}): Promise<World> {
  const api = await startKubeApi(programs);
  const folder = await mkdtemp(join(tmpdir(), "coffer-world-"));
  const kube = api.client;
  const operators: OperatorProcess[] = [];
  let server: RunningServer | undefined;
  const close = async () => {
    for (const operator of operators) await operator.kill9();
    await server?.stop();
    await api[Symbol.asyncDispose]();
    await rm(folder, { recursive: true, force: true });
  };
  try {
    await install(kube, values);
    const startOne: World["startOperator"] = async (options = {}) => {
      const token = await tokenOf(kube, SYSTEM, OPERATOR);
      const url = options.kubeUrl ?? api.url;
      const operator = await startOperator(await api.kubeconfig({ token, url }), values, options);
      operators.push(operator);
      return operator;
    };
    const first = await startOne();
    await declareCluster(kube);
    // An address of its own on the loopback, because servers have the one port 8200.
    const address = `127.${randomInt(2, 250)}.${randomInt(2, 250)}.${randomInt(2, 250)}`;
    server = await startPod(api, folder, address);
    await until("the cluster is ready", async () => {
      const found = await kube.get(CLUSTER, { namespace: SYSTEM, name: "main" });
      return conditionOf(found, "Ready") === "True Running" || conditionOf(found, "Ready");
    });
    const ca = await authorityOf(kube);
    const login: World["login"] = async (mount, role, jwt) => {
      const client = createApiClient({
        ...{ address: `https://${address}:8200`, ca, serverName: "main.coffer-system.svc", clock: systemClock },
      });
      const auth = await loginWithToken(client, { mount, role, jwt });
      return client.with({ token: auth.client_token });
    };
    const admin = await login(OPERATOR, adminRoleName(ADMIN), await tokenOf(kube, SYSTEM, "admin", AUDIENCE));
    await first.stop();
    return {
      ...{ api, kube, server, admin, login },
      startOperator: startOne,
      namespace: (name, accounts) => makeNamespace(kube, name, accounts),
      bind: (namespace, name, spec) => kube.apply(BINDING, { metadata: { namespace, name }, spec }),
      binding: (namespace, name) => kube.get(BINDING, { namespace, name }),
      secret: (namespace, name) => readSecret(kube, namespace, name),
      tokenOf: (namespace, name, audience) => tokenOf(kube, namespace, name, audience),
      [Symbol.asyncDispose]: close,
    };
  } catch (error) {
    const seen = await kube.get(CLUSTER, { namespace: SYSTEM, name: "main" }).catch(() => undefined);
    const told = [...operators.map((operator) => operator.output()), JSON.stringify(seen?.["status"])].join("\n");
    await close();
    throw new Error(`the world did not come about:\n${told}`, { cause: error });
  }
}

/** The chart's rules, by helm, as far as an API server alone can use them. */
async function install(kube: KubeClient, values: JsonObject): Promise<void> {
  await makeNamespace(kube, SYSTEM, [OPERATOR, "admin"]);
  const objects = renderChart(findHelm(process.env) ?? "helm", SYSTEM, values);
  if (typeof objects === "string") throw new Error(objects);
  const rules =
    /^(ClusterRole|ClusterRoleBinding|Role|RoleBinding|ValidatingAdmissionPolicy|ValidatingAdmissionPolicyBinding)$/;
  const namespaces = new Set<string>();
  for (const object of objects) {
    if (!rules.test(String(object["kind"]))) continue;
    const namespace = objectAt(object, "metadata")["namespace"];
    if (typeof namespace === "string" && !namespaces.has(namespace)) await makeNamespace(kube, namespace);
    if (typeof namespace === "string") namespaces.add(namespace);
    await kube.apply(kindOf(object), object);
  }
}

function kindOf(object: JsonObject): ResourceKind {
  const [group = "", version = ""] = String(object["apiVersion"]).split("/");
  const kind = String(object["kind"]);
  const plural = kind.endsWith("Policy") ? `${kind.slice(0, -1).toLowerCase()}ies` : `${kind.toLowerCase()}s`;
  const namespaced = objectAt(object, "metadata")["namespace"] !== undefined;
  return { group, version, plural, kind, namespaced };
}

async function makeNamespace(kube: KubeClient, name: string, accounts: readonly string[] = []): Promise<void> {
  await kube.apply(NAMESPACE, { metadata: { name } });
  for (const account of ["default", ...accounts])
    await kube.apply(SERVICE_ACCOUNT, { metadata: { namespace: name, name: account } });
}

async function declareCluster(kube: KubeClient): Promise<void> {
  const at = (name: string) => ({ namespace: SYSTEM, name });
  await kube.apply(SECRET, { metadata: at("key"), data: { key: Buffer.alloc(32, 7).toString("base64") } });
  await kube.apply(resourceKind(unsealConfig), {
    metadata: at("kms"),
    spec: { static: { secretRef: { name: "key" } } },
  });
  await kube.apply(CLUSTER, {
    metadata: at("main"),
    spec: { unsealConfigRef: { name: "kms" }, access: { admins: [ADMIN] } },
  });
}

async function startOperator(
  kubeconfig: string,
  values: JsonObject,
  options: { log?: string; environment?: Record<string, string> },
): Promise<OperatorProcess> {
  const [port = 0] = await freePorts(1);
  const operator = objectAt(values, "operator");
  const namespaces = isJsonArray(operator["secretNamespaces"] ?? null) ? operator["secretNamespaces"] : [];
  const child = spawn(
    process.execPath,
    ["--disable-warning=ExperimentalWarning", PROGRAM, "operator", `-kubeconfig=${kubeconfig}`],
    {
      stdio: ["ignore", "pipe", "pipe"],
      env: {
        PATH: process.env["PATH"],
        COFFER_POD_NAME: `operator-${port}`,
        COFFER_POD_NAMESPACE: SYSTEM,
        COFFER_SERVICE_ACCOUNT: OPERATOR,
        COFFER_IMAGE: "coffer/coffer:test",
        COFFER_SECRET_NAMESPACES: Array.isArray(namespaces) ? namespaces.join(",") : "",
        COFFER_LEASE_NAME: OPERATOR,
        COFFER_HEALTH_ADDRESS: `127.0.0.1:${port}`,
        ...options.environment,
      },
    },
  );
  const kill = () => child.kill("SIGKILL");
  process.once("exit", kill);
  child.once("exit", () => process.removeListener("exit", kill));
  const output = collect(child, options.log);
  return {
    pid: child.pid ?? 0,
    health: `http://127.0.0.1:${port}`,
    output,
    stop: () => end(child, "SIGTERM"),
    kill9: () => end(child, "SIGKILL"),
  };
}

function collect(child: ChildProcess, log: string | undefined): () => string {
  let text = "";
  const file = log === undefined ? undefined : createWriteStream(log);
  for (const stream of [child.stdout, child.stderr])
    stream?.on("data", (chunk: Buffer) => {
      file?.write(chunk);
      text = (text + chunk.toString("utf8")).slice(-OUTPUT_CHARACTERS_MAX);
    });
  return () => text;
}

async function end(child: ChildProcess, signal: "SIGTERM" | "SIGKILL"): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, "exit");
  child.kill(signal);
  await ended;
}

/** What kubelet and the image do: files from ConfigMap and Secrets, the program, the pod's status. */
async function startPod(api: KubeApi, folder: string, address: string): Promise<RunningServer> {
  const kube = api.client;
  const made = await until("the StatefulSet is there", () =>
    kube.get(STATEFUL_SET, { namespace: SYSTEM, name: "main" }),
  );
  const template = objectAt(objectAt(objectAt(made, "spec"), "template"), "metadata");
  const data = async (kind: ResourceKind, name: string) =>
    objectAt(await kube.get(kind, { namespace: SYSTEM, name }), "data");
  await mkdir(join(folder, "tls"));
  for (const [name, value] of Object.entries(await data(SECRET, "main-tls")))
    await writeFile(join(folder, "tls", name), Buffer.from(String(value), "base64"));
  await writeFile(join(folder, "key"), Buffer.alloc(32, 7));
  const text = String((await data(CONFIG_MAP, "main-config"))["coffer.json"])
    .replaceAll("/coffer/tls", join(folder, "tls"))
    .replaceAll("/coffer/data", join(folder, "data"))
    .replaceAll("/coffer/unseal", folder)
    .replaceAll("0.0.0.0:8200", `${address}:8200`);
  const account = objectAt(objectAt(objectAt(made, "spec"), "template"), "spec")["serviceAccountName"];
  const reviewer = await tokenOf(kube, SYSTEM, String(account));
  const config = withReviewer(parseJson(text), {
    kubernetes_host: api.url,
    kubernetes_ca_cert: api.ca,
    token_reviewer_jwt: reviewer,
  });
  await writeFile(join(folder, "coffer.json"), JSON.stringify({ ...(isJsonObject(config) ? config : {}), workers: 1 }));
  const server = await startServer([`-config=${join(folder, "coffer.json")}`]);
  const labels = objectAt(template, "labels");
  await kube.create(POD, {
    metadata: { namespace: SYSTEM, name: "main-0", labels },
    spec: { containers: [{ name: "server", image: "coffer/coffer:test" }] },
  });
  const conditions = [{ type: "Ready", status: "True" }];
  const status = { podIP: address, podIPs: [{ ip: address }], phase: "Running", conditions };
  await kube.mergePatch(POD, { namespace: SYSTEM, name: "main-0" }, { status }, { subresource: "status" });
  return server;
}

/** Outside of a pod the server has no token of its own to ask the API server with. */
function withReviewer(value: JsonValue, reviewer: JsonObject): JsonValue {
  if (isJsonArray(value)) return value.map((item) => withReviewer(item, reviewer));
  if (!isJsonObject(value)) return value;
  const inner = Object.fromEntries(Object.entries(value).map(([name, item]) => [name, withReviewer(item, reviewer)]));
  return inner["kubernetes_host"] === undefined ? inner : { ...inner, ...reviewer };
}

async function tokenOf(kube: KubeClient, namespace: string, name: string, audience?: string): Promise<string> {
  const audiences = audience === undefined ? [] : [audience];
  const found = await requestToken(kube, { namespace, name }, { audiences, expirationSeconds: 3600 });
  return found.token;
}

async function authorityOf(kube: KubeClient): Promise<string> {
  const secret = await kube.get(SECRET, { namespace: SYSTEM, name: "main-tls" });
  return Buffer.from(String(objectAt(secret, "data")["ca.crt"]), "base64").toString("utf8");
}

async function readSecret(kube: KubeClient, namespace: string, name: string) {
  const secret = await kube.get(SECRET, { namespace, name });
  if (secret === undefined) return undefined;
  return Object.fromEntries(
    Object.entries(objectAt(secret, "data")).map(([key, value]) => [
      key,
      Buffer.from(String(value), "base64").toString("utf8"),
    ]),
  );
}

/** "True Running", or undefined. */
export function conditionOf(object: KubeObject | undefined, type: string): string | undefined {
  const { conditions } = objectAt(object, "status");
  if (conditions === undefined || !isJsonArray(conditions)) return undefined;
  const found = conditions.filter(isJsonObject).find((one) => one["type"] === type);
  return found && `${String(found["status"])} ${String(found["reason"])}`;
}

export function objectAt(value: JsonValue | undefined, member: string): JsonObject {
  const inner = isJsonObject(value) ? value[member] : undefined;
  return isJsonObject(inner) ? inner : {};
}

/** Resident memory of a process, in bytes. */
export async function residentBytes(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, "utf8");
  return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0) * 1024;
}

/** Calls `look` until it gives something other than undefined, false and text; text says how far it is. */
export async function until<T>(
  what: string,
  look: () => Promise<T | string | boolean | undefined>,
  patienceMillis = PATIENCE_MILLIS,
): Promise<T> {
  const deadline = systemClock.now() + patienceMillis;
  for (;;) {
    const found = await look();
    // True: what is neither undefined nor one of the two kinds that mean "not yet" is a T, or true, which nobody uses.
    if (found !== undefined && found !== false && typeof found !== "string") return found as T;
    if (systemClock.now() > deadline) throw new Error(`waited in vain until ${what}: ${String(found)}`);
    await systemClock.sleep(50);
  }
}

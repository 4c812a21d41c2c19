// A real Kubernetes API server without a node, for tests of the operator that need no pods: etcd and kube-apiserver as
// two processes of this machine, on free ports, in a folder that goes with them. Nobody else watches it: no controller
// makes ServiceAccounts, collects garbage or ends namespaces. Programs: test/cluster.
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { generateKeyPairSync, randomBytes } from "node:crypto";
import { once } from "node:events";
import { openSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "#common/clock.ts";
import type { JsonObject } from "#common/json.ts";
import { createKubeClient, type KubeClient } from "#kube/kube-client.ts";
import { CUSTOM_RESOURCE_DEFINITION } from "#kube/resource-kinds.ts";
import { customResourceDefinition } from "#operator/api/crd.ts";
import { definitions } from "#operator/api/registry.ts";
import { freePorts } from "./free-ports.ts";
import { createTestAuthority } from "./tls-pair.ts";

const CLUSTER = join(import.meta.dirname, "../cluster/cluster");
/** It starts in four seconds on an idle core; the machine may be busy with other tests. */
const START_MILLIS_MAX = 90_000;
const POLL_MILLIS = 50;

export interface KubeApi extends AsyncDisposable {
  /** Such as https://127.0.0.1:40123. */
  readonly url: string;
  readonly port: number;
  /** PEM of its certificate's authority. */
  readonly ca: string;
  /** Bearer token of an administrator. */
  readonly adminToken: string;
  /** As the administrator. */
  readonly client: KubeClient;
  /** A kubeconfig of the administrator, or of somebody else by a token, or at another address (a proxy's). */
  kubeconfig(options?: { token?: string; url?: string }): Promise<string>;
  /** Ends the API server as a crash would and starts it again; etcd stays. */
  restart(): Promise<void>;
  /** Processor time that the API server has used, for measurements; its process id. */
  readonly pid: () => number;
}

/** Where the programs are, or undefined, after saying why, where they cannot be built. With CI=true that is an error. */
export function findKubePrograms(environment: NodeJS.ProcessEnv): string | undefined {
  const PATH = `${environment["PATH"] ?? ""}:/usr/local/go/bin`;
  const found = spawnSync(CLUSTER, ["programs"], { env: { ...environment, PATH }, encoding: "utf8" });
  if (found.status === 0) return found.stdout.trim();
  const message = `no Kubernetes API server: ${found.stderr.trim().split("\n").at(-1) ?? "test/cluster programs failed"}`;
  if (environment["CI"] === "true") throw new Error(message);
  console.log(`skipped: ${message}`);
  return undefined;
}

/** Starts one, with the product's custom resource definitions installed. */
export async function startKubeApi(programs: string): Promise<KubeApi> {
  const folder = await mkdtemp(join(tmpdir(), "coffer-kube-api-"));
  const [port = 0, client = 0, peer = 0] = await freePorts(3);
  const adminToken = randomBytes(16).toString("hex");
  const ca = await prepare(folder, adminToken);
  const etcd = start(folder, join(programs, "etcd"), etcdArguments(folder, client, peer));
  let server = start(folder, join(programs, "kube-apiserver"), serverArguments(folder, port, client));
  const url = `https://127.0.0.1:${port}`;
  const kube = await createKubeClient({
    source: { from: "values", server: url, token: adminToken, ca },
    fieldManager: "test",
  });
  let files = 0;
  const stop = async () => {
    kube[Symbol.dispose]();
    await Promise.all([end(server), end(etcd)]);
    await rm(folder, { recursive: true, force: true });
  };
  try {
    await untilReady(folder, server, kube);
    await installDefinitions(kube);
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    ...{ url, port, ca, adminToken, client: kube },
    pid: () => server.pid ?? 0,
    async kubeconfig({ token = adminToken, url: address = url } = {}) {
      const file = join(folder, `kubeconfig-${files++}`);
      await writeFile(file, JSON.stringify(kubeconfigOf(address, ca, token)), { mode: 0o600 });
      return file;
    },
    async restart() {
      await end(server);
      server = start(folder, join(programs, "kube-apiserver"), serverArguments(folder, port, client));
      await untilReady(folder, server, kube);
    },
    [Symbol.asyncDispose]: stop,
  };
}

async function prepare(folder: string, adminToken: string): Promise<string> {
  await mkdir(join(folder, "etcd"));
  const authority = await createTestAuthority();
  const pair = await authority.server("kube-apiserver");
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const files = {
    "tls.crt": pair.cert,
    "tls.key": pair.key,
    "sa.key": privateKey.export({ type: "sec1", format: "pem" }).toString(),
    "sa.pub": publicKey.export({ type: "spki", format: "pem" }).toString(),
    "tokens.csv": `${adminToken},admin,admin,"system:masters"\n`,
  };
  for (const [name, content] of Object.entries(files)) await writeFile(join(folder, name), content, { mode: 0o600 });
  return authority.cert;
}

function etcdArguments(folder: string, client: number, peer: number): readonly string[] {
  return [
    `--data-dir=${join(folder, "etcd")}`,
    "--unsafe-no-fsync",
    "--log-level=error",
    `--listen-client-urls=http://127.0.0.1:${client}`,
    `--advertise-client-urls=http://127.0.0.1:${client}`,
    `--listen-peer-urls=http://127.0.0.1:${peer}`,
    `--initial-advertise-peer-urls=http://127.0.0.1:${peer}`,
    `--initial-cluster=default=http://127.0.0.1:${peer}`,
  ];
}

function serverArguments(folder: string, port: number, etcd: number): readonly string[] {
  return [
    `--etcd-servers=http://127.0.0.1:${etcd}`,
    "--bind-address=127.0.0.1",
    "--advertise-address=127.0.0.1",
    "--endpoint-reconciler-type=none",
    `--secure-port=${port}`,
    "--service-cluster-ip-range=10.203.0.0/24",
    `--cert-dir=${folder}`,
    `--tls-cert-file=${join(folder, "tls.crt")}`,
    `--tls-private-key-file=${join(folder, "tls.key")}`,
    `--token-auth-file=${join(folder, "tokens.csv")}`,
    "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
    `--service-account-signing-key-file=${join(folder, "sa.key")}`,
    `--service-account-key-file=${join(folder, "sa.pub")}`,
    "--authorization-mode=RBAC",
    // Nobody makes the ServiceAccounts of namespaces here, which pods would have to have.
    "--disable-admission-plugins=ServiceAccount",
    "--profiling=false",
    "--v=0",
  ];
}

function start(folder: string, program: string, argv: readonly string[]): ChildProcess {
  const log = openSync(join(folder, "log"), "a");
  const child = spawn(program, argv, { stdio: ["ignore", log, log] });
  const kill = () => child.kill("SIGKILL");
  process.once("exit", kill);
  child.once("exit", () => process.removeListener("exit", kill));
  return child;
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, "exit");
  child.kill("SIGKILL");
  await ended;
}

async function untilReady(folder: string, server: ChildProcess, kube: KubeClient): Promise<void> {
  const deadline = systemClock.now() + START_MILLIS_MAX;
  for (;;) {
    try {
      // /readyz answers text, which is no answer to a client of JSON; the namespace comes with the last start hook.
      if ((await kube.get({ ...NAMESPACES }, { name: "default" })) !== undefined) return;
    } catch {
      // Not yet.
    }
    if (server.exitCode !== null || systemClock.now() > deadline)
      throw new Error(`the API server did not start:\n${(await readFile(join(folder, "log"), "utf8")).slice(-4000)}`);
    await systemClock.sleep(POLL_MILLIS);
  }
}

const NAMESPACES = { group: "", version: "v1", plural: "namespaces", kind: "Namespace", namespaced: false };

async function installDefinitions(kube: KubeClient): Promise<void> {
  for (const definition of definitions)
    await kube.apply(CUSTOM_RESOURCE_DEFINITION, customResourceDefinition(definition));
  const deadline = systemClock.now() + START_MILLIS_MAX;
  for (const { plural, kind } of definitions)
    for (;;) {
      try {
        await kube.list({ group: "coffer.dev", version: "v1alpha1", plural, kind, namespaced: true });
        break;
      } catch (error) {
        if (systemClock.now() > deadline) throw error;
        await systemClock.sleep(POLL_MILLIS);
      }
    }
}

function kubeconfigOf(server: string, ca: string, token: string): JsonObject {
  const name = "test";
  return {
    apiVersion: "v1",
    kind: "Config",
    "current-context": name,
    contexts: [{ name, context: { cluster: name, user: name } }],
    clusters: [{ name, cluster: { server, "certificate-authority-data": Buffer.from(ca).toString("base64") } }],
    users: [{ name, user: { token } }],
  };
}

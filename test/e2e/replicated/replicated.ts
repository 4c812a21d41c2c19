// What the steps of the test of several servers share: the cluster with the chart, a KMS and one VaultCluster of three
// servers on three etcd members, and a client that never stops.
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { JsonObject, JsonValue } from "#common/json.ts";
import { isJsonObject, parseJson } from "#common/json.ts";
import { list, number, object, string } from "#common/schema.ts";
import { OPERATOR_AUTH_MOUNT } from "#operator/cluster-names.ts";
import { adminRoleName } from "#operator/controllers/vault-cluster/bootstrap.ts";
import { progress, run, waitFor } from "../cluster-fixture.ts";
import { KMS_IMAGE } from "../story/kms.ts";
import { adapted, credentialsSecret } from "../story/manifests.ts";
import {
  at,
  condition,
  isReady,
  listAt,
  namespaceObject,
  RESTRICTED_CONTAINER,
  RESTRICTED_POD,
  textAt,
} from "../story/objects.ts";
import { ADMIN, IMAGE, RELEASE, type Story, SYSTEM } from "../story/story.ts";
import type { LoadReport } from "./load.ts";

const ETCD_IMAGE = "coffer/etcd:story";
const LOAD_IMAGE = "coffer/load:story";
const NAME = "main";
export const SERVERS = "app.kubernetes.io/component=server";
export const MEMBERS = "app.kubernetes.io/component=etcd";

const loadReport = object({
  ...{ reads: number, writes: number, failedReads: number, failedWrites: number, lost: number },
  ...{ slowestMillis: number, found: number, errors: list(string) },
});

export class Replicated {
  readonly story: Story;
  constructor(story: Story) {
    this.story = story;
  }

  async buildImages(): Promise<void> {
    const { story } = this;
    await story.build(IMAGE, "coffer.tar");
    await story.build(KMS_IMAGE, "kms.tar", "--entry", "test/kit/aws/main.ts");
    await story.build(LOAD_IMAGE, "load.tar", "--entry", "test/e2e/replicated/load.ts");
    const etcd = await this.#etcdProgram();
    const words = ["--name", ETCD_IMAGE, "--program", `${etcd}:/usr/local/bin/etcd`];
    await run("tools/image/oci-image", [...words, "-o", join(story.folder, "etcd.tar")]);
    for (const archive of ["coffer.tar", "kms.tar", "load.tar", "etcd.tar"]) await story.load(archive);
  }

  /** The one of the cluster's own control plane, which is newer than Debian's; where that cannot be reached, the machine's. */
  async #etcdProgram(): Promise<string> {
    const { machineAddress, kubectlCommand } = this.story.cluster;
    if (machineAddress === undefined) return (await run("sh", ["-c", "command -v etcd"])).trim();
    const find = 'readlink -f "/proc/$(pgrep -xo etcd)/exe"';
    return (await run(kubectlCommand[0], ["exec", "sh", "-c", find])).trim();
  }

  /** The chart, in a namespace that lets in nothing but "restricted" pods. */
  async install(): Promise<void> {
    const { story } = this;
    await story.kubectl.apply(namespaceObject(SYSTEM));
    await story.kms.create();
    const foreign = await story.definitions((release) => release !== SYSTEM);
    const [repository = "", tag = ""] = IMAGE.split(":");
    const texts = { "image.repository": repository, "image.tag": tag, "etcd.image": ETCD_IMAGE };
    const set = Object.entries(texts).flatMap(([name, value]) => ["--set-string", `${name}=${value}`]);
    const crds = ["--set", `crds.install=${foreign.length === 0}`, "--set", "injector.replicas=1"];
    const words = ["install", RELEASE, "charts/coffer", "-n", SYSTEM, ...set, ...crds, "--wait", "--timeout", "120s"];
    await story.cluster.helm(words);
  }

  /** The account and the credentials, an UnsealConfig and the VaultCluster. */
  async applyResources(): Promise<void> {
    const { story } = this;
    const account: JsonObject = {
      ...{ apiVersion: "v1", kind: "ServiceAccount" },
      metadata: { name: ADMIN.serviceAccount, namespace: SYSTEM },
    };
    await story.kubectl.apply(account, credentialsSecret(SYSTEM));
    for (const manifest of story.manifests) {
      if (manifest.kind === "SecretBinding") continue;
      const object = adapted(manifest, ADMIN);
      const spec = isJsonObject(object["spec"]) ? object["spec"] : {};
      const several = manifest.kind === "VaultCluster" ? { replicas: 3 } : {};
      await story.kubectl.apply({ ...object, spec: { ...spec, ...several } });
    }
  }

  cluster(): Promise<JsonValue> {
    return this.story.kubectl.get(`vc/${NAME}`, SYSTEM);
  }

  /** Waits for a VaultCluster of which all is well: every server, every member, nothing under way. */
  async isWhole(what: string, seconds: number, members = 3): Promise<void> {
    await waitFor(
      what,
      async () => {
        const object = await this.cluster();
        const found = ["Ready", "EtcdHealthy", "UpToDate"].map((type) => condition(object, type));
        const bad = found.filter((text) => !/^\w+=True /.test(text));
        if (bad.length > 0 || at(object, "status", "readyReplicas") !== 3) throw new Error(bad.join("; "));
        const pods = [...(await this.pods(SERVERS)), ...(await this.pods(MEMBERS))];
        return pods.length === 3 + members && pods.every(isReady);
      },
      seconds,
    );
  }

  /** Pods that are not on their way out. */
  async pods(labels: string): Promise<readonly JsonValue[]> {
    const pods = await this.story.kubectl.list("pods", "-n", SYSTEM, "-l", `coffer.dev/cluster=${NAME},${labels}`);
    return pods.filter((pod) => textAt(pod, "metadata", "deletionTimestamp") === "");
  }

  /** Changes the spec of the VaultCluster. */
  async patch(spec: JsonObject): Promise<void> {
    await this.story.kubectl.run("patch", `vc/${NAME}`, "-n", SYSTEM, "--type=merge", "-p", JSON.stringify({ spec }));
  }

  /** Changes the spec, and waits until no pod of before is left; `look` is called meanwhile. */
  async replacedBy(labels: string, spec: JsonObject, look: () => Promise<void> = async () => undefined): Promise<void> {
    const uids = async () => (await this.pods(labels)).map((pod) => textAt(pod, "metadata", "uid"));
    const old = await uids();
    await this.patch(spec);
    const isDone = async () => {
      await look();
      return (await uids()).every((uid) => !old.includes(uid));
    };
    await waitFor("no pod of before is left", isDone, 120);
    await this.isWhole("whole again", 60);
  }

  /** Ends a pod as a lost machine would. */
  async kill(pod: string): Promise<void> {
    await this.story.kubectl.run("delete", "pod", pod, "-n", SYSTEM, "--grace-period=0", "--force");
    progress(`killed ${pod}`);
  }

  /** The members as status shows them: name to number. */
  async memberIds(): Promise<ReadonlyMap<string, string>> {
    const members = listAt(await this.cluster(), "status", "etcd", "members");
    return new Map(members.map((one) => [textAt(one, "name"), textAt(one, "id")]));
  }

  async startLoad(): Promise<void> {
    await this.story.kubectl.apply(loadPod());
    await waitFor("the load runs", async () => (await this.load()).writes > 50, 60);
  }

  async stopLoad(): Promise<void> {
    await this.story.kubectl.run("delete", "pod", "load", "-n", SYSTEM, "--wait");
  }

  /** What the client has seen so far. */
  async load(): Promise<LoadReport> {
    const line = await this.story.kubectl.run("logs", "load", "-n", SYSTEM, "--tail=1");
    return loadReport.parse(parseJson(line), "report");
  }

  /** Runs something under load, and gives what it cost. */
  async under(what: string, work: () => Promise<void>): Promise<LoadReport> {
    const before = await this.load();
    await work();
    // What is under way is counted when it ends.
    await sleep(2000);
    const after = await this.load();
    const part = {
      reads: after.reads - before.reads,
      writes: after.writes - before.writes,
      failedReads: after.failedReads - before.failedReads,
      failedWrites: after.failedWrites - before.failedWrites,
      lost: after.lost,
      slowestMillis: after.slowestMillis,
      found: after.found,
      errors: after.errors.slice(
        -(after.failedReads + after.failedWrites - before.failedReads - before.failedWrites || 0),
      ),
    };
    const failures = part.failedReads + part.failedWrites;
    progress(
      `${what}: ${part.reads} reads and ${part.writes} writes, ${part.failedReads} and ${part.failedWrites} failed, ${part.lost} lost; the slowest so far ${part.slowestMillis} ms`,
    );
    const errors = failures === 0 ? [] : part.errors;
    for (const error of errors) progress(error);
    return { ...part, errors };
  }
}

function loadPod(): JsonObject {
  return {
    ...{ apiVersion: "v1", kind: "Pod", metadata: { name: "load", namespace: SYSTEM } },
    spec: {
      ...{ serviceAccountName: ADMIN.serviceAccount, restartPolicy: "Never", terminationGracePeriodSeconds: 1 },
      securityContext: RESTRICTED_POD,
      containers: [
        {
          ...{ name: "load", image: LOAD_IMAGE, imagePullPolicy: "IfNotPresent" },
          args: [
            `-address=https://${NAME}.${SYSTEM}.svc:8200`,
            ...["-ca=/trust/ca.crt", "-token=/token/token", `-mount=${OPERATOR_AUTH_MOUNT}`],
            `-role=${adminRoleName(ADMIN)}`,
          ],
          securityContext: RESTRICTED_CONTAINER,
          volumeMounts: [
            { name: "trust", mountPath: "/trust" },
            { name: "token", mountPath: "/token" },
          ],
        },
      ],
      volumes: [
        { name: "trust", configMap: { name: `coffer-ca.${SYSTEM}.${NAME}` } },
        {
          name: "token",
          projected: {
            sources: [{ serviceAccountToken: { path: "token", audience: `coffer.${SYSTEM}.${NAME}` } }],
          },
        },
      ],
    },
  };
}

// What the steps of the story share: the cluster, the names of everything, and how one logs in. Its steps are in the
// other files of this folder, one file for each part of the story; story.test.ts has their order.

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ApiClient } from "#client/api-client.ts";
import type { JsonValue } from "#common/json.ts";
import { GROUP } from "#operator/api/resource.ts";
import { OPERATOR_AUTH_MOUNT } from "#operator/cluster-names.ts";
import { adminRoleName } from "#operator/controllers/vault-cluster/bootstrap.ts";
import { type Cluster, progress, run } from "../cluster-fixture.ts";
import { login, reachServer, type ServerPlace, serviceAccountToken, withServer } from "./api-access.ts";
import { KMS_NAMESPACE, Kms } from "./kms.ts";
import { documentedManifests } from "./manifests.ts";
import { Kubectl, textAt } from "./objects.ts";

export const IMAGE = "coffer/coffer:story";
export const RELEASE = "coffer";
/** The namespaces of the README's resources, and one of somebody who wants what is not theirs. */
export const SYSTEM = "coffer-system";
export const TEAM = "team";
export const INTRUDER = "story-intruder";
export const NAMESPACES = [TEAM, INTRUDER, SYSTEM, KMS_NAMESPACE] as const;
/** Who administers: an account that spec.access.admins names. */
export const ADMIN = { namespace: SYSTEM, serviceAccount: "admin" } as const;
export const FIRST_PASSWORD = "first-Passw0rd-of-the-story";
export const SECOND_PASSWORD = "second-Passw0rd-of-the-story";

export class Story {
  readonly cluster: Cluster;
  readonly kubectl: Kubectl;
  readonly kms: Kms;
  /** Removed at the end. */
  readonly folder = mkdtempSync(join(tmpdir(), "coffer-story-"));
  readonly manifests = documentedManifests();
  readonly place: ServerPlace;
  constructor(cluster: Cluster) {
    this.cluster = cluster;
    this.kubectl = new Kubectl(cluster);
    this.kms = new Kms(cluster, this.kubectl);
    const server = this.manifests.find(({ kind }) => kind === "VaultCluster")?.object;
    this.place = { namespace: textAt(server, "metadata", "namespace"), name: textAt(server, "metadata", "name") };
  }

  /** The server's pod. */
  get serverPod(): string {
    return `${this.place.name}-0`;
  }

  /** Runs `work` with a client that has no token. */
  asNobody<T>(work: (client: ApiClient) => Promise<T>): Promise<T> {
    return withServer(this.cluster, this.kubectl, this.place, work);
  }

  /** Runs `work` as the administrator, who logs in for it and leaves no token behind. */
  asAdmin<T>(work: (client: ApiClient) => Promise<T>): Promise<T> {
    return this.asNobody(async (nobody) => {
      const admin = await login(this.kubectl, nobody, ADMIN, {
        mount: OPERATOR_AUTH_MOUNT,
        role: adminRoleName(ADMIN),
      });
      try {
        return await work(admin);
      } finally {
        await admin.write("auth/token/revoke-self");
      }
    });
  }

  /** Runs `work` with what the README exports for the command line, the administrator's token among it. */
  asShell<T>(work: (environment: Readonly<Record<string, string>>) => Promise<T>): Promise<T> {
    return reachServer(this.cluster, this.kubectl, this.place, async ({ address, serverName, ca }) => {
      const file = join(this.folder, "ca.crt");
      writeFileSync(file, ca);
      const environment = { VAULT_ADDR: address, VAULT_CACERT: file, VAULT_TLS_SERVER_NAME: serverName };
      const path = `auth/${OPERATOR_AUTH_MOUNT}/login`;
      const words = ["write", "-field=token", path, `role=${adminRoleName(ADMIN)}`, "jwt=-"];
      const input = await serviceAccountToken(this.kubectl, ADMIN);
      const token = await run("bin/coffer", words, { input, env: environment });
      return work({ ...environment, VAULT_TOKEN: token.trim() });
    });
  }

  /** Prints what kubectl shows, each line behind a bar. */
  async show(...args: readonly string[]): Promise<string> {
    const table = await this.kubectl.run(...args);
    progress(`kubectl ${args.join(" ")}`);
    for (const line of table.trimEnd().split("\n")) console.log(`           | ${line}`);
    return table;
  }

  /** What helps to understand a failure, printed; a part that cannot be had is left out. */
  async explain(): Promise<void> {
    const looks = [
      ["get", "vc,uc,sb,pods,pvc", "-A", "-o", "wide"],
      ["get", "events", "-n", SYSTEM, "--sort-by=.lastTimestamp"],
      ["get", "events", "-n", TEAM, "--sort-by=.lastTimestamp"],
      ["logs", "-n", SYSTEM, "-l", "app.kubernetes.io/component=operator", "--tail=40"],
      ["logs", "-n", SYSTEM, "-l", "app.kubernetes.io/component=injector", "--tail=20"],
      ["logs", "-n", this.place.namespace, this.serverPod, "--tail=40"],
      ["logs", "-n", KMS_NAMESPACE, "-l", "app=kms", "--tail=10"],
      ["logs", "-n", TEAM, "-l", "coffer.dev/inject=true", "-c", "coffer-agent", "--tail=20", "--prefix"],
    ];
    for (const look of looks) await this.show(...look).catch((error: unknown) => progress(String(error)));
  }

  /** Removes everything that the story makes, of this run or of one that was cut short. */
  async cleanUp(): Promise<void> {
    const { kubectl } = this;
    const ignore = () => undefined;
    // Bindings and clusters first: their finalizers are the operator's to remove.
    for (const namespace of NAMESPACES)
      await kubectl.run("delete", "sb,vc,uc", "-n", namespace, "--all", "--timeout=60s").catch(ignore);
    const ours = await this.definitions((release) => release === SYSTEM);
    await this.cluster.helm(["uninstall", RELEASE, "-n", SYSTEM, "--ignore-not-found", "--wait"]).catch(ignore);
    if (ours.length > 0) await kubectl.run("delete", "crd", ...ours, "--timeout=30s").catch(ignore);
    await kubectl.run("delete", "namespace", ...NAMESPACES, "--ignore-not-found", "--timeout=90s");
  }

  /** Names of our resource definitions that are there, by the namespace of the Helm release that they belong to. */
  async definitions(wanted: (release: string) => boolean): Promise<readonly string[]> {
    const definitions = await this.kubectl.list("crd");
    return definitions
      .filter((crd) => textAt(crd, "spec", "group") === GROUP)
      .filter((crd) => wanted(textAt(crd, "metadata", "annotations", "meta.helm.sh/release-namespace")))
      .map((crd) => textAt(crd, "metadata", "name"));
  }

  /** Objects outside of namespaces that the release or its operator made and that are still there. */
  async leftovers(): Promise<readonly string[]> {
    const kinds = "clusterroles,clusterrolebindings,mutatingwebhookconfigurations";
    const objects = await this.kubectl.list(kinds, "-l", "app.kubernetes.io/name=coffer");
    const volumes = await this.kubectl.list("pv");
    const ours = (object: JsonValue) =>
      textAt(object, "metadata", "annotations", "meta.helm.sh/release-namespace") === SYSTEM ||
      textAt(object, "metadata", "name").startsWith(`coffer.${SYSTEM}.`) ||
      NAMESPACES.some((namespace) => namespace === textAt(object, "spec", "claimRef", "namespace"));
    const left = [...objects, ...volumes].filter(ours);
    return left.map((object) => `${textAt(object, "kind")} ${textAt(object, "metadata", "name")}`);
  }

  async end(): Promise<void> {
    await this.cleanUp();
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** The repository's own image build, for one program. */
  async build(name: string, archive: string, ...options: readonly string[]): Promise<string> {
    const path = join(this.folder, archive);
    const printed = await run("tools/image/build-image", ["--name", name, ...options, "-o", path]);
    progress(`built ${printed.trim()}`);
    return printed.trim();
  }

  /** Puts what was built on the node. */
  load(archive: string): Promise<void> {
    return this.cluster.loadImage(join(this.folder, archive));
  }
}

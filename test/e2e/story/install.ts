// Steps 1 to 3: the image, helm install, three short resources, and a server that comes up by itself and leaves nothing
// behind that opens it.
import { expect } from "vitest";
import { progress, waitFor } from "../cluster-fixture.ts";
import { KMS_CREDENTIALS, KMS_IMAGE } from "./kms.ts";
import { leaksInCluster, secretsOf } from "./leaks.ts";
import { adapted, credentialsSecret, LINES_MAX } from "./manifests.ts";
import { condition, conditions, isReady, listAt, namespaceObject, textAt } from "./objects.ts";
import { ADMIN, IMAGE, INTRUDER, RELEASE, type Story, SYSTEM, TEAM } from "./story.ts";

export async function buildImages(story: Story): Promise<void> {
  const first = await story.build(IMAGE, "coffer.tar");
  const second = await story.build(IMAGE, "again.tar");
  expect(second, "the same sources give the same digest").toBe(first);
  await story.load("coffer.tar");
  await story.build(KMS_IMAGE, "kms.tar", "--entry", "test/kit/aws/main.ts");
  await story.load("kms.tar");
}

/** CRDs, operator and injector, in a namespace that lets in nothing but "restricted" pods. */
export async function install(story: Story): Promise<void> {
  const { kubectl, cluster } = story;
  await kubectl.apply(...[SYSTEM, TEAM, INTRUDER].map(namespaceObject));
  const [repository = "", tag = ""] = IMAGE.split(":");
  // Definitions that were in the cluster before stay, and are somebody else's.
  const foreign = await story.definitions((release) => release !== SYSTEM);
  const values = { "image.repository": repository, "image.tag": tag, "injector.fileKeyRef": "true" };
  const set = [
    ...Object.entries(values).flatMap(([name, value]) => ["--set-string", `${name}=${value}`]),
    ...["--set", `crds.install=${foreign.length === 0}`],
  ];
  await cluster.helm(["install", RELEASE, "charts/coffer", "-n", SYSTEM, ...set, "--wait", "--timeout", "120s"]);
  progress("helm install: done");
  const pods = await kubectl.list("pods", "-n", SYSTEM);
  expect(pods.map(isReady)).toEqual([true, true, true]);
  for (const plural of ["vaultclusters", "unsealconfigs", "secretbindings"]) {
    const crd = await kubectl.get(`crd/${plural}.coffer.dev`, SYSTEM);
    expect(condition(crd, "Established")).toContain("Established=True");
  }
  await story.show("get", "pods", "-n", SYSTEM);
}

/** The three resources, as short as the documents have them. */
export async function applyResources(story: Story): Promise<void> {
  const { kubectl } = story;
  const account = {
    apiVersion: "v1",
    kind: "ServiceAccount",
    metadata: { name: ADMIN.serviceAccount, namespace: SYSTEM },
  };
  await kubectl.apply(account, credentialsSecret(SYSTEM));
  for (const manifest of story.manifests) {
    expect(manifest.text.split("\n").length, `lines of the ${manifest.kind}`).toBeLessThanOrEqual(LINES_MAX);
    progress(await kubectl.apply(adapted(manifest, ADMIN)));
  }
}

export async function serverComesUp(story: Story): Promise<void> {
  const { kubectl, place } = story;
  const cluster = await waitFor(
    "the VaultCluster is ready",
    async () => {
      const object = await kubectl.get(`vc/${place.name}`, place.namespace);
      if (condition(object, "Ready").startsWith("Ready=True")) return object;
      throw new Error(conditions(object).join("; "));
    },
    120,
  );
  for (const type of ["Initialized", "Unsealed", "TLSReady", "ConfigSynced"]) {
    expect(condition(cluster, type)).toContain(`${type}=True`);
  }
  await waitFor(
    "the UnsealConfig says that its key works",
    async () => {
      return condition(await kubectl.get("uc/kms", place.namespace), "Ready").includes("=True KeyAccessible");
    },
    45,
  );
}

/** What kubectl shows of the three kinds, and the events that told of it. */
export async function columnsAndEvents(story: Story): Promise<void> {
  const { place, kubectl } = story;
  const servers = rows(await story.show("get", "vc", "-n", place.namespace));
  expect(servers[0]).toEqual(["NAME", "STORAGE", "REPLICAS", "SERVING", "SEALED", "READY", "REASON", "AGE"]);
  expect(servers[1]?.slice(0, 7)).toEqual([place.name, "embedded", "1", "1", "false", "True", "Running"]);
  const seals = rows(await story.show("get", "uc", "-n", place.namespace));
  expect(seals[0]).toEqual(["NAME", "PROVIDER", "KEY", "READY", "REASON", "AGE"]);
  expect(seals[1]?.slice(1, 5)).toEqual(["awsKms", "alias/coffer", "True", "KeyAccessible"]);
  const bindings = rows(await story.show("get", "sb", "-n", TEAM));
  expect(bindings[0]?.join(" ")).toBe("NAME VAULT SECRET READY REASON LAST SYNC AGE");
  expect(bindings[1]?.slice(0, 2)).toEqual(["db", `${place.namespace}/${place.name}`]);
  const events = await kubectl.list(
    "events",
    "-n",
    place.namespace,
    "--field-selector",
    "involvedObject.kind=VaultCluster",
  );
  const told = [...new Set(events.map((event) => textAt(event, "reason")))];
  progress(`events of the VaultCluster: ${told.join(", ")}`);
  expect(told).toEqual(expect.arrayContaining(["Initialized", "Unsealed", "Running"]));
}

function rows(table: string): readonly (readonly string[])[] {
  return table
    .trimEnd()
    .split("\n")
    .map((line) => line.trim().split(/\s+/));
}

/** P5: no root token, no unseal key, no recovery key in any Secret or ConfigMap. */
export async function nothingAtRest(story: Story): Promise<void> {
  const { kubectl, place } = story;
  expect(await leaksInCluster(kubectl, [])).toEqual([]);
  const known = await leaksInCluster(kubectl, [KMS_CREDENTIALS.secretAccessKey]);
  expect(known, "the search finds what is there").toEqual([
    `secrets ${SYSTEM}/kms-credentials key AWS_SECRET_ACCESS_KEY`,
  ]);
  const secrets = await secretsOf(kubectl, SYSTEM);
  for (const line of secrets) progress(`Secret ${line}`);
  expect(secrets).toEqual([
    "coffer-injector-ca: ca.crt, ca.key",
    "kms-credentials: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY",
    `${place.name}-ca: ca.crt, ca.key`,
    `${place.name}-tls: ca.crt, tls.crt, tls.key`,
  ]);
  expect(await secretsOf(kubectl, TEAM)).toEqual([]);
  const server = await kubectl.get(`pod/${story.serverPod}`, place.namespace);
  expect(listAt(server, "spec", "containers").map((one) => textAt(one, "image"))).toEqual([IMAGE]);
}

// Step 6: bad input. Each mistake is said in a sentence, where the one who made it looks, and nothing else is disturbed.
import { expect } from "vitest";
import { hasStatus } from "#client/api-error.ts";
import { createKv } from "#client/kv.ts";
import { AUTH_MOUNT } from "#common/binding-names.ts";
import type { JsonObject, JsonValue } from "#common/json.ts";
import { progress, waitFor } from "../cluster-fixture.ts";
import { type CrdCase, crdCases } from "../crd-cases.ts";
import { login } from "./api-access.ts";
import { readyPod } from "./deliver.ts";
import { atResponder } from "./manifests.ts";
import { condition, conditions, isReady, textAt } from "./objects.ts";
import { IMAGE, INTRUDER, type Story, SYSTEM, TEAM } from "./story.ts";
import { podOf } from "./workloads.ts";

/** kubectl is a process for each case; more at once only wait for each other. */
const CASES_AT_ONCE = 4;

function resource(kind: string, namespace: string, name: string, spec: JsonObject): JsonObject {
  return { apiVersion: "coffer.dev/v1alpha1", kind, metadata: { name, namespace }, spec };
}

/** What an API server accepts and refuses, case by case. Runs where no operator looks. */
export async function malformedResources(story: Story): Promise<void> {
  const wrong: string[] = [];
  const queue = crdCases.map((one, at) => ({ ...one, objectName: one.objectName ?? `case-${at}` }));
  const cases = queue.length;
  const worker = async (): Promise<void> => {
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
      const refusal = await tryCase(story, next, next.objectName);
      const isRight = next.refusal === undefined ? refusal === undefined : refusal?.includes(next.refusal) === true;
      if (!isRight) wrong.push(`${next.name}: ${refusal ?? "accepted"}`);
    }
  };
  await Promise.all(Array.from({ length: CASES_AT_ONCE }, worker));
  expect(wrong).toEqual([]);
  const refused = crdCases.filter(({ refusal }) => refusal !== undefined).length;
  progress(`${cases} resources: ${refused} refused with their sentences, ${cases - refused} accepted`);
}

/** Nothing is stored, except what a case changes. */
async function tryCase({ kubectl }: Story, one: CrdCase, name: string): Promise<string | undefined> {
  const object = resource(one.kind, INTRUDER, name, one.spec);
  if (one.before === undefined) return kubectl.refusal(["create", "--dry-run=server"], object);
  await kubectl.apply(resource(one.kind, INTRUDER, name, one.before));
  try {
    return await kubectl.refusal(["replace", "--dry-run=server"], object);
  } finally {
    await kubectl.run("delete", one.kind, name, "-n", INTRUDER, "--wait=false");
  }
}

function binding(namespace: string, name: string, path: string, more: JsonObject = {}): JsonObject {
  const spec = { selector: { matchLabels: { app: name } }, path, files: [{ path: "db.json" }], ...more };
  return resource("SecretBinding", namespace, name, spec);
}

/** The condition of a binding once it says what is expected. */
function waitForBinding(story: Story, namespace: string, name: string, type: string, start: string): Promise<string> {
  return waitFor(
    `SecretBinding ${name}: ${start}`,
    async () => {
      const object = await story.kubectl.get(`sb/${name}`, namespace);
      const found = condition(object, type);
      if (found.startsWith(`${type}=${start}`)) return found;
      throw new Error(conditions(object).join("; "));
    },
    60,
  );
}

/** A path with nothing at it: the binding says so, the pod waits and says what for, and starts once it is written. */
export async function missingPath(story: Story): Promise<void> {
  const { kubectl } = story;
  await kubectl.apply(binding(TEAM, "late", "secret/team/late"));
  progress(await waitForBinding(story, TEAM, "late", "Ready", "False SecretMissing"));
  const told = await kubectl.list("events", "-n", TEAM, "--field-selector", "involvedObject.name=late");
  expect(told.map((event) => textAt(event, "reason"))).toContain("SecretMissing");
  await kubectl.apply(podOf({ namespace: TEAM, name: "late", image: IMAGE, labels: { app: "late" } }));
  const line = await waitFor(
    "the pod's agent says what it waits for",
    async () => {
      const lines = (await kubectl.run("logs", "-n", TEAM, "late", "-c", "coffer-agent")).split("\n");
      return lines.find((each) => each.includes("cannot deliver"));
    },
    60,
  );
  progress(`coffer-agent: ${line}`);
  expect(line).toContain("secret/team/late");
  expect(textAt(await kubectl.get("pod/late", TEAM), "status", "phase")).toBe("Pending");
  await story.asAdmin((admin) => createKv(admin).write("secret/team/late", { password: "late" }));
  await waitFor(
    "the pod starts once the secret is written",
    async () => isReady(await kubectl.get("pod/late", TEAM)),
    60,
  );
  await kubectl.run("delete", "pod/late", "sb/late", "-n", TEAM);
}

/** Another namespace's path: refused by the operator, and by the server whatever its policies say. */
export async function othersPath(story: Story): Promise<void> {
  const { kubectl } = story;
  await kubectl.apply(binding(INTRUDER, "thief", "secret/team/db"));
  progress(await waitForBinding(story, INTRUDER, "thief", "Synced", "False PathNotAllowed"));
  const thief = podOf({ namespace: INTRUDER, name: "thief", image: IMAGE, labels: { app: "thief" } });
  const refusal = await kubectl.refusal(["create"], thief);
  progress(`the pod: ${refusal}`);
  expect(refusal).toContain("SecretBinding story-intruder/thief is refused (PathNotAllowed)");
  await story.asAdmin(async (admin) => {
    await createKv(admin).write(`secret/${INTRUDER}/own`, { own: "yes" });
    const policy = ["team", INTRUDER]
      .map((name) => `path "secret/data/${name}/*" { capabilities = ["read"] }`)
      .join("\n");
    await admin.write("sys/policies/acl/wish", { policy });
    await admin.write(`auth/${AUTH_MOUNT}/role/wish`, {
      bound_service_account_names: ["default"],
      bound_service_account_namespaces: [INTRUDER],
      audience: "coffer.coffer-system.main",
      token_policies: ["wish"],
    });
    const account = { namespace: INTRUDER, serviceAccount: "default" };
    const intruder = await login(kubectl, admin, account, { mount: AUTH_MOUNT, role: "wish" });
    expect((await intruder.read(`secret/data/${INTRUDER}/own`)).data).toMatchObject({ data: { own: "yes" } });
    const stolen = await intruder.read("secret/data/team/db").catch((error: unknown) => error);
    expect(hasStatus(stolen, 403), "the boundary holds against a policy that allows it").toBe(true);
    progress(`the server: ${stolen instanceof Error ? stolen.message : String(stolen)}`);
    await admin.delete(`auth/${AUTH_MOUNT}/role/wish`);
    await admin.delete("sys/policies/acl/wish");
    await admin.delete(`secret/metadata/${INTRUDER}/own`);
  });
  await kubectl.run("delete", "sb/thief", "-n", INTRUDER);
}

/** A pod that asks for secrets and has no binding, or one for other ServiceAccounts. */
export async function podWithoutBinding(story: Story): Promise<void> {
  const { kubectl } = story;
  await kubectl.apply(binding(TEAM, "picky", "secret/team/db", { serviceAccounts: ["billing"] }));
  await waitForBinding(story, TEAM, "picky", "Synced", "True");
  const refused = async (label: string) => {
    const pod = podOf({ namespace: TEAM, name: label, image: IMAGE, labels: { app: label } });
    return waitFor(`the pod ${label} is refused`, () => kubectl.refusal(["create", "--dry-run=server"], pod), 15);
  };
  const picky = await refused("picky");
  const alone = await refused("alone");
  for (const sentence of [picky, alone]) progress(sentence.split("\n").at(-1) ?? "");
  expect(picky).toContain('SecretBinding team/picky selects the pod but not its ServiceAccount "default"');
  expect(alone).toContain("no SecretBinding in namespace team selects it: create one");
  await kubectl.run("delete", "sb/picky", "-n", TEAM);
}

/** A key that the KMS does not know: said on both resources; the other cluster goes on. */
export async function wrongKey(story: Story): Promise<void> {
  const { kubectl, place } = story;
  // With two clusters bindings without vaultRef mean the default one.
  await kubectl.run("patch", "vc", place.name, "-n", SYSTEM, "--type=merge", "-p", '{"spec":{"default":true}}');
  await kubectl.apply(
    resource("UnsealConfig", SYSTEM, "wrong", { awsKms: atResponder({ keyId: "alias/nobody" }) }),
    resource("VaultCluster", SYSTEM, "broken", { unsealConfigRef: { name: "wrong" }, deletionPolicy: "Delete" }),
  );
  const seal = await waitFor(
    "the UnsealConfig says that there is no such key",
    async () => readyOnce(await kubectl.get("uc/wrong", SYSTEM), "False KeyNotFound"),
    90,
  );
  progress(seal);
  expect(seal).toContain("alias/nobody");
  const cluster = await waitFor(
    "the VaultCluster says why it is not ready",
    async () => readyOnce(await kubectl.get("vc/broken", SYSTEM), "False"),
    60,
  );
  progress(cluster);
  expect(cluster).toContain("alias/nobody");
  await story.show("get", "vc,uc", "-n", SYSTEM);
  expect(condition(await kubectl.get(`vc/${place.name}`, SYSTEM), "Ready")).toContain("Ready=True");
  await kubectl.run("delete", "vc/broken", "uc/wrong", "-n", SYSTEM, "--timeout=60s");
}

function readyOnce(object: JsonValue, start: string): string {
  const found = condition(object, "Ready");
  if (found.startsWith(`Ready=${start}`) && found.includes("alias/nobody")) return found;
  throw new Error(conditions(object).join("; "));
}

/** What the story made is removed, by the ways that a user has, and nothing is left outside of namespaces. */
export async function uninstall(story: Story): Promise<void> {
  await story.cleanUp();
  const left = await waitFor(
    "nothing is left in the cluster",
    async () => {
      const objects = await story.leftovers();
      if (objects.length > 0) throw new Error(objects.join(", "));
      return "nothing";
    },
    30,
  );
  expect(left).toBe("nothing");
}

/** After all of that: everything that was right still is. */
export async function nothingIsLost(story: Story): Promise<void> {
  const { kubectl, place } = story;
  expect(condition(await kubectl.get(`vc/${place.name}`, SYSTEM), "Ready")).toContain("Ready=True");
  expect(condition(await kubectl.get("sb/db", TEAM), "Ready")).toContain("Ready=True");
  expect(isReady(await readyPod(story))).toBe(true);
}

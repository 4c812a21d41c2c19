// Step 5: the server's pod is lost and comes back by itself; without the KMS it stays sealed, says why, and opens when
// the KMS is back. Meanwhile its volume is read raw.
import { join } from "node:path";
import { expect } from "vitest";
import { createKv } from "#client/kv.ts";
import { progress, waitFor } from "../cluster-fixture.ts";
import { fileIn, readyPod, SECRET_PATH } from "./deliver.ts";
import { leaksInCluster, leaksInLogs, RawData } from "./leaks.ts";
import { at, condition, conditions, isReady, listAt, restarts, textAt } from "./objects.ts";
import { FIRST_PASSWORD, SECOND_PASSWORD, type Story, SYSTEM, TEAM } from "./story.ts";

/** Deletes the pod at once, as a lost machine would, and waits for its successor to exist. */
async function killServer(story: Story): Promise<void> {
  const { kubectl, place, serverPod } = story;
  const uid = textAt(await kubectl.get(`pod/${serverPod}`, place.namespace), "metadata", "uid");
  await kubectl.run("delete", "pod", serverPod, "-n", place.namespace, "--grace-period=0", "--force");
  await waitFor(
    "a new server pod runs",
    async () => {
      const pod = await kubectl.get(`pod/${serverPod}`, place.namespace);
      return textAt(pod, "metadata", "uid") !== uid && textAt(pod, "status", "phase") === "Running";
    },
    60,
  );
}

export async function comesBack(story: Story): Promise<void> {
  const { kubectl, place, serverPod } = story;
  await killServer(story);
  await waitFor("it serves", async () => isReady(await kubectl.get(`pod/${serverPod}`, place.namespace)), 60);
  await secretIsThere(story);
}

async function secretIsThere(story: Story): Promise<void> {
  const secret = await story.asAdmin((admin) => createKv(admin).read(SECRET_PATH));
  expect(secret.data).toEqual({ username: "app", password: SECOND_PASSWORD });
  progress("the secret is what it was");
}

/** Without the KMS: sealed, alive, and every place says why. */
export async function staysSealed(story: Story): Promise<void> {
  const { kubectl, place, serverPod } = story;
  await story.kms.stop();
  await killServer(story);
  const status = await waitFor(
    "sys/seal-status says why",
    () =>
      story.asNobody(async (client) => {
        const { data } = await client.read("sys/seal-status", { retries: 0 });
        return data !== undefined && listAt(data, "seal_troubles").length > 0 && data;
      }),
    60,
  );
  progress(`sys/seal-status: ${JSON.stringify(at(status, "seal_troubles"))}`);
  expect(status).toMatchObject({ initialized: true, sealed: true, seal_troubles: [{ reason: "Unreachable" }] });
  const cluster = await waitFor(
    "the VaultCluster says why",
    async () => {
      const object = await kubectl.get(`vc/${place.name}`, place.namespace);
      // While the seal has been asked and has not answered yet, there is nothing but "sealed" to say.
      if (/^Unsealed=False Sealed: .*cannot be reached/.test(condition(object, "Unsealed"))) return object;
      throw new Error(conditions(object).join("; "));
    },
    60,
  );
  for (const line of conditions(cluster)) progress(line);
  expect(condition(cluster, "Ready")).toContain("Ready=False");
  await waitFor(
    "the UnsealConfig says why",
    async () =>
      condition(await kubectl.get("uc/kms", place.namespace), "Ready").startsWith("Ready=False EndpointUnreachable"),
    60,
  );
  await story.show("get", "vc,uc", "-n", place.namespace);
  const pod = await kubectl.get(`pod/${serverPod}`, place.namespace);
  expect(isReady(pod)).toBe(false);
  expect(restarts(pod), "a sealed server is not killed").toBe(0);
}

/** The data directory, copied while nothing writes to it. */
export async function copyData(story: Story): Promise<RawData> {
  const data = await RawData.copy(story.kubectl, story.place.namespace, story.serverPod, join(story.folder, "data"));
  progress(`the volume holds ${data.paths.join(", ")}: ${data.bytes.length} bytes`);
  return data;
}

export async function opensByItself(story: Story): Promise<void> {
  const { kubectl, place, serverPod } = story;
  await story.kms.start();
  await waitFor(
    "it unseals by itself",
    async () => isReady(await kubectl.get(`pod/${serverPod}`, place.namespace)),
    60,
  );
  await waitFor(
    "the VaultCluster is ready again",
    async () => condition(await kubectl.get(`vc/${place.name}`, place.namespace), "Ready").startsWith("Ready=True"),
    60,
  );
  await secretIsThere(story);
  const web = await readyPod(story);
  expect(await fileIn(story, textAt(web, "metadata", "name")), "the pod kept its file").toContain(SECOND_PASSWORD);
}

/** With the KMS back the test can tell what the keys are, and that they are not in the clear anywhere. */
export async function nothingInTheClear(story: Story, data: RawData): Promise<void> {
  const { kubectl, place } = story;
  for (const value of [FIRST_PASSWORD, SECOND_PASSWORD]) expect(data.holds(Buffer.from(value))).toBe(false);
  expect(data.holds(Buffer.from("core/keyring")), "the search finds what is there").toBe(true);
  const keys = await story.kms.reach((endpoint) => data.keys(endpoint, `${place.namespace}/${place.name}`));
  for (const { name, bytes } of keys) {
    expect(data.holds(bytes), name).toBe(false);
    progress(`${name}: not in the volume, not in a Secret or ConfigMap`);
  }
  const forms = keys.flatMap(({ bytes }) => [
    bytes.toString("latin1"),
    bytes.toString("base64"),
    bytes.toString("hex"),
  ]);
  const values = [FIRST_PASSWORD, SECOND_PASSWORD, ...forms];
  expect(await leaksInCluster(kubectl, values)).toEqual([]);
  const logs = await leaksInLogs(kubectl, [SYSTEM, TEAM], values);
  progress(`${logs.read} characters of logs: no token, no secret, no key`);
  expect(logs.leaks).toEqual([]);
}

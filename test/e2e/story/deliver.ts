// Step 4: a secret is written through the API, pods start with it in a file and in their environment, and when it
// changes the file of a running pod follows.
import { expect } from "vitest";
import { createKv } from "#client/kv.ts";
import { type JsonValue, parseJson } from "#common/json.ts";
import { progress, run, waitFor } from "../cluster-fixture.ts";
import { condition, isReady, listAt, restarts, textAt } from "./objects.ts";
import { FIRST_PASSWORD, IMAGE, SECOND_PASSWORD, type Story, TEAM } from "./story.ts";
import { deploymentOf, jobOf, SECRET_FILE } from "./workloads.ts";

export const SECRET_PATH = "secret/team/db";
/** spec.refreshInterval is 10 s, give or take the agent's jitter; the rest is the way from the test to the pod. */
const REFRESH_SECONDS_MAX = 15;
const WEB = { namespace: TEAM, name: "web", image: IMAGE, labels: { app: "web" } };
const MIGRATE = { ...WEB, name: "migrate" };

/** By the commands of the README, as a person who may ask for tokens of an administrator's ServiceAccount. */
export async function writeByCommand(story: Story): Promise<void> {
  await story.asShell(async (env) => {
    const words = ["kv", "put", SECRET_PATH, "username=app", `password=${FIRST_PASSWORD}`];
    console.log((await run("bin/coffer", words, { env })).trimEnd());
    await run("bin/coffer", ["token", "revoke", "-self"], { env });
  });
}

async function writeSecret(story: Story, password: string): Promise<void> {
  await story.asAdmin(async (admin) => {
    await createKv(admin).write(SECRET_PATH, { username: "app", password });
  });
  progress(`written: ${SECRET_PATH}`);
}

/** The token that did the bootstrap is gone: of the tokens that there are, none has the policy root. */
export async function noRootToken(story: Story): Promise<void> {
  await story.asAdmin(async (admin) => {
    const accessors = await admin.list("auth/token/accessors");
    const policies = await Promise.all(
      accessors.map(async (accessor) => {
        const { data } = await admin.write("auth/token/lookup-accessor", { accessor });
        return listAt(data, "policies").map(String);
      }),
    );
    progress(`tokens on the server: ${policies.map((each) => each.join("+")).join(", ")}`);
    expect(policies.flat()).toContain("coffer-admin");
    expect(policies.flat()).not.toContain("root");
  });
}

export async function bindingIsReady(story: Story): Promise<void> {
  await waitFor(
    "the SecretBinding is ready",
    async () => {
      const binding = await story.kubectl.get("sb/db", TEAM);
      const ready = condition(binding, "Ready");
      if (ready.startsWith("Ready=True")) return true;
      throw new Error(ready);
    },
    60,
  );
  await story.show("get", "sb", "-n", TEAM);
}

/** The pod of the Deployment, and what it found when it started. */
export async function deploymentStarts(story: Story): Promise<void> {
  const { kubectl } = story;
  await kubectl.apply(deploymentOf(WEB));
  const pod = await waitFor("the Deployment's pod runs", () => readyPod(story), 60);
  const found = await startReport(story, textAt(pod, "metadata", "name"));
  expect(found).toEqual({ file: { username: "app", password: FIRST_PASSWORD }, variable: FIRST_PASSWORD });
}

export async function jobEnds(story: Story): Promise<void> {
  const { kubectl } = story;
  await kubectl.apply(jobOf(MIGRATE));
  await waitFor(
    "the Job completes",
    async () => condition(await kubectl.get("job/migrate", TEAM), "Complete").startsWith("Complete=True"),
    60,
  );
  const pod = await kubectl.pod(TEAM, "job-name=migrate");
  const found = await startReport(story, textAt(pod, "metadata", "name"));
  expect(found).toEqual({ file: { username: "app", password: FIRST_PASSWORD }, variable: FIRST_PASSWORD });
}

export async function fileFollows(story: Story): Promise<void> {
  const before = await readyPod(story);
  const name = textAt(before, "metadata", "name");
  const restartsBefore = restarts(before);
  await writeSecret(story, SECOND_PASSWORD);
  await waitFor(
    "the file in the running pod has the new value",
    async () => (await fileIn(story, name)).includes(SECOND_PASSWORD),
    REFRESH_SECONDS_MAX,
  );
  const after = await readyPod(story);
  expect(textAt(after, "metadata", "uid")).toBe(textAt(before, "metadata", "uid"));
  expect(restarts(after)).toBe(restartsBefore);
}

/** The Deployment's pod when it is ready. */
export async function readyPod(story: Story): Promise<JsonValue | undefined> {
  const pods = await story.kubectl.list("pods", "-n", TEAM, "-l", "app=web,coffer.dev/inject=true");
  return pods.find((pod) => isReady(pod) && textAt(pod, "metadata", "name").startsWith("web-"));
}

/** The file as the container sees it now. */
export function fileIn(story: Story, pod: string): Promise<string> {
  const program = `process.stdout.write(require("node:fs").readFileSync("${SECRET_FILE}", "utf8"))`;
  return story.kubectl.node(TEAM, pod, "app", program);
}

async function startReport(story: Story, pod: string): Promise<JsonValue> {
  const [line = ""] = (await story.kubectl.run("logs", "-n", TEAM, pod, "-c", "app")).split("\n");
  return parseJson(line);
}

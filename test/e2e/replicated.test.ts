// Three servers on three etcd members that the operator runs, on a real Kubernetes cluster: every pod is killed in turn,
// a member's disk is destroyed, and the servers are updated, all while a client reads and writes without a pause. No read
// may fail (after the client's own two retries), no write but those that were under way, and nothing acknowledged is lost.
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { progress, startCluster, waitFor } from "./cluster-fixture.ts";
import type { LoadReport } from "./replicated/load.ts";
import { MEMBERS, Replicated, SERVERS } from "./replicated/replicated.ts";
import { textAt } from "./story/objects.ts";
import { Story, SYSTEM } from "./story/story.ts";

const cluster = await startCluster();
/** Writers of the load: as many writes can be under way when something dies. */
const UNDER_WAY = 4;

/** `deaths`: how often something died abruptly. */
function expectServed(report: LoadReport, deaths: number): void {
  expect(report.reads).toBeGreaterThan(50);
  expect(report.writes).toBeGreaterThan(10);
  expect(report.failedReads, report.errors.join("\n")).toBe(0);
  expect(report.failedWrites, report.errors.join("\n")).toBeLessThanOrEqual(UNDER_WAY * deaths);
  expect(report.lost, "acknowledged writes that were gone").toBe(0);
}

describe.skipIf(cluster === undefined)("several servers on etcd", { timeout: 240_000 }, () => {
  let story: Story;
  let it3: Replicated;
  let failed: string | undefined;

  beforeAll(async () => {
    if (cluster === undefined) throw new Error("there is no cluster");
    story = new Story(cluster);
    it3 = new Replicated(story);
    await story.cleanUp();
  });
  afterAll(() => story.end());
  beforeEach(({ task }) => {
    expect(failed, "the step before it failed").toBeUndefined();
    progress(`== ${task.name}`);
  });
  afterEach(async ({ task }) => {
    if (task.result?.state !== "fail" || failed !== undefined) return;
    failed = task.name;
    await story.explain();
    for (const labels of [MEMBERS, SERVERS])
      await story.show("logs", "-n", SYSTEM, "-l", labels, "--tail=15", "--prefix").catch(() => undefined);
  });

  it("come up by the chart, from one number", async () => {
    await it3.buildImages();
    await it3.install();
    await it3.applyResources();
    await it3.isWhole("three servers and three members", 120);
    await story.show("get", "vc,pods,pvc,pdb", "-n", SYSTEM);
    expect([...(await it3.memberIds()).keys()]).toEqual(["main-etcd-0", "main-etcd-1", "main-etcd-2"]);
    await it3.startLoad();
  });

  it("each server is killed in turn, and nobody notices", async () => {
    const names = (await it3.pods(SERVERS)).map((pod) => textAt(pod, "metadata", "name"));
    const report = await it3.under("three servers killed", async () => {
      for (const name of names) {
        await it3.kill(name);
        await it3.isWhole("whole again", 60);
      }
    });
    expectServed(report, 3);
  });

  it("each etcd member is killed in turn, and nobody notices", async () => {
    const report = await it3.under("three members killed", async () => {
      for (const ordinal of [0, 1, 2]) {
        await it3.kill(`main-etcd-${ordinal}`);
        await it3.isWhole("whole again", 60);
      }
    });
    expectServed(report, 3);
  });

  it("a member's disk is destroyed, and the member is replaced", async () => {
    const before = await it3.memberIds();
    const report = await it3.under("a disk destroyed", async () => {
      await story.kubectl.run("delete", "pvc", "data-main-etcd-1", "-n", SYSTEM, "--wait=false");
      await it3.kill("main-etcd-1");
      await waitFor(
        "another member in its place",
        async () => {
          const id = (await it3.memberIds()).get("main-etcd-1") ?? "";
          return id !== "" && id !== before.get("main-etcd-1");
        },
        90,
      );
      await it3.isWhole("whole again", 90);
    });
    expectServed(report, 1);
    const after = await it3.memberIds();
    expect([after.get("main-etcd-0"), after.get("main-etcd-2")]).toEqual([
      before.get("main-etcd-0"),
      before.get("main-etcd-2"),
    ]);
  });

  it("servers are updated one after another, and there are never fewer", async () => {
    let least = Number.POSITIVE_INFINITY;
    const report = await it3.under("servers updated", async () => {
      const watch = async () => {
        const status = Object(Object(await story.kubectl.get("deployment/main", SYSTEM))["status"]);
        least = Math.min(least, Number(status["availableReplicas"] ?? 0));
      };
      await it3.replacedBy(SERVERS, { podTemplate: { annotations: { "example.com/round": "2" } } }, watch);
    });
    // Nothing died: whatever ended was told to, and had time.
    expectServed(report, 0);
    expect(least, "available servers at the worst moment").toBe(3);
  });

  it("etcd members are updated one after another", async () => {
    const spec = { storage: { etcd: { resources: { requests: { cpu: "51m" } } } } };
    const report = await it3.under("members updated", () => it3.replacedBy(MEMBERS, spec));
    // A member that stops does not confirm what others have not told it yet.
    expectServed(report, 3);
  });

  it("etcd members are added and taken away one at a time", async () => {
    const report = await it3.under("five members, then three", async () => {
      for (const members of [5, 3]) {
        await it3.patch({ storage: { etcd: { members } } });
        await waitFor(
          `${members} members`,
          async () => {
            const pods = await it3.pods(MEMBERS);
            return pods.length === members && (await it3.memberIds()).size === members;
          },
          90,
        );
        await it3.isWhole("whole again", 60, members);
      }
    });
    expectServed(report, 2);
    const claims = await story.kubectl.list("pvc", "-n", SYSTEM, "-l", "coffer.dev/cluster=main");
    expect(claims.map((claim) => textAt(claim, "metadata", "name")).toSorted()).toEqual(
      [0, 1, 2].map((ordinal) => `data-main-etcd-${ordinal}`),
    );
  });

  it("what is deleted and made anew takes up its volumes", async () => {
    await it3.stopLoad();
    await story.kubectl.run("delete", "vc/main", "-n", SYSTEM, "--timeout=60s");
    await waitFor(
      "no pod is left",
      async () => (await story.kubectl.list("pods", "-n", SYSTEM, "-l", "coffer.dev/cluster=main")).length === 0,
      60,
    );
    await it3.applyResources();
    await it3.isWhole("whole again", 90);
    await it3.startLoad();
    expect((await it3.load()).found, "the secret of before").toBeGreaterThan(0);
  });
});

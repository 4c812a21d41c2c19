// Coffer end to end on a real Kubernetes cluster: from the image to a secret in a pod, through a lost server and a KMS
// that is away, to what is refused. One story in order; a step begins where the one before it ended, so the first that
// fails ends it. What the steps do is in story/; each prints what happens, with the seconds since the start.
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { progress, startCluster } from "./cluster-fixture.ts";
import * as deliver from "./story/deliver.ts";
import * as install from "./story/install.ts";
import type { RawData } from "./story/leaks.ts";
import * as refuse from "./story/refuse.ts";
import * as restart from "./story/restart.ts";
import { Story } from "./story/story.ts";

const cluster = await startCluster();

describe.skipIf(cluster === undefined)("a pod receives a secret", { timeout: 240_000 }, () => {
  let story: Story;
  let data: RawData;
  let failed: string | undefined;

  beforeAll(async () => {
    if (cluster === undefined) throw new Error("there is no cluster");
    story = new Story(cluster);
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
  });

  it("1. the image is built, the same twice, and loaded", () => install.buildImages(story));
  it("1. a KMS runs in the cluster", () => story.kms.create());
  it("1. helm installs the resource definitions, the operator and the injector", () => install.install(story));
  it("6. malformed resources are refused with a sentence", () => refuse.malformedResources(story));
  it("2. three short resources are applied", () => install.applyResources(story));
  it("3. the server initialises and unseals itself", () => install.serverComesUp(story));
  it("3. kubectl shows what there is and what happened", () => install.columnsAndEvents(story));
  it("3. no Secret and no ConfigMap holds a key or a token", () => install.nothingAtRest(story));
  it("4. a secret is written through the API", () => deliver.writeByCommand(story));
  it("4. no token on the server is a root token", () => deliver.noRootToken(story));
  it("4. the SecretBinding sees it", () => deliver.bindingIsReady(story));
  it("4. a Deployment's pod starts with it", () => deliver.deploymentStarts(story));
  it("4. a Job's pod starts with it and ends", () => deliver.jobEnds(story));
  it("4. the file of the running pod follows a change", () => deliver.fileFollows(story));
  it("5. a killed server comes back unsealed", () => restart.comesBack(story));
  it("5. without the KMS it stays sealed and says why", () => restart.staysSealed(story));
  it("5. its volume is copied", async () => {
    data = await restart.copyData(story);
  });
  it("5. it unseals by itself when the KMS is back", () => restart.opensByItself(story));
  it("5. the volume and the cluster hold neither the secret nor a key", () => restart.nothingInTheClear(story, data));
  it("6. a missing path: the pod waits, says what for, and starts", () => refuse.missingPath(story));
  it("6. another namespace's path is refused by operator and server", () => refuse.othersPath(story));
  it("6. a pod without a binding is refused", () => refuse.podWithoutBinding(story));
  it("6. a wrong key is said on both resources", () => refuse.wrongKey(story));
  it("6. nothing is lost", () => refuse.nothingIsLost(story));
  it("7. after the removal nothing is left", () => refuse.uninstall(story));
});

// The cluster of the end-to-end tests is fit for them: it runs an image made from scratch under the Pod Security level
// "restricted", resolves names, knows helm. When this fails, no other end-to-end test means anything.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { run, startCluster, waitFor } from "./cluster-fixture.ts";

const NAMESPACE = "coffer-test-fitness";
const folder = mkdtempSync(join(tmpdir(), "coffer-cluster-"));
const cluster = await startCluster();

afterAll(async () => {
  rmSync(folder, { recursive: true });
  await cluster?.kubectl(["delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait=false"]);
});

const resources = JSON.stringify({
  apiVersion: "v1",
  kind: "List",
  items: [
    {
      apiVersion: "v1",
      kind: "Namespace",
      metadata: { name: NAMESPACE, labels: { "pod-security.kubernetes.io/enforce": "restricted" } },
    },
    { apiVersion: "v1", kind: "ServiceAccount", metadata: { name: "runner", namespace: NAMESPACE } },
    {
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name: "native", namespace: NAMESPACE },
      spec: {
        restartPolicy: "Never",
        serviceAccountName: "runner",
        securityContext: { runAsNonRoot: true, seccompProfile: { type: "RuntimeDefault" } },
        containers: [
          {
            name: "main",
            image: "coffer/fitness:1",
            args: ["native", "/tmp/data"],
            securityContext: {
              readOnlyRootFilesystem: true,
              allowPrivilegeEscalation: false,
              capabilities: { drop: ["ALL"] },
            },
            volumeMounts: [{ name: "tmp", mountPath: "/tmp" }],
          },
        ],
        volumes: [{ name: "tmp", emptyDir: {} }],
      },
    },
  ],
});

describe.skipIf(cluster === undefined)("the cluster", () => {
  it("runs an image made from scratch, restricted and with a read-only root file system", {
    timeout: 900_000,
  }, async () => {
    const archive = join(folder, "fitness.tar");
    const options = ["--name", "coffer/fitness:1", "--entry", "test/kit/image/entry.ts", "-o", archive];
    await run("tools/image/build-image", options);
    await cluster?.loadImage(archive);
    await cluster?.kubectl(["apply", "-f", "-"], resources);
    const logs = await waitFor(
      "the pod's output",
      async () => (await cluster?.kubectl(["logs", "-n", NAMESPACE, "native"]))?.trim() || undefined,
      60,
    );
    expect(logs).toBe("kept");
  });

  it("answers helm", { timeout: 900_000 }, async () => {
    expect(await cluster?.helm(["version", "--short"])).toMatch(/^v3\./);
    expect(await cluster?.helm(["list", "--all-namespaces", "--output", "json"])).toMatch(/^\[/);
  });
});

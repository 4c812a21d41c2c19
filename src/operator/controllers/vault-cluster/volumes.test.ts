import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { parseJson } from "#common/json.ts";
import { createKubeClient, type KubeClient } from "#kube/kube-client.ts";
import { type FakeApiServer, startFakeApiServer } from "#test/kube/fake-api-server.ts";
import { cluster } from "#test/operator/fixtures.ts";
import { selectorLabels } from "../../cluster-names.ts";
import { quantityBytes } from "./quantity.ts";
import { growVolumes, volumeFinding } from "./volumes.ts";

const CLAIMS = "/api/v1/namespaces/coffer-system/persistentvolumeclaims";
const signal = new AbortController().signal;
const grown = cluster({ spec: { replicas: 3, storage: { size: "2Gi" } } });

let api: FakeApiServer;
let client: KubeClient;
beforeEach(async () => {
  api = await startFakeApiServer();
  client = await createKubeClient({ source: { from: "values", server: api.url }, fieldManager: "test" });
});
afterEach(async () => {
  client[Symbol.dispose]();
  await api[Symbol.asyncDispose]();
});

function put(name: string, requested: string, capacity: string): void {
  api.put(`${CLAIMS}/${name}`, {
    metadata: { name, namespace: "coffer-system", labels: selectorLabels(grown, "etcd") },
    spec: { resources: { requests: { storage: requested } } },
    status: { capacity: { storage: capacity } },
  });
}

const grow = (templateSize: string | undefined) =>
  growVolumes(client, grown, { component: "etcd", templateSize }, signal);

describe("volumes", () => {
  it("are left alone while they are made as the spec says", async () => {
    expect(await grow(undefined)).toBeUndefined();
    expect(await grow("2048Mi")).toBeUndefined();
    expect(api.requests).toEqual([]);
  });

  it("are asked to grow once, and are watched until they have", async () => {
    put("data-main-etcd-0", "1Gi", "1Gi");
    put("data-main-etcd-1", "2Gi", "2Gi");
    put("other", "1Gi", "1Gi");
    api.put(`${CLAIMS}/other`, { ...api.stored(`${CLAIMS}/other`), metadata: { name: "other", labels: {} } });
    const first = await grow("1Gi");
    expect(first).toEqual({ growing: ["data-main-etcd-0"], refusal: undefined });
    expect(first && volumeFinding(first)).toMatchObject({ status: "False", reason: "VolumeResizing" });
    expect(api.stored(`${CLAIMS}/data-main-etcd-0`)).toMatchObject({
      spec: { resources: { requests: { storage: "2Gi" } } },
    });
    await grow("1Gi");
    expect(api.requests.filter(({ method }) => method === "PATCH")).toHaveLength(1);
    put("data-main-etcd-0", "2Gi", "2Gi");
    const last = await grow("1Gi");
    expect(last && volumeFinding(last)).toMatchObject({ status: "True", reason: "VolumesGrown" });
  });

  it("that may not grow are said, with what to do", async () => {
    put("data-main-etcd-0", "1Gi", "1Gi");
    api.intercept(({ method }, response) => {
      if (method !== "PATCH") return false;
      const message = "only dynamically provisioned pvc can be resized";
      response.writeHead(403, { "content-type": "application/json" });
      response.end(JSON.stringify({ kind: "Status", status: "Failure", reason: "Forbidden", code: 403, message }));
      return true;
    });
    const state = await grow("1Gi");
    const finding = state && volumeFinding(state);
    expect(finding).toMatchObject({ status: "False", reason: "VolumeRefused" });
    expect(finding?.message).toMatch(/data-main-etcd-0 cannot grow: let the storage class.*only dynamically/);
    expect(parseJson(JSON.stringify(api.stored(`${CLAIMS}/data-main-etcd-0`)))).toMatchObject({
      spec: { resources: { requests: { storage: "1Gi" } } },
    });
  });
});

describe("quantities", () => {
  it.each([
    ["1Gi", 2 ** 30],
    ["1024Mi", 2 ** 30],
    ["0.5Ki", 512],
    ["10k", 10_000],
    ["5", 5],
    ["1e3", 1000],
    ["2Ei", 2 ** 61],
  ])("%s is %d", (text, bytes) => {
    expect(quantityBytes(text)).toBe(bytes);
  });
  it.each(["", "big", "1GiB", "-1", "Gi"])("%j is none", (text) => {
    expect(quantityBytes(text)).toBeUndefined();
  });
});

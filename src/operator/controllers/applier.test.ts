import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { systemClock } from "#common/clock.ts";
import { silentLog } from "#common/log.ts";
import { createEventRecorder } from "#kube/events.ts";
import { createKubeClient, type KubeClient } from "#kube/kube-client.ts";
import { CLUSTER_ROLE_BINDING } from "#kube/resource-kinds.ts";
import { type FakeApiServer, startFakeApiServer } from "#test/kube/fake-api-server.ts";
import { SETTINGS } from "#test/operator/fixtures.ts";
import { createWatches } from "../watches.ts";
import { type Applier, createApplier } from "./applier.ts";

const signal = new AbortController().signal;
const PATH = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/one";
const binding = { kind: CLUSTER_ROLE_BINDING, object: { metadata: { name: "one" }, roleRef: { name: "a" } } };

let api: FakeApiServer;
let client: KubeClient;
let applier: Applier;
beforeEach(async () => {
  api = await startFakeApiServer();
  client = await createKubeClient({ source: { from: "values", server: api.url }, fieldManager: "test" });
  const watches = createWatches({ client, settings: SETTINGS, clock: systemClock, log: silentLog });
  const events = createEventRecorder({ client, instance: "test", clock: systemClock, log: silentLog });
  applier = createApplier({ client, watches, events, clock: systemClock });
});
afterEach(async () => {
  client[Symbol.dispose]();
  await api[Symbol.asyncDispose]();
});

describe("an object that nobody watches", () => {
  it("is applied once while it says the same", async () => {
    await applier.apply(binding, signal);
    await applier.apply(binding, signal);
    expect(api.requests.filter(({ method }) => method === "PATCH")).toHaveLength(1);
    await applier.apply({ ...binding, object: { ...binding.object, roleRef: { name: "b" } } }, signal);
    expect(api.stored(PATH)).toMatchObject({ roleRef: { name: "b" } });
  });

  it("is applied anew after it was removed, as when a VaultCluster is made anew", async () => {
    await applier.apply(binding, signal);
    await applier.remove({ kind: CLUSTER_ROLE_BINDING, ref: { name: "one" } }, signal);
    expect(api.stored(PATH)).toBeUndefined();
    await applier.apply(binding, signal);
    expect(api.stored(PATH)).toMatchObject({ roleRef: { name: "a" } });
  });
});

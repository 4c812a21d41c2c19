import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { isJsonObject, type JsonObject, parseJson } from "#common/json.ts";
import { silentLog } from "#common/log.ts";
import { at, binding, pod, settings, surroundings } from "#test/injector/fixtures.ts";
import type { Catalog } from "./catalog.ts";
import { createWebhook } from "./http.ts";
import type { Outcome } from "./review.ts";

const closers: (() => void)[] = [];
afterEach(() => {
  for (const close of closers.splice(0)) close();
});

async function webhook(synced = true) {
  const outcomes: Outcome[] = [];
  const catalog: Catalog = {
    isSynced: () => synced,
    surroundings: (namespace) => ({ ...surroundings([binding("db", { files: [{ path: "db.json" }] })]), namespace }),
    [Symbol.dispose]: () => {},
  };
  const app = createWebhook({ catalog, settings, log: silentLog, onOutcome: (outcome) => outcomes.push(outcome) });
  const server = createServer(app).listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  closers.push(() => server.close());
  // An address with a port: the server listens on TCP.
  const { port } = server.address() as AddressInfo;
  const post = (body: string, path = "/mutate") =>
    fetch(`http://127.0.0.1:${port}${path}`, { method: "POST", body, headers: { "content-type": "application/json" } });
  return { post, outcomes };
}

function admission(object: JsonObject, more: JsonObject = {}): string {
  const request = {
    uid: "7",
    kind: { version: "v1", kind: "Pod" },
    resource: { version: "v1", resource: "pods" },
    operation: "CREATE",
    namespace: "team",
    object,
    ...more,
  };
  return JSON.stringify({ apiVersion: "admission.k8s.io/v1", kind: "AdmissionReview", request });
}

async function responseOf(answer: Response): Promise<JsonObject> {
  const review = at(parseJson(await answer.text()), "response");
  if (!isJsonObject(review)) throw new Error("no review");
  return review;
}

describe("the webhook", () => {
  it("answers with a patch, on a dry run too", async () => {
    const { post, outcomes } = await webhook();
    const answer = await responseOf(await post(admission(pod(), { dryRun: true })));
    expect(answer).toMatchObject({ uid: "7", allowed: true, patchType: "JSONPatch" });
    const patch = parseJson(Buffer.from(String(answer["patch"]), "base64").toString());
    expect(at(patch, 0, "path")).toBe("/metadata/annotations");
    expect(outcomes).toEqual(["injected"]);
  });

  it("denies with a sentence", async () => {
    const { post, outcomes } = await webhook();
    const windows = pod({ nodeSelector: { "kubernetes.io/os": "windows" } });
    const answer = await responseOf(await post(admission(windows)));
    expect(answer["allowed"]).toBe(false);
    expect(at(answer, "status", "message")).toMatch(/^secrets cannot be injected into pods on Windows/);
    expect(outcomes).toEqual(["denied"]);
  });

  it.each([
    ["an update", { operation: "UPDATE" }],
    ["a subresource", { subResource: "ephemeralcontainers" }],
    ["another kind", { resource: { group: "apps", version: "v1", resource: "deployments" } }],
  ])("lets %s pass", async (_name, more) => {
    const { post } = await webhook();
    expect(await responseOf(await post(admission(pod(), more)))).toEqual({ uid: "7", allowed: true });
  });

  it("says that it is not ready while it does not know the bindings", async () => {
    const { post } = await webhook(false);
    const answer = await post(admission(pod()));
    expect([answer.status, await answer.text()]).toEqual([
      503,
      "the injector has not read the SecretBindings yet: try again\n",
    ]);
  });

  it("refuses what is no review, what is too large and other paths", async () => {
    const { post } = await webhook();
    expect((await post("{}")).status).toBe(400);
    expect((await post("")).status).toBe(400);
    expect((await post(" ".repeat(8 * 1024 * 1024 + 1))).status).toBe(413);
    expect((await post("{}", "/other")).status).toBe(404);
  });
});

// SecretBindings that keep Kubernetes Secrets: the operator as a process with the chart's rights, a real API server, a real
// server.
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ApiError } from "#client/api-error.ts";
import { systemClock } from "#common/clock.ts";
import type { JsonObject } from "#common/json.ts";
import { createKubeClient } from "#kube/kube-client.ts";
import { isKubeError } from "#kube/kube-error.ts";
import type { KubeObject } from "#kube/kube-object.ts";
import { DEPLOYMENT, ROLE, ROLE_BINDING, SECRET, SERVICE_ACCOUNT } from "#kube/resource-kinds.ts";
import { requestToken } from "#kube/service-account-tokens.ts";
import { findKubePrograms } from "#test/kit/kube-api.ts";
import {
  AUDIENCE,
  BINDING,
  conditionOf,
  OPERATOR,
  type OperatorProcess,
  objectAt,
  SYSTEM,
  startWorld,
  until,
  type World,
} from "#test/operator/world.ts";
import { findHelm } from "#test/parts/helm.ts";

const programs = findHelm(process.env) === undefined ? undefined : findKubePrograms(process.env);
const isLive = ({ metadata }: KubeObject) => metadata.deletionTimestamp === undefined;
const encoded = (text: string) => Buffer.from(text).toString("base64");

describe.skipIf(programs === undefined)("a Kubernetes Secret that a binding keeps", () => {
  let world: World;
  let operator: OperatorProcess;
  beforeAll(async () => {
    world = await startWorld(programs ?? "", { operator: { secretNamespaces: ["team"] } });
    await world.namespace("team", ["web"]);
    await world.namespace("other");
    operator = await world.startOperator();
  });
  afterAll(async () => {
    await world[Symbol.asyncDispose]();
  });

  const at = (name: string) => ({ namespace: "team", name });
  const becomes = (name: string, expected: string, type = "Ready", namespace = "team") =>
    until(`${name} is ${expected}`, async () => {
      const found = conditionOf(await world.binding(namespace, name), type);
      return found === expected || `${found}\n${operator.output().slice(-2000)}`;
    });
  const holds = (name: string, expected: Readonly<Record<string, string>> | undefined) =>
    until(`the Secret ${name} holds ${JSON.stringify(expected)}`, async () => {
      const found = await world.secret("team", name);
      return JSON.stringify(found) === JSON.stringify(expected) || JSON.stringify(found ?? null);
    });
  const write = (path: string, data: JsonObject) => world.admin.write(`secret/data/team/${path}`, { data });
  const look = async (name: string) => {
    const annotations = { "coffer.dev/reconcile-at": String(systemClock.now()) };
    await world.kube.mergePatch(BINDING, at(name), { metadata: { annotations } });
  };
  const versionOf = async (name: string) => (await world.kube.get(SECRET, at(name)))?.metadata.resourceVersion;

  it("holds every key of a secret, and follows it", async () => {
    await write("db", { user: "u", password: "p" });
    await world.bind("team", "db", { path: "secret/team/db", secret: {}, refreshInterval: "10s" });
    await becomes("db", "True Synced");
    expect(await world.secret("team", "db")).toEqual({ password: "p", user: "u" });
    const made = await world.kube.get(SECRET, at("db"));
    expect(made?.metadata).toMatchObject({
      labels: { "coffer.dev/secret": "Owner" },
      ownerReferences: [{ kind: "SecretBinding", name: "db" }],
    });
    const { contentMAC, version } = objectAt(objectAt(await world.binding("team", "db"), "status"), "secret");
    expect(version).toBe(made?.metadata.resourceVersion);
    expect(contentMAC).toMatch(/^v1:/);
    await write("db", { user: "u", password: "q" });
    await holds("db", { password: "q", user: "u" });
  });

  it("follows a change that the server tells, long before the interval is over, and a binding that comes again", async () => {
    await until("changes are told", async () => operator.output().includes("changes of secrets are told"));
    await write("told", { a: "1" });
    await world.bind("team", "told", { path: "secret/team/told", secret: {}, refreshInterval: "1h" });
    await holds("told", { a: "1" });
    const startedAt = systemClock.now();
    await write("told", { a: "2" });
    await holds("told", { a: "2" });
    expect(systemClock.now() - startedAt).toBeLessThan(10_000);
    await world.kube.delete(BINDING, at("told"));
    await until("it is gone", async () => (await world.binding("team", "told")) === undefined);
    await world.bind("team", "told", { path: "secret/team/told", secret: {} });
    await holds("told", { a: "2" });
  });

  it("is made of several sources, by templates and decoded, with type, labels and annotations", async () => {
    await write("tls", { cert: "C", key: encoded("K") });
    await world.bind("team", "web", {
      sources: [
        { name: "db", path: "secret/team/db" },
        { name: "tls", path: "secret/team/tls" },
        { name: "none", path: "secret/team/none", optional: true },
      ],
      serviceAccounts: ["web"],
      secret: {
        ...{ name: "web-tls", serviceAccountName: "web", type: "kubernetes.io/tls" },
        ...{ labels: { app: "web" }, annotations: { "example.com/note": "n" } },
        data: [
          { key: "tls.crt", source: "tls", from: "cert" },
          { key: "tls.key", source: "tls", from: "key", decode: "Base64" },
          { key: "url", template: "{{ .db.user }}:{{ .db.password }}" },
          { key: "absent", source: "none", from: "x" },
        ],
      },
    });
    await becomes("web", "True Synced");
    expect(await world.secret("team", "web-tls")).toEqual({ "tls.crt": "C", "tls.key": "K", url: "u:q" });
    const made = await world.kube.get(SECRET, at("web-tls"));
    expect(made).toMatchObject({
      type: "kubernetes.io/tls",
      metadata: { labels: { app: "web" }, annotations: { "example.com/note": "n" } },
    });
  });

  it("is repaired when somebody edits, adds, unlabels or deletes it", async () => {
    const expected = { password: "q", user: "u" };
    await world.kube.mergePatch(SECRET, at("db"), { data: { user: encoded("mallory") } });
    await holds("db", expected);
    await world.kube.mergePatch(SECRET, at("db"), { data: { extra: encoded("x") } });
    await holds("db", expected);
    await world.kube.mergePatch(SECRET, at("db"), { metadata: { labels: { "coffer.dev/secret": null } } });
    await until("the label is back", async () => {
      return (await world.kube.get(SECRET, at("db")))?.metadata.labels?.["coffer.dev/secret"] === "Owner";
    });
    await world.kube.delete(SECRET, at("db"));
    await holds("db", expected);
  });

  it("is made anew where it cannot be changed: another type, and an immutable one", async () => {
    const spec = { path: "secret/team/fixed", refreshInterval: "10s" };
    await write("fixed", { a: "1" });
    await world.bind("team", "fixed", { ...spec, secret: { immutable: true } });
    await holds("fixed", { a: "1" });
    await write("fixed", { a: "2" });
    await look("fixed");
    await holds("fixed", { a: "2" });
    await world.bind("team", "fixed", { ...spec, secret: { immutable: true, type: "example.com/x" } });
    await until(
      "it has the type",
      async () => (await world.kube.get(SECRET, at("fixed")))?.["type"] === "example.com/x",
    );
  });

  it("leaves a Secret alone that nobody said it may write, and takes one over that says so", async () => {
    await world.kube.create(SECRET, { metadata: at("theirs"), data: { a: encoded("theirs"), b: encoded("b") } });
    await world.bind("team", "theirs", { path: "secret/team/db", secret: {} });
    await becomes("theirs", "False SecretExists");
    expect(await world.secret("team", "theirs")).toEqual({ a: "theirs", b: "b" });
    const annotations = { "coffer.dev/secret-binding": "theirs" };
    await world.kube.mergePatch(SECRET, at("theirs"), { metadata: { annotations } });
    await look("theirs");
    await holds("theirs", { password: "q", user: "u" });
  });

  it("merges its keys into a Secret of somebody else and takes back those alone", async () => {
    const merge = { path: "secret/team/db", secret: { creationPolicy: "Merge", name: "shared" } };
    await world.bind("team", "merged", merge);
    await becomes("merged", "False TargetMissing");
    const annotations = { "coffer.dev/secret-binding": "merged" };
    await world.kube.create(SECRET, { metadata: { ...at("shared"), annotations }, data: { own: encoded("o") } });
    await look("merged");
    await holds("shared", { own: "o", password: "q", user: "u" });
    await world.kube.mergePatch(SECRET, at("shared"), { data: { own: encoded("o2"), user: encoded("x") } });
    await holds("shared", { own: "o2", password: "q", user: "u" });
    await world.kube.delete(BINDING, at("merged"));
    await holds("shared", { own: "o2" });
  });

  it("goes with its binding, or stays, and moves with its name", async () => {
    await world.bind("team", "moving", { path: "secret/team/db", secret: { name: "first" } });
    await holds("first", { password: "q", user: "u" });
    await world.bind("team", "moving", {
      path: "secret/team/db",
      secret: { name: "second", creationPolicy: "Orphan" },
    });
    await holds("second", { password: "q", user: "u" });
    await holds("first", undefined);
    await world.bind("team", "staying", { path: "secret/team/db", secret: { deletionPolicy: "Retain" } });
    await becomes("staying", "True Synced");
    expect((await world.kube.get(SECRET, at("staying")))?.metadata.ownerReferences).toBeUndefined();
    for (const name of ["moving", "staying"]) await world.kube.delete(BINDING, at(name));
    await holds("second", undefined);
    await until("the bindings are gone", async () => (await world.binding("team", "staying")) === undefined);
    expect(await world.secret("team", "staying")).toEqual({ password: "q", user: "u" });
  });

  it("restarts workloads when the content changed, and not sooner than it may", async () => {
    const template = { metadata: { labels: { app: "x" } }, spec: { containers: [{ name: "c", image: "i" }] } };
    const spec = { selector: { matchLabels: { app: "x" } }, template };
    await world.kube.create(DEPLOYMENT, { metadata: at("app"), spec });
    const restart = { targets: [{ kind: "Deployment", name: "app" }], minInterval: "1h" };
    await write("restarting", { a: "1" });
    await world.bind("team", "restarting", { path: "secret/team/restarting", secret: { restart } });
    await becomes("restarting", "True Synced");
    const restarts = async () => {
      const found = objectAt(objectAt(await world.kube.get(DEPLOYMENT, at("app")), "spec"), "template");
      return JSON.stringify(objectAt(objectAt(found, "metadata"), "annotations"));
    };
    expect(await restarts()).toBe("{}");
    await write("restarting", { a: "2" });
    await look("restarting");
    await until("it is restarted", async () => (await restarts()).includes("v1:"));
    const once = await restarts();
    await write("restarting", { a: "3" });
    await look("restarting");
    await becomes("restarting", "False RestartWaiting", "Restarted");
    expect(await world.secret("team", "restarting")).toEqual({ a: "3" });
    expect(await restarts()).toBe(once);
  });

  it("says what is wrong: no right in the namespace, no ServiceAccount, no content", async () => {
    await world.admin.write("secret/data/other/db", { data: { a: "1" } });
    await world.bind("other", "db", { path: "secret/other/db", secret: {} });
    await becomes("db", "False NotEnabled", "Ready", "other");
    await world.bind("team", "nobody", { path: "secret/team/db", secret: { serviceAccountName: "nobody" } });
    await becomes("nobody", "False ServiceAccountMissing");
    await world.bind("team", "wrong", { path: "secret/team/db", secret: { data: [{ key: "x" }] } });
    await becomes("wrong", "False ContentInvalid");
    await world.bind("team", "early", { path: "secret/team/early", secret: {} });
    await becomes("early", "False SecretMissing");
    await world.bind("team", "foreign", { path: "secret/other/db", secret: {} });
    await becomes("foreign", "True PathNotAllowed", "Stalled");
    for (const name of ["nobody", "wrong", "early", "foreign"]) await world.kube.delete(BINDING, at(name));
  });

  it("is written by nobody else's rights: the operator's token reaches neither the API server nor other Secrets", async () => {
    const { url, ca } = world.api;
    const token = await world.tokenOf(SYSTEM, OPERATOR);
    using thief = await createKubeClient({ source: { from: "values", server: url, ca, token }, fieldManager: "thief" });
    // Messages about Secrets are kept short by the client; the reasons are in the details.
    const refused = async (attempt: Promise<unknown>, why: string) => {
      const error = await attempt.then(
        () => "it was allowed",
        (thrown: unknown) => thrown,
      );
      if (!isKubeError(error)) throw new Error(String(error));
      expect(`${error.message} ${JSON.stringify(error.details)}`).toContain(why);
    };
    const account = { namespace: "team", name: "web" };
    const take = (audiences: readonly string[]) => requestToken(thief, account, { audiences, expirationSeconds: 600 });
    for (const audiences of [[], ["https://kubernetes.default.svc.cluster.local"], ["coffer.a.b", "x"]])
      await refused(take(audiences), "for Coffer servers only");
    expect((await take(["coffer.coffer-system.main"])).token).toContain(".");
    const plain = { metadata: { namespace: "team", name: "plain" }, data: {} };
    const unnamed = "annotation coffer.dev/secret-binding";
    await refused(thief.create(SECRET, plain), unnamed);
    await world.kube.create(SECRET, plain);
    await refused(thief.mergePatch(SECRET, at("plain"), { data: { a: "YQ==" } }), unnamed);
    await refused(thief.delete(SECRET, at("plain")), unnamed);
    const annotations = { "coffer.dev/secret-binding": "x", "kubernetes.io/service-account.name": "web" };
    const type = "kubernetes.io/service-account-token";
    await refused(
      thief.create(SECRET, { metadata: { namespace: "team", name: "mint", annotations }, type }),
      "let into",
    );
    const image = { spec: { template: { spec: { containers: [{ name: "c", image: "evil" }] } } } };
    await refused(thief.mergePatch(DEPLOYMENT, at("app"), image), "annotations of the pod template only");
    await refused(thief.get(SECRET, { namespace: "other", name: "x" }), "Forbidden");
  });

  it("is no way further for somebody with every right on bindings, pods and ServiceAccounts of one namespace", async () => {
    const rights = (resources: readonly string[], apiGroups: readonly string[]) => ({
      apiGroups,
      resources,
      verbs: ["*"],
    });
    const metadata = { namespace: "team", name: "mallory" };
    await world.kube.create(SERVICE_ACCOUNT, { metadata });
    await world.kube.create(ROLE, {
      metadata,
      rules: [
        rights(["secretbindings", "secretbindings/status"], ["coffer.dev"]),
        rights(["pods", "serviceaccounts", "serviceaccounts/token"], [""]),
      ],
    });
    await world.kube.create(ROLE_BINDING, {
      metadata,
      roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "Role", name: "mallory" },
      subjects: [{ kind: "ServiceAccount", namespace: "team", name: "mallory" }],
    });
    const { url, ca } = world.api;
    const token = await world.tokenOf("team", "mallory");
    using mallory = await createKubeClient({ source: { from: "values", server: url, ca, token }, fieldManager: "m" });
    await world.kube.create(SECRET, { metadata: at("victim"), data: { a: encoded("v") } });
    const make = (name: string, spec: JsonObject) => mallory.apply(BINDING, { metadata: at(name), spec });
    // A Secret that is there, by its name, by a merge, and by a status that claims to have written it.
    await make("m-name", { path: "secret/team/db", secret: { name: "victim" } });
    await becomes("m-name", "False SecretExists");
    await make("m-merge", { path: "secret/team/db", secret: { name: "victim", creationPolicy: "Merge" } });
    await becomes("m-merge", "False SecretExists");
    const forged = {
      secret: { name: "victim", version: "1", contentMAC: "v1:x", changedAt: "2026-01-01T00:00:00Z" },
      ...{ vault: "coffer-system/main", policy: "sb_other_db", roles: ["sb_other"] },
    };
    await mallory.mergePatch(BINDING, at("m-name"), { status: forged }, { subresource: "status" });
    await make("m-name", { path: "secret/team/db", secret: { name: "m-own" } });
    await holds("m-own", { password: "q", user: "u" });
    await mallory.delete(BINDING, at("m-merge"));
    await mallory.delete(BINDING, at("m-name"));
    await until("they are gone", async () => (await world.binding("team", "m-name")) === undefined);
    expect(await world.secret("team", "victim")).toEqual({ a: "v" });
    // Another namespace's path, whichever way it is written.
    for (const path of ["secret/other/db", "secret/data/other/db", "secret/teams/db", "sys/policies/acl"]) {
      await make("m-path", { path, secret: { name: "m-path" } });
      await becomes("m-path", "True PathNotAllowed", "Stalled");
    }
    await mallory.delete(BINDING, at("m-path"));
    // Its own ServiceAccounts' tokens, as an agent has them, by every role there might be.
    await world.bind("team", "anybody", { path: "secret/team/db", files: [{ path: "db.json" }] });
    await becomes("anybody", "True Synced", "Synced");
    const jwt = await requestToken(mallory, at("default"), { audiences: [AUDIENCE], expirationSeconds: 600 });
    const agent = await world.login("kubernetes", "sb_team", jwt.token);
    expect((await agent.read("secret/data/team/db")).data).toMatchObject({ data: { user: "u" } });
    const denied = { status: 403 };
    for (const role of ["sb_other", "sb_team_web"])
      await expect(world.login("kubernetes", role, jwt.token)).rejects.toBeInstanceOf(ApiError);
    await expect(world.login(OPERATOR, "operator", jwt.token)).rejects.toBeInstanceOf(ApiError);
    await expect(agent.read("secret/data/other/db")).rejects.toMatchObject(denied);
    await expect(agent.write("secret/data/team/db", { data: {} })).rejects.toMatchObject(denied);
    await expect(agent.write("sys/policies/acl/sb_team_db", { policy: "" })).rejects.toMatchObject(denied);
    await expect(agent.write("auth/kubernetes/role/sb_team", {})).rejects.toMatchObject(denied);
    await expect(agent.write("auth/token/create", { no_parent: true })).rejects.toMatchObject(denied);
    await expect(agent.list("sys/policies/acl")).rejects.toMatchObject(denied);
    await expect(mallory.get(SECRET, at("db"))).rejects.toMatchObject({ reason: "Forbidden" });
  });

  it("is not written, and no status either, because the operator starts again", async () => {
    await becomes("web", "True Synced");
    const versions = async () =>
      JSON.stringify({
        secrets: await Promise.all(["db", "web-tls", "fixed"].map(versionOf)),
        bindings: (await world.kube.list(BINDING)).items.map(({ metadata }) => metadata.resourceVersion),
      });
    // Bindings that were deleted above take a moment to go.
    await until("the deleted are gone", async () => (await world.kube.list(BINDING)).items.every(isLive));
    await operator.stop();
    const before = await versions();
    operator = await world.startOperator();
    await until("it leads", async () => operator.output().includes('"leading"'));
    await until("it has looked at everything", async () => {
      const metrics = await (await fetch(`${operator.health}/metrics`)).text();
      const looks = [...metrics.matchAll(/reconciles_total\{controller="secret-binding",result="\w+"\} (\d+)/g)];
      return looks.reduce((sum, [, count]) => sum + Number(count), 0) >= 8;
    });
    expect(await versions()).toBe(before);
  });
});

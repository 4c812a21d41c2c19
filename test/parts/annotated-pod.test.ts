// A pod with the annotations of vault-k8s, from its manifest to its files: the injector's own decision, then the agent
// with the document that it was given, logging in to a real server. Played is only the kubelet, which would mount.
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { run } from "#agent/main.ts";
import { systemClock } from "#common/clock.ts";
import { mutate } from "#injector/mutate.ts";
import { applied, at, cluster, pod, settings, surroundings } from "#test/injector/fixtures.ts";
import { must } from "#test/kit/client.ts";
import { type OpenServer, startDevelopmentServer } from "#test/kit/server.ts";
import { startTokenReviewServer, type TokenReviewServer } from "#test/kit/token-review.ts";

const PREFIX = "vault.hashicorp.com/";
let server: OpenServer;
let review: TokenReviewServer;
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "coffer-annotated-"));
  await mkdir(join(folder, "account"));
  review = await startTokenReviewServer();
  server = await startDevelopmentServer();
  const write = (path: string, body: object) => must(server.address, server.rootToken, "POST", path, { ...body });
  await write("sys/auth/kubernetes", { type: "kubernetes" });
  await write("auth/kubernetes/config", { kubernetes_host: review.address, token_reviewer_jwt: "reviewer" });
  await write("sys/policies/acl/web", { policy: 'path "kv/data/team/*" { capabilities = ["read"] }' });
  await write("auth/kubernetes/role/web", {
    bound_service_account_names: ["web"],
    bound_service_account_namespaces: ["team"],
    audience: "coffer.coffer-system.main",
    token_policies: ["web"],
  });
  await write("sys/mounts/kv", { type: "kv", options: { version: "2" } });
  await write("kv/data/team/db", { data: { user: "web", password: "s3cret", port: 5432 } });
});

afterAll(async () => {
  await server?.stop();
  await review?.close();
  await rm(folder, { recursive: true, force: true });
});

/** A token as the API server would project it: for that audience. */
async function project(audience: string): Promise<void> {
  const claims = {
    iss: "conform",
    aud: [audience],
    exp: Math.floor(systemClock.now() / 1000) + 600,
    "kubernetes.io": { namespace: "team", serviceaccount: { name: "web", uid: "1" } },
  };
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
  await writeFile(join(folder, "account/token"), `${part({ alg: "RS256" })}.${part(claims)}.sig`);
}

/** Injects, starts the agent, and gives its exit code and what it said. */
async function start(annotations: Readonly<Record<string, string>>): Promise<{ code: number; log: string }> {
  const all = { "agent-inject": "true", role: "web", "agent-pre-populate-only": "true", ...annotations };
  const prefixed = Object.fromEntries(Object.entries(all).map(([key, value]) => [`${PREFIX}${key}`, value]));
  const json = pod({}, { labels: {}, annotations: prefixed });
  const around = surroundings([], [cluster("main", { address: server.address, caBundle: null })]);
  const mutation = mutate(json, around, settings);
  if (mutation.kind === "denied") throw new Error(mutation.message);
  const out = applied(json, mutation.patch);
  const source = at(out, "spec", "volumes", 0, "projected", "sources", 0, "serviceAccountToken");
  await project(String(at(source ?? null, "audience")));
  const text = String(at(out, "spec", "initContainers", 0, "env", 0, "value"));
  const document = text
    .replaceAll("$$", "$")
    .replaceAll("/coffer/volumes/coffer-secrets", folder)
    .replaceAll("/coffer/token", join(folder, "account"))
    .replaceAll("/coffer/state", folder);
  let log = "";
  const code = await run([], {
    stdout: { write: () => true },
    stderr: { write: (line: string) => (log += line) },
    readStdin: async () => Buffer.alloc(0),
    env: { COFFER_AGENT_CONFIG: document },
    ...{ cwd: folder, clock: systemClock, signal: AbortSignal.timeout(20_000) },
  });
  return { code, log };
}

const file = (name: string) => readFile(join(folder, name), "utf8");

describe("an annotated pod and a real server", () => {
  it("has the files that vault-k8s would give it", async () => {
    const { code } = await start({
      "agent-inject-secret-db": "kv/data/team/db",
      "agent-inject-secret-Logical": "kv/team/db",
      "agent-inject-default-template": "json",
      "agent-inject-template-db":
        '{{- with secret "kv/data/team/db" -}}\npostgres://{{ .Data.data.user }}:{{ .Data.data.password }}@db:{{ .Data.data.port }}/app\n{{- end }}\n',
      "agent-inject-file-db": "conf/url",
    });
    expect(code).toBe(0);
    expect(await file("conf/url")).toBe("postgres://web:s3cret@db:5432/app\n");
    expect(await file("logical")).toMatch(
      /^\{"data":\{"password":"s3cret","port":5432,"user":"web"\},"metadata":\{"created_time":"[^"]+","custom_metadata":null,"deletion_time":"","destroyed":false,"version":1\}\}\n$/,
    );
  });

  it("has the default file of KV 2 as Go prints it", async () => {
    expect((await start({ "agent-inject-secret-plain": "kv/data/team/db" })).code).toBe(0);
    expect(await file("plain")).toMatch(
      /^data: map\[password:s3cret port:5432 user:web\]\nmetadata: map\[created_time:\S+ custom_metadata:<nil> deletion_time: destroyed:false version:1\]\n$/,
    );
  });

  it("has a token that goes on working after the agent has ended, when it is asked for", async () => {
    expect((await start({ "agent-inject-token": "true" })).code).toBe(0);
    const token = (await file("token")).trim();
    const self = await must(server.address, token, "GET", "auth/token/lookup-self");
    expect(at(self, "data", "policies")).toEqual(["default", "web"]);
  });
});

// The agent's proxy between a program of the pod and a real server: an annotated pod's own document, a login with the
// pod's ServiceAccount, and what the server says of the tokens afterwards.
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { run } from "#agent/main.ts";
import { systemClock } from "#common/clock.ts";
import { mutate } from "#injector/mutate.ts";
import { applied, cluster, at as member, pod, settings, surroundings } from "#test/injector/fixtures.ts";
import { at, exchange, must } from "#test/kit/client.ts";
import { type OpenServer, startDevelopmentServer } from "#test/kit/server.ts";
import { projectedToken, startTokenReviewServer, type TokenReviewServer } from "#test/kit/token-review.ts";

const PREFIX = "vault.hashicorp.com/";
let server: OpenServer;
let review: TokenReviewServer;
let folder: string;
let proxy: string;
let log = "";
const end = new AbortController();
let ended: Promise<number>;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "coffer-proxy-"));
  await mkdir(join(folder, "account"));
  review = await startTokenReviewServer();
  server = await startDevelopmentServer();
  const write = (path: string, body: object) => must(server.address, server.rootToken, "POST", path, { ...body });
  await write("sys/auth/kubernetes", { type: "kubernetes" });
  await write("auth/kubernetes/config", { kubernetes_host: review.address, token_reviewer_jwt: "reviewer" });
  await write("sys/policies/acl/web", {
    policy:
      'path "secret/data/team/*" { capabilities = ["read"] }\npath "auth/token/create" { capabilities = ["update"] }',
  });
  await write("auth/kubernetes/role/web", {
    bound_service_account_names: ["web"],
    bound_service_account_namespaces: ["team"],
    token_policies: ["web"],
  });
  await write("sys/auth/userpass", { type: "userpass" });
  await write("auth/userpass/users/me", { password: "p4ssword", token_policies: "web", token_ttl: "1h" });
  await write("secret/data/team/db", { data: { user: "web" } });
  await writeFile(join(folder, "account/token"), projectedToken("coffer.coffer-system.main", "team", "web"));
  const port = await freePort();
  proxy = `http://127.0.0.1:${port}`;
  ended = startAgent(port);
  await vi.waitFor(() => expect(log).toContain('"message":"ready"'), 20_000);
});

afterAll(async () => {
  end.abort();
  await ended;
  await server?.stop();
  await review?.close();
  await rm(folder, { recursive: true, force: true });
});

async function freePort(): Promise<number> {
  const taken = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => taken.once("listening", resolve));
  const bound = taken.address();
  await new Promise((resolve) => taken.close(resolve));
  if (bound === null || typeof bound === "string") throw new Error("a TCP server has a port");
  return bound.port;
}

/** With the document that the injector gives a pod which wants the proxy and no file. */
function startAgent(port: number): Promise<number> {
  const annotations = {
    [`${PREFIX}agent-inject`]: "true",
    [`${PREFIX}role`]: "web",
    [`${PREFIX}agent-cache-enable`]: "true",
    [`${PREFIX}agent-cache-listener-port`]: String(port),
  };
  const json = pod({}, { labels: {}, annotations });
  const mutation = mutate(
    json,
    surroundings([], [cluster("main", { address: server.address, caBundle: null })]),
    settings,
  );
  if (mutation.kind === "denied") throw new Error(mutation.message);
  const text = String(member(applied(json, mutation.patch), "spec", "initContainers", 0, "env", 0, "value"));
  const document = text
    .replaceAll("$$", "$")
    .replaceAll("/coffer/token", join(folder, "account"))
    .replaceAll("/coffer/state", folder);
  return run([], {
    stdout: { write: () => true },
    stderr: { write: (line: string) => (log += line) },
    readStdin: async () => Buffer.alloc(0),
    env: { COFFER_AGENT_CONFIG: document },
    ...{ cwd: folder, clock: systemClock, signal: end.signal },
  });
}

it("reads for a program without a token, and shows it none", async () => {
  const answer = await must(proxy, "", "GET", "secret/data/team/db");
  expect(at(answer, "data", "data", "user")).toBe("web");
  const self = await must(proxy, "", "GET", "auth/token/lookup-self");
  expect(at(self, "data", "policies")).toEqual(["default", "web"]);
  expect(at(self, "data", "id")).toBeUndefined();
  expect(await exchange(proxy, "", "GET", "secret/data/other")).toMatchObject({ status: 403 });
});

it("keeps tokens made with the agent's and logins, until they are revoked through it", async () => {
  const create = () => must(proxy, "", "POST", "auth/token/create", { ttl: "10m" });
  const made = await create();
  expect(await create()).toEqual(made);
  const login = () => must(proxy, "", "POST", "auth/userpass/login/me", { password: "p4ssword" });
  const mine = String(at(await login(), "auth", "client_token"));
  expect(at(await login(), "auth", "client_token")).toBe(mine);
  await must(proxy, server.rootToken, "POST", "auth/token/revoke", { token: mine });
  const again = String(at(await login(), "auth", "client_token"));
  expect(again).not.toBe(mine);
  await must(server.address, again, "GET", "auth/token/lookup-self");
  await must(proxy, server.rootToken, "POST", "auth/token/revoke", { token: String(at(made, "auth", "client_token")) });
  expect(at(await create(), "auth", "client_token")).not.toBe(at(made, "auth", "client_token"));
});

it("logs in again when the agent's token has ended", async () => {
  const before = await must(proxy, "", "GET", "auth/token/lookup-self");
  await must(server.address, server.rootToken, "POST", "auth/token/revoke-accessor", {
    accessor: String(at(before, "data", "accessor")),
  });
  // A denial a moment ago keeps it from looking, so that denials are not doubled.
  const answer = await vi.waitFor(() => must(proxy, "", "GET", "secret/data/team/db"), 10_000);
  expect(at(answer, "data", "data", "user")).toBe("web");
  expect(log).toContain("logging in again");
});

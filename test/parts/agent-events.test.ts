// Agents that hear of changes from a real server, with the policy that the operator writes for a binding: a rotation
// arrives in seconds though the interval is an hour, and again after the server was gone.
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { run } from "#agent/main.ts";
import { systemClock } from "#common/clock.ts";
import { bindingPolicy } from "#operator/controllers/secret-binding/server-entries.ts";
import { must } from "#test/kit/client.ts";
import { type ShamirServer, startShamirServer } from "#test/kit/server.ts";
import { startTcpProxy, type TcpProxy } from "#test/kit/tcp-proxy.ts";
import { projectedToken, startTokenReviewServer, type TokenReviewServer } from "#test/kit/token-review.ts";

let server: ShamirServer;
let review: TokenReviewServer;
let line: TcpProxy;
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "coffer-events-"));
  review = await startTokenReviewServer();
  server = await startShamirServer();
  line = await startTcpProxy(Number(new URL(server.address).port));
  const write = (path: string, body: object) => must(server.address, server.rootToken, "POST", path, { ...body });
  await write("sys/mounts/secret", { type: "kv", options: { version: "2" } });
  await write("sys/auth/kubernetes", { type: "kubernetes" });
  await write("auth/kubernetes/config", { kubernetes_host: review.address, token_reviewer_jwt: "reviewer" });
  await write("sys/policies/acl/heard", { policy: bindingPolicy(["secret/data/team/db"]) });
  await write("sys/policies/acl/deaf", { policy: 'path "secret/data/team/db" { capabilities = ["read"] }' });
  for (const name of ["heard", "deaf"]) {
    await write(`auth/kubernetes/role/${name}`, {
      bound_service_account_names: ["web"],
      bound_service_account_namespaces: ["team"],
      token_policies: [name],
    });
  }
  await writeFile(join(folder, "token"), projectedToken("vault", "team", "web"));
});

afterAll(async () => {
  await line?.close();
  await server?.stop();
  await review?.close();
  await rm(folder, { recursive: true, force: true });
});

const rotate = (user: string) =>
  must(server.address, server.rootToken, "POST", "secret/data/team/db", { data: { user } });

async function startAgent(role: string, refreshIntervalSeconds: number) {
  const file = join(folder, `${role}.json`);
  const config = {
    address: `http://127.0.0.1:${line.port}`,
    auth: { mount: "kubernetes", role, tokenFile: join(folder, "token") },
    sources: [{ name: "db", path: "secret/team/db" }],
    files: [{ path: file, source: "db", format: "JSON" }],
    ...{ mode: "Sidecar", refreshIntervalSeconds, readyFile: join(folder, `${role}.ready`) },
  };
  const end = new AbortController();
  let log = "";
  const done = run([], {
    stdout: { write: () => true },
    stderr: { write: (text: string) => (log += text) },
    readStdin: async () => Buffer.alloc(0),
    env: { COFFER_AGENT_CONFIG: JSON.stringify(config), COFFER_LOG_LEVEL: "debug" },
    ...{ cwd: folder, clock: systemClock, signal: end.signal },
  });
  return {
    log: () => log,
    file: () => readFile(file, "utf8"),
    async [Symbol.asyncDispose]() {
      end.abort();
      await done;
    },
  };
}

it("is told of a rotation, also after its connection was cut", { timeout: 60_000 }, async () => {
  await rotate("u1");
  await using agent = await startAgent("heard", 3600);
  await expect.poll(agent.log, { timeout: 20_000 }).toContain("changes are told by the server");
  await rotate("u2");
  await expect.poll(agent.file, { timeout: 10_000 }).toContain("u2");
  line.cut();
  await rotate("u3");
  // Nobody told it of this one; it reads when it is connected again.
  await expect.poll(agent.file, { timeout: 20_000 }).toContain("u3");
  await rotate("u4");
  await expect.poll(agent.file, { timeout: 10_000 }).toContain("u4");
});

it("asks at intervals where its role may not hear", { timeout: 30_000 }, async () => {
  await rotate("u1");
  await using agent = await startAgent("deaf", 1);
  await expect.poll(agent.log, { timeout: 20_000 }).toContain("the server does not tell changes to this role");
  await rotate("u2");
  await expect.poll(agent.file, { timeout: 10_000 }).toContain("u2");
});

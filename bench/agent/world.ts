// What agents are measured against: a real server on LMDB with an audit file, a Kubernetes method whose tokens a stand-in
// for the cluster reviews, secrets for so many pods, and the product as the image bundles it.
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import type { JsonObject } from "#common/json.ts";
import { must } from "#test/kit/client.ts";
import { type RunningServer, startServer, writeConfig } from "#test/kit/server.ts";
import { projectedToken, startTokenReviewServer } from "#test/kit/token-review.ts";

const REPOSITORY = join(import.meta.dirname, "../..");
const POLICY = `path "secret/data/*" { capabilities = ["read", "subscribe"] }
path "sys/events/subscribe/kv-*" { capabilities = ["subscribe"] }`;

export interface World extends AsyncDisposable {
  readonly folder: string;
  /** Of the audit device: a line for each request and each answer. */
  readonly auditFile: string;
  readonly address: string;
  readonly server: RunningServer;
  write(path: string, body: JsonObject): Promise<JsonObject>;
  /** Ends the server, and starts it again at the same address, unsealed. Gives the Unix milliseconds when it served. */
  restart(): Promise<number>;
}

/** `pods` have a secret each at secret/pods/<n>, and a token in <folder>/<n>/token. */
export async function startWorld(pods: number): Promise<World> {
  const folder = await mkdtemp(join(tmpdir(), "coffer-bench-"));
  const review = await startTokenReviewServer();
  const port = await freePort();
  const address = `http://127.0.0.1:${port}`;
  const config = await writeConfig(folder, { listener: { tcp: { address: `127.0.0.1:${port}`, tls_disable: true } } });
  const auditFile = join(folder, "audit.log");
  const world = { server: await startServer([`-config=${config}`]) };
  const made = await must(address, "", "POST", "sys/init", { secret_shares: 1, secret_threshold: 1 });
  const root = String(made["root_token"]);
  const key = Array.isArray(made["keys_base64"]) ? String(made["keys_base64"][0]) : "";
  const unseal = () => must(address, "", "POST", "sys/unseal", { key });
  const write = (path: string, body: JsonObject) => must(address, root, "POST", path, body);
  await unseal();
  await write("sys/audit/file", { type: "file", options: { file_path: auditFile } });
  await write("sys/mounts/secret", { type: "kv", options: { version: "2" } });
  await write("sys/auth/kubernetes", { type: "kubernetes" });
  await write("auth/kubernetes/config", { kubernetes_host: review.address, token_reviewer_jwt: "reviewer" });
  await write("sys/policies/acl/web", { policy: POLICY });
  await write("auth/kubernetes/role/web", {
    bound_service_account_names: ["*"],
    bound_service_account_namespaces: ["team"],
    token_policies: ["web"],
  });
  for (let n = 0; n < pods; n++) {
    await mkdir(join(folder, String(n)));
    await writeFile(join(folder, String(n), "token"), projectedToken("vault", "team", `web-${n}`));
    await write(`secret/data/pods/${n}`, { data: { user: `user-${n}`, password: "x".repeat(64) } });
  }
  return {
    ...{ folder, auditFile, address, write },
    get server() {
      return world.server;
    },
    async restart() {
      await world.server.stop();
      world.server = await startServer([`-config=${config}`]);
      await unseal();
      return Date.now();
    },
    async [Symbol.asyncDispose]() {
      await world.server.stop();
      await review.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** Bundles an entry as the image does; gives the program's file. */
export async function bundled(entry: string, out: string): Promise<string> {
  const tool = join(REPOSITORY, "tools/image/bundle.ts");
  await promisify(execFile)(process.execPath, [tool, "--entry", entry, "--out", out, "--name", "program"], {
    cwd: REPOSITORY,
  });
  return join(out, "program.js");
}

async function freePort(): Promise<number> {
  const taken = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => taken.once("listening", resolve));
  const bound = taken.address();
  await new Promise((resolve) => taken.close(resolve));
  if (bound === null || typeof bound === "string") throw new Error("a TCP server has a port");
  return bound.port;
}

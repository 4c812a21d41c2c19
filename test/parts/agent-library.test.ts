// The seam for a driver on each node: 200 pods' agents in one process, each with its own login, against a real server,
// within the memory that such a driver may take. They run in a process of their own, so that vitest's does not count.
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type JsonObject, parseJson } from "#common/json.ts";
import { jsonObject } from "#common/schema.ts";
import { must } from "#test/kit/client.ts";
import { type OpenServer, startDevelopmentServer } from "#test/kit/server.ts";
import { projectedToken, startTokenReviewServer, type TokenReviewServer } from "#test/kit/token-review.ts";

const REPOSITORY = join(import.meta.dirname, "../..");
const PODS = 200;
const RESIDENT_MIB_MAX = 120;
let server: OpenServer;
let review: TokenReviewServer;
let folder: string;
let child: ChildProcess;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "coffer-pods-"));
  review = await startTokenReviewServer();
  server = await startDevelopmentServer();
  const write = (path: string, body: object) => must(server.address, server.rootToken, "POST", path, { ...body });
  await write("sys/auth/kubernetes", { type: "kubernetes" });
  await write("auth/kubernetes/config", { kubernetes_host: review.address, token_reviewer_jwt: "reviewer" });
  const policy = `path "secret/data/pods/*" { capabilities = ["read", "subscribe"] }
    path "sys/events/subscribe/kv-*" { capabilities = ["subscribe"] }`;
  await write("sys/policies/acl/web", { policy });
  await write("auth/kubernetes/role/web", {
    bound_service_account_names: ["*"],
    bound_service_account_namespaces: ["team"],
    token_policies: ["web"],
  });
  for (let n = 0; n < PODS; n++) {
    await mkdir(join(folder, String(n)));
    await writeFile(join(folder, String(n), "token"), projectedToken("vault", "team", `web-${n}`));
    await write(`secret/data/pods/${n}`, { data: { user: `user-${n}`, password: "x".repeat(64) } });
  }
}, 60_000);

afterAll(async () => {
  child?.kill("SIGKILL");
  await server?.stop();
  await review?.close();
  await rm(folder, { recursive: true, force: true });
});

/** As the image holds the product: Node's translation of TypeScript alone would take 20 MiB. */
async function bundled(entry: string, out: string): Promise<string> {
  const tool = join(REPOSITORY, "tools/image/bundle.ts");
  await promisify(execFile)(process.execPath, [tool, "--entry", entry, "--out", out, "--name", "program"], {
    cwd: REPOSITORY,
  });
  return join(out, "program.js");
}

const file = (n: number) => readFile(join(folder, String(n), "out.json"), "utf8");

it(`serves ${PODS} pods from one process in ${RESIDENT_MIB_MAX} MiB, each with its own`, {
  timeout: 90_000,
}, async () => {
  const program = await bundled("test/kit/many-agents.ts", join(folder, "bundle"));
  // Started as the injector starts an agent.
  child = spawn(
    process.execPath,
    ["--lite-mode", "--disable-warning=ExperimentalWarning", program, server.address, folder, `${PODS}`],
    {
      stdio: ["pipe", "pipe", "inherit"],
    },
  );
  const lines: string[] = [];
  if (!child.stdout) throw new Error("the program has an output");
  createInterface({ input: child.stdout }).on("line", (line) => lines.push(line));
  await expect.poll(() => lines, { timeout: 60_000 }).toContain("ready");
  const ask = async (): Promise<JsonObject> => {
    const before = lines.length;
    child.stdin?.write("\n");
    await expect.poll(() => lines.length, { timeout: 10_000 }).toBeGreaterThan(before);
    return jsonObject.parse(parseJson(lines.at(-1) ?? ""));
  };
  expect(await Promise.all([0, 1, PODS - 1].map(file))).toEqual([
    expect.stringContaining('"user-0"'),
    expect.stringContaining('"user-1"'),
    expect.stringContaining(`"user-${PODS - 1}"`),
  ]);
  await expect.poll(async () => (await ask())["live"], { timeout: 30_000, interval: 500 }).toBe(PODS);
  // All read once more when they are connected.
  await expect
    .poll(async () => (await ask())["refreshed"], { timeout: 30_000, interval: 500 })
    .toBeGreaterThanOrEqual(PODS);
  // A change reaches one pod; the others' files stay.
  await must(server.address, server.rootToken, "POST", "secret/data/pods/7", { data: { user: "changed" } });
  await expect.poll(() => file(7), { timeout: 20_000 }).toContain("changed");
  expect(await file(8)).toContain("user-8");
  const report = await ask();
  process.stdout.write(`${PODS} pods in one process: ${JSON.stringify(report)}\n`);
  expect(report).toMatchObject({ ready: PODS, logins: PODS });
  expect(report["rssMiB"]).toBeLessThanOrEqual(RESIDENT_MIB_MAX);
  const ended = once(child, "exit");
  child.kill("SIGTERM");
  expect(await ended).toEqual([0, null]);
  const accessors = await must(server.address, server.rootToken, "GET", "auth/token/accessors?list=true");
  // Root's own; every pod's token was revoked.
  expect(accessors).toMatchObject({ data: { keys: [expect.any(String)] } });
});

// Passwords cost the server tens of milliseconds each, and anybody may send one: a flood of them must not keep other
// requests, or the audit log, waiting.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type ShamirServer, startShamirServer } from "#test/kit/server.ts";

/** As many as would hold Node's four threads for longer than an audit device may take. */
const LOGINS = 400;

let server: ShamirServer;
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "coffer-flood-"));
  server = await startShamirServer();
  await send("POST", "sys/auth/people", { type: "userpass" });
  await send("POST", "auth/people/users/ann", { password: "swordfish" });
  await send("POST", "sys/audit/file", { type: "file", options: { file_path: join(folder, "audit.log") } });
});
afterAll(async () => {
  await server?.stop();
  await rm(folder, { recursive: true, force: true });
});

async function send(method: string, path: string, body?: object): Promise<number> {
  const headers = { "X-Vault-Token": server.rootToken };
  const response = await fetch(`${server.address}/v1/${path}`, { method, headers, body: JSON.stringify(body) });
  await response.arrayBuffer();
  return response.status;
}

it("is refused in part, and everything else is answered", async () => {
  const login = (n: number) =>
    send("POST", `auth/people/login/${n % 2 ? "ann" : `nobody-${n}`}`, { password: "guess" });
  const flood = Promise.all(Array.from({ length: LOGINS }, (_, n) => login(n)));
  const others: number[] = [];
  let isOver = false;
  void flood.finally(() => {
    isOver = true;
  });
  while (!isOver) others.push(await send("GET", "sys/mounts"));
  expect(new Set(others)).toEqual(new Set([200]));
  // 403: after five wrong passwords the user is locked for a while.
  expect(new Set(await flood)).toEqual(new Set([400, 403, 503]));
  expect(await send("POST", "auth/people/login/bob", { password: "guess" })).toBe(400);
});

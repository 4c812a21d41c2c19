// Servers of several worker processes for tests: starts them, waits for all workers, connects to each of them, knows
// their process ids. Connections are handed out in turn, so a few tries find a connection to each worker; which one it is
// is told by what each worker counts.
import { randomBytes } from "node:crypto";
import { mkdtemp, readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "#common/clock.ts";
import type { JsonObject } from "#common/json.ts";
import { at } from "./client.ts";
import { type Connection, connect } from "./connection.ts";
import { type RunningServer, startServer, writeConfig } from "./server.ts";

const POLL_MILLIS = 25;
const WAIT_MILLIS_MAX = 60_000;
const staticSeal = () => ({ static: { current_key: randomBytes(32).toString("base64"), current_key_id: "one" } });
const KV = { type: "kv", options: { version: "2" } };
/** A server with an automatic seal that initialises itself, has a KV mount, and root rights for a test's own token. */
export const bootstrapped = () => ({
  seal: staticSeal(),
  bootstrap: {
    request: {
      secret: { operation: "update", path: "sys/mounts/secret", data: KV },
      userpass: { operation: "update", path: "sys/auth/userpass", data: { type: "userpass" } },
      all: {
        operation: "update",
        path: "sys/policies/acl/all",
        data: {
          policy: 'path "*" { capabilities = ["create","read","update","patch","delete","list","sudo","subscribe"] }',
        },
      },
      admin: {
        operation: "update",
        path: "auth/userpass/users/admin",
        data: { password: "pw", token_policies: "all" },
      },
    },
  },
});

export interface Started {
  readonly server: RunningServer;
  readonly folder: string;
  readonly config: string;
}

export async function start(extra: JsonObject, given?: string): Promise<Started> {
  const folder = given ?? (await mkdtemp(join(tmpdir(), "coffer-workers-")));
  const config = await writeConfig(folder, { workers: 2, pid_file: join(folder, "pid"), ...extra });
  const server = await startServer([`-config=${config}`]);
  await until(() => count(server.output(), /listening worker=\d/g) >= 2, "both workers listen", server);
  return { server, folder, config };
}

export function count(text: string, pattern: RegExp): number {
  return [...text.matchAll(pattern)].length;
}

export async function until(
  test: () => Promise<boolean> | boolean,
  what: string,
  server?: RunningServer,
): Promise<void> {
  const deadline = systemClock.now() + WAIT_MILLIS_MAX;
  while (!(await test())) {
    if (systemClock.now() > deadline) throw new Error(`waited in vain until ${what}\n${server?.output() ?? ""}`);
    await systemClock.sleep(POLL_MILLIS);
  }
}

export async function login({ address }: RunningServer): Promise<string> {
  using client = connect(address);
  return String(at(await client.must("POST", "auth/userpass/login/admin", { password: "pw" }), "auth", "client_token"));
}

/** What each worker has counted, by number. */
export async function requestsByWorker(client: Connection): Promise<Readonly<Record<string, number>>> {
  const { text } = await client.call("GET", "sys/metrics?format=prometheus");
  const lines = [...text.matchAll(/^coffer_worker_requests_total\{worker="(\d+)"\} (\d+)$/gm)];
  return Object.fromEntries(lines.map(([, worker = "", total]) => [worker, Number(total)]));
}

const PROOF_REQUESTS = 20;

/** The number of the worker at the other end. */
export async function workerOf(client: Connection): Promise<string> {
  const before = await requestsByWorker(client);
  for (let i = 0; i < PROOF_REQUESTS; i++) await client.must("GET", "sys/seal-status");
  const after = await requestsByWorker(client);
  const grown = Object.keys(after).filter((worker) => (after[worker] ?? 0) - (before[worker] ?? 0) >= PROOF_REQUESTS);
  return grown.join(",");
}

/** A connection to each worker, the first worker's first. */
export async function connectToBoth(
  address: string,
  token: string,
  ca?: string,
): Promise<readonly [Connection, Connection]> {
  const found = new Map<string, Connection>();
  for (let i = 0; i < 20 && found.size < 2; i++) {
    const client = connect(address, token, ca);
    const worker = await workerOf(client);
    if (found.has(worker)) client[Symbol.dispose]();
    else found.set(worker, client);
  }
  const [one, two] = [found.get("1"), found.get("2")];
  if (!one || !two) throw new Error(`all connections reached worker ${[...found.keys()]}`);
  return [one, two];
}

/** Of the workers that serve, from the newest lines of the log. */
export async function workerPids({ pid }: RunningServer): Promise<readonly number[]> {
  const text = await readFile(`/proc/${pid}/task/${pid}/children`, "utf8");
  return text.split(" ").filter(Boolean).map(Number);
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

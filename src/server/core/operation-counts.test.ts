// What a request of each kind costs in operations that no clock has a say in: calls of storage, keys read, commits,
// HMACs, hashes, encryptions, decryptions, lines of the audit log. Each row is exact, on a server that has seen such a
// request before. A number that grows is a request that became dearer: change it only on purpose, and say why in the
// commit. How long the operations take is measured by `npm run bench`.
import crypto from "node:crypto";
import { syncBuiltinESMExports } from "node:module";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { JsonObject } from "#common/json.ts";
import { createMetrics } from "#common/metrics.ts";
import { type Core, startCore, textOf } from "#test/kit/core.ts";
import { declareAuditMetrics } from "../audit/audit-metrics.ts";
import type { Operation } from "../framework/context.ts";
import { openMemoryStorage } from "../storage/memory/memory-storage.ts";
import type { Storage } from "../storage/storage.ts";

interface Counts {
  /** Calls of `get`: round trips where storage is elsewhere. */
  gets: number;
  keys: number;
  lists: number;
  scans: number;
  commits: number;
  /** Records in these commits. */
  writes: number;
  hmacs: number;
  hashes: number;
  encryptions: number;
  decryptions: number;
  auditLines: number;
}

interface Asked {
  readonly token?: string;
  readonly operation: Operation;
  readonly path: string;
  readonly data?: JsonObject;
}

const COLUMNS = [
  ...(["gets", "keys", "lists", "scans", "commits", "writes"] as const),
  ...(["hmacs", "hashes", "encryptions", "decryptions", "auditLines"] as const),
];
const PAIRS = { a: "one", b: "two" };

const NAME_WIDTH = 27;

/** One row for each kind of request. */
const EXPECTED = `
                            gets keys lists scans commits writes hmacs hashes encryptions decryptions auditLines
seal status                    2    2     0     0       0      0     0      0           0           0          0
KV v1 read                     2    9     0     0       0      0     5      2           0           1          2
KV v1 write                    2    9     0     0       1      1     7      2           1           1          2
KV v1 list                     1    8     1     0       0      0     4      2           0           0          2
KV v2 read                     3   10     0     0       0      0     7      2           0           1          2
KV v2 read, batch token        5   10     0     0       0      0     8      2           0           2          2
KV v2 write                    3   10     0     0       1      2     9      2           2           1          2
KV v2 list                     1    8     1     0       0      0     4      2           0           0          2
cubbyhole read                 2    9     0     0       0      0     3      2           0           0          2
AppRole login                  7   12     0     0       1      4    12      7           4           4          2
AppRole login, batch token     8   13     0     0       0      0    12      6           1           4          2
token lookup-self              1    8     0     0       0      0    14      2           0           0          2
token create                   3    7     0     0       1      6     9      3           6           0          2
token renew-self               1    8     0     0       1      1     8      2           1           1          2
token revoke-self              4    9     2     1       1      6     5      3           0           1          2
refused by policy              7    9     0     0       0      0     4      2           1           0          2
`;

let counts: Counts;
const restore: (() => void)[] = [];
const metrics = createMetrics();
let core: Core;
let requests: Readonly<Record<string, (n: number) => Asked>>;

beforeAll(async () => {
  counts = zero();
  countCalls("createHmac", "hmacs");
  countCalls("createHash", "hashes");
  countCalls("hash", "hashes");
  countCalls("createCipheriv", "encryptions");
  countCalls("createDecipheriv", "decryptions");
  syncBuiltinESMExports();
  core = await startCore({ storage: counting(openMemoryStorage()) });
  core.services.audit.countBy(declareAuditMetrics(metrics));
  requests = await prepare();
});

afterAll(() => {
  for (const undo of restore) undo();
  syncBuiltinESMExports();
});

describe("the operations of a request", () => {
  const rows = parse(EXPECTED);

  it("are told for every kind", () => {
    expect([...rows.keys()]).toEqual(Object.keys(requests));
  });

  it("are as the table says", async () => {
    const seen: string[] = [];
    for (const [name, ask] of Object.entries(requests)) {
      await send(ask(0));
      counts = zero();
      const before = auditLines();
      await send(ask(1));
      counts.auditLines = auditLines() - before;
      seen.push(format(name, counts));
    }
    expect(seen.join("\n")).toEqual([...rows].map(([name, row]) => format(name, row)).join("\n"));
  });
});

async function prepare(): Promise<Readonly<Record<string, (n: number) => Asked>>> {
  await core.root("update", "sys/audit/file", { type: "file", options: { file_path: "discard" } });
  await core.root("update", "sys/mounts/v1", { type: "kv" });
  await core.root("update", "sys/mounts/v2", { type: "kv", options: { version: "2" } });
  await core.root("update", "v1/app/k", PAIRS);
  await core.root("update", "v2/data/app/k", { data: PAIRS });
  await core.policy("app", 'path "v1/*" { capabilities = ["create", "read", "update", "delete", "list"] }');
  await core.policy("app2", 'path "v2/*" { capabilities = ["create", "read", "update", "delete", "list"] }');
  const token = await core.token({ policies: ["app", "app2"] });
  const batch = await core.token({ policies: ["app", "app2"], type: "batch" });
  const short = await Promise.all([1, 2].map(() => core.token({ policies: ["app"], period: "1h" })));
  await core.root("update", "sys/auth/approle", { type: "approle" });
  const service = await appRole("service");
  const batches = await appRole("batch");
  const login = (data: JsonObject) => () =>
    ({ token: "", operation: "update", path: "auth/approle/login", data }) as const;
  return {
    "seal status": () => ({ token: "", operation: "read", path: "sys/seal-status" }),
    "KV v1 read": () => ({ token, operation: "read", path: "v1/app/k" }),
    "KV v1 write": () => ({ token, operation: "update", path: "v1/app/k", data: PAIRS }),
    "KV v1 list": () => ({ token, operation: "list", path: "v1/app/" }),
    "KV v2 read": () => ({ token, operation: "read", path: "v2/data/app/k" }),
    "KV v2 read, batch token": () => ({ token: batch, operation: "read", path: "v2/data/app/k" }),
    "KV v2 write": () => ({ token, operation: "update", path: "v2/data/app/k", data: { data: PAIRS } }),
    "KV v2 list": () => ({ token, operation: "list", path: "v2/metadata/app/" }),
    "cubbyhole read": () => ({ token, operation: "read", path: "cubbyhole/k" }),
    "AppRole login": login(service),
    "AppRole login, batch token": login(batches),
    "token lookup-self": () => ({ token, operation: "read", path: "auth/token/lookup-self" }),
    "token create": () => ({ operation: "update", path: "auth/token/create", data: { policies: ["app"] } }),
    "token renew-self": () => ({ token, operation: "update", path: "auth/token/renew-self" }),
    "token revoke-self": (n) => ({ token: short[n] ?? "", operation: "update", path: "auth/token/revoke-self" }),
    "refused by policy": () => ({ token, operation: "read", path: "sys/policies/acl/app" }),
  };
}

async function appRole(name: "service" | "batch"): Promise<JsonObject> {
  const role = `auth/approle/role/${name}`;
  await core.root("update", role, { token_policies: "app", token_type: name });
  return {
    role_id: textOf((await core.root("read", `${role}/role-id`)).data, "role_id"),
    secret_id: textOf((await core.root("update", `${role}/secret-id`)).data, "secret_id"),
  };
}

function send({ token = core.rootToken, operation, path, data }: Asked) {
  return core.send(token, operation, path, data);
}

function auditLines(): number {
  return Number(/^coffer_audit_lines_total\{.*\} (\d+)$/m.exec(metrics.render())?.[1] ?? 0);
}

function counting(storage: Storage): Storage {
  return new Proxy(storage, {
    get(target, name: keyof Storage) {
      if (name === "get") {
        return (keys: readonly string[]) => {
          counts.gets++;
          counts.keys += keys.length;
          return target.get(keys);
        };
      }
      if (name === "list") return (...of: Parameters<Storage["list"]>) => counted("lists", () => target.list(...of));
      if (name === "scan") return (...of: Parameters<Storage["scan"]>) => counted("scans", () => target.scan(...of));
      if (name === "commit") {
        return (batch: Parameters<Storage["commit"]>[0]) => {
          counts.writes += batch.writes.size;
          return counted("commits", () => target.commit(batch));
        };
      }
      const member = target[name];
      return typeof member === "function" ? member.bind(target) : member;
    },
  });
}

function counted<T>(column: keyof Counts, work: () => T): T {
  counts[column]++;
  return work();
}

type CryptoCall = "createHmac" | "createHash" | "hash" | "createCipheriv" | "createDecipheriv";

/** The module's own exports are what `import` binds to, once they are synchronised. */
function countCalls(name: CryptoCall, column: keyof Counts): void {
  const original = crypto[name];
  const wrapped = function (this: unknown, ...of: unknown[]): unknown {
    counts[column]++;
    return Reflect.apply(original, this, of);
  };
  Reflect.set(crypto, name, wrapped);
  restore.push(() => Reflect.set(crypto, name, original));
}

function zero(): Counts {
  const none = { gets: 0, keys: 0, lists: 0, scans: 0, commits: 0, writes: 0 };
  return { ...none, hmacs: 0, hashes: 0, encryptions: 0, decryptions: 0, auditLines: 0 };
}

function format(name: string, row: Counts): string {
  return `${name.padEnd(NAME_WIDTH)} ${COLUMNS.map((column) => `${row[column]}`.padStart(column.length)).join(" ")}`;
}

/** Rows of the table above, by their name. */
function parse(table: string): ReadonlyMap<string, Counts> {
  const lines = table.split("\n").filter((line) => line.trim() !== "");
  const rows = lines.slice(1).map((line): [string, Counts] => {
    const numbers = line.slice(NAME_WIDTH).trim().split(/\s+/).map(Number);
    const row = zero();
    for (const [i, column] of COLUMNS.entries()) row[column] = numbers[i] ?? Number.NaN;
    return [line.slice(0, NAME_WIDTH).trim(), row];
  });
  return new Map(rows);
}

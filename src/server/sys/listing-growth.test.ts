import { beforeAll, describe, expect, it } from "vitest";
import type { JsonObject } from "#common/json.ts";
import { type Core, objectOf, startCore } from "#test/kit/core.ts";
import { openMemoryStorage } from "../storage/memory/memory-storage.ts";
import type { Storage } from "../storage/storage.ts";

const PAGE = 5;
const [FEW, MANY] = [12, 60];
/** One at the end of a page is looked at to know whether there is more. */
const SLACK = 3;

interface Counted {
  readonly core: Core;
  /** Keys and names that storage was asked for by a request. */
  rowsOf(path: string, operation?: "list" | "scan" | "read"): Promise<{ rows: number; keys: number }>;
}

async function startCounted(): Promise<Counted> {
  const storage = openMemoryStorage();
  let rows = 0;
  const counted: Storage = Object.assign(
    storage,
    countedCalls(storage, (more) => (rows += more)),
  );
  const core = await startCore({ storage: counted });
  return {
    core,
    async rowsOf(path, operation = "list") {
      const before = rows;
      const reply = await core.send(core.rootToken, operation, path, {}, { limit: PAGE });
      const names = reply.data["keys"];
      return { rows: rows - before, keys: Array.isArray(names) ? names.length : 0 };
    },
  };
}

function countedCalls(storage: Storage, add: (rows: number) => void): Pick<Storage, "get" | "list" | "scan"> {
  const [get, list, scan] = [storage.get.bind(storage), storage.list.bind(storage), storage.scan.bind(storage)];
  const counted = async <T extends readonly unknown[]>(found: Promise<T>): Promise<T> => {
    add((await found).length);
    return found;
  };
  return {
    get: (keys) => counted(get(keys)),
    list: (prefix, page) => counted(list(prefix, page)),
    scan: (range) => counted(scan(range)),
  };
}

async function grow({ core }: Counted, from: number, to: number): Promise<void> {
  for (let n = from; n < to; n++) {
    const write = (path: string, data: JsonObject = {}) => core.root("update", path, data);
    const name = `n${String(n).padStart(4, "0")}`;
    await write("auth/token/create", { policies: ["default"], ttl: "1h" });
    const entity = await write("identity/entity", { name });
    await write("identity/entity-alias", {
      ...{ name, canonical_id: entity.data["id"] ?? null, mount_accessor: await accessorOf(core) },
    });
    await write("identity/group", { name });
    await write(`flat/${name}`, { a: "1" });
    await write(`versioned/data/${name}`, { data: {} });
    await write(`sys/namespaces/${name}`);
    await write(`auth/approle/role/${name}`, {});
    await write("auth/approle/role/fixed/secret-id", {});
  }
}

async function accessorOf(core: Core): Promise<string> {
  const table = (await core.root("read", "sys/auth")).data;
  return String(objectOf(table, "approle/")["accessor"]);
}

describe("a page of a listing reads as much of a store that has grown", () => {
  const paths: readonly (readonly [path: string, operation?: "list" | "scan"])[] = [
    ["auth/token/accessors"],
    ["sys/leases/lookup/auth/token/create"],
    ["identity/entity/id"],
    ["identity/entity/name"],
    ["identity/entity-alias/id"],
    ["identity/group/id"],
    ["identity/group/name"],
    ["flat"],
    ["flat", "scan"],
    ["versioned/metadata"],
    ["versioned/metadata", "scan"],
    ["versioned/detailed-metadata"],
    ["sys/namespaces"],
    ["auth/approle/role"],
    ["auth/approle/role/fixed/secret-id"],
  ];
  const few = new Map<string, number>();
  let counted: Counted;
  const nameOf = ([path, operation = "list"]: (typeof paths)[number]) => `${operation} ${path}`;

  beforeAll(async () => {
    counted = await startCounted();
    await counted.core.root("update", "sys/mounts/flat", { type: "kv" });
    await counted.core.root("update", "sys/mounts/versioned", { type: "kv", options: { version: "2" } });
    await counted.core.root("update", "sys/auth/approle", { type: "approle" });
    await counted.core.root("update", "auth/approle/role/fixed", {});
    await grow(counted, 0, FEW);
    for (const each of paths) few.set(nameOf(each), (await counted.rowsOf(...each)).rows);
    await grow(counted, FEW, MANY);
  });

  it.each(paths.map((each) => [nameOf(each), each] as const))("%s", async (name, each) => {
    const { rows, keys } = await counted.rowsOf(...each);
    expect(keys).toBe(PAGE);
    expect(rows).toBeLessThanOrEqual((few.get(name) ?? 0) + SLACK);
  });
});

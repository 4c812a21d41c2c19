// The promise of namespaces over the whole pipeline: whatever a request in one asks for, with whatever token of it, no
// record of a namespace beside or above it is read, listed or written.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { JsonObject } from "#common/json.ts";
import { type Core, objectOf, startCore, textOf } from "#test/kit/core.ts";
import type { Operation } from "../framework/context.ts";
import { openMemoryStorage } from "../storage/memory/memory-storage.ts";
import type { Storage } from "../storage/storage.ts";

const ALL = 'path "*" { capabilities = ["create", "read", "update", "patch", "delete", "list", "scan", "sudo"] }';
const CASES = 300;

/** Keys and ranges that storage is asked for, while watched. */
function watched(): { storage: Storage; touched: { from: string; to: string }[] } {
  const storage = openMemoryStorage();
  const touched: { from: string; to: string }[] = [];
  const key = (one: string) => touched.push({ from: one, to: one });
  const { get, list, scan, commit } = storage;
  storage.get = (keys) => {
    keys.map(key);
    return get.call(storage, keys);
  };
  storage.list = (prefix, page) => {
    touched.push({ from: prefix, to: `${prefix}\u{10ffff}` });
    return list.call(storage, prefix, page);
  };
  storage.scan = (range) => {
    touched.push({ from: range.from, to: range.to });
    return scan.call(storage, range);
  };
  storage.commit = (batch) => {
    [...batch.writes.keys()].map(key);
    return commit.call(storage, batch);
  };
  return { storage, touched };
}

interface Neighbour {
  /** Prefixes of all that is its own. */
  readonly prefixes: readonly string[];
  readonly token: string;
  readonly accessor: string;
  readonly leases: readonly string[];
}

async function furnish(core: Core, namespace: string): Promise<Neighbour> {
  const inside = { namespace };
  await core.root("update", "sys/mounts/kv", { type: "kv" }, inside);
  await core.root("update", "kv/a", { v: namespace }, inside);
  await core.root("update", "sys/policies/acl/all", { policy: ALL }, inside);
  await core.root("update", "identity/entity", { name: "ann" }, inside);
  const { auth } = await core.root("update", "auth/token/create", { policies: ["all"], ttl: "1h" }, inside);
  const mounts = Object.values((await core.root("read", "sys/mounts", {}, inside)).data);
  const own = mounts
    .map((mount) => objectOf({ mount }, "mount"))
    .filter((mount) => mount["type"] !== "ns_cubbyhole" && mount["type"] !== "cubbyhole");
  const id = namespace === "" ? "" : textOf((await core.root("read", `sys/namespaces/${namespace}`)).data, "id");
  const ownRecords =
    id === "" ? ["core/mount/", "core/policy/", "core/lease/", "core/token/accessor/", "identity/"] : [`ns/${id}/`];
  const leases = [...(await core.dump(id === "" ? "core/lease/" : `ns/${id}/core/lease/`)).keys()];
  return {
    prefixes: [...ownRecords, ...own.map((mount) => `mount/${textOf(mount, "uuid")}/`)],
    token: textOf(auth, "client_token"),
    accessor: textOf(auth, "accessor"),
    leases: leases.map((key) => key.slice(key.indexOf("core/lease/") + "core/lease/".length)),
  };
}

/** What a request may ask for; much of it tries to get out. */
const PATHS = [
  ...["kv/a", "kv", "c/kv/a", "../c/kv/a", "/c/kv/a", "a/kv/a", "root/kv/a", "sys/mounts", "sys/mounts/kv"],
  ...["sys/policies/acl", "sys/policies/acl/all", "sys/namespaces", "sys/namespaces/c", "sys/namespaces/../c"],
  ...["sys/namespaces/api-lock/lock/c", "sys/internal/ui/mounts", "sys/internal/ui/mounts/c/kv", "sys/capabilities"],
  ...[
    "sys/leases/lookup",
    "sys/leases/lookup/",
    "sys/leases/revoke",
    "sys/leases/renew",
    "sys/leases/revoke-prefix/auth",
  ],
  ...["sys/remount", "sys/policies/explain", "sys/wrapping/lookup", "sys/wrapping/unwrap", "sys/locked-users"],
  ...["auth/token/lookup", "auth/token/revoke", "auth/token/renew", "auth/token/lookup-accessor", "auth/token/create"],
  ...[
    "auth/token/accessors",
    "auth/token/revoke-accessor",
    "auth/token/revoke-orphan",
    "cubbyhole/x",
    "identity/entity",
  ],
  ...["identity/entity/name/ann", "identity/lookup/entity", "sys/internal/counters/entities", "sys/tools/random"],
];

describe("isolation of namespaces", () => {
  it("no request in one touches a record of another that is not below it", { timeout: 60_000 }, async () => {
    const { storage, touched } = watched();
    const core = await startCore({ storage });
    for (const name of ["a", "c"]) await core.root("update", `sys/namespaces/${name}`);
    const [above, , beside] = [await furnish(core, ""), await furnish(core, "a"), await furnish(core, "c")];
    const foreign = [...above.prefixes, ...beside.prefixes];
    const mayNot = ({ from, to }: { from: string; to: string }) =>
      foreign.some((prefix) => from.startsWith(prefix) || (from <= prefix && to > prefix));

    const names = [beside.token, above.token, beside.accessor, above.accessor, ...beside.leases, ...above.leases];
    const data = fc.record(
      {
        token: fc.constantFrom(...names),
        accessor: fc.constantFrom(...names),
        lease_id: fc.constantFrom(...names),
        from: fc.constantFrom("kv", "c/kv", "../c/kv"),
        to: fc.constantFrom("c/stolen", "../stolen", "kv2"),
        policies: fc.constant(["all"]),
        paths: fc.constant(["c/kv/a", "kv/a"]),
        path: fc.constantFrom("c/kv/a", "kv/a"),
        name: fc.constant("ann"),
        type: fc.constant("kv"),
      },
      { requiredKeys: [] },
    );
    const operation = fc.constantFrom<Operation>("read", "update", "delete", "list", "scan", "patch");
    await fc.assert(
      fc.asyncProperty(operation, fc.constantFrom(...PATHS), data, async (asked, path, sent: JsonObject) => {
        // A new one each time: some of the requests end it.
        const { auth } = await core.root("update", "auth/token/create", { policies: ["all"] }, { namespace: "a" });
        touched.length = 0;
        await core.send(textOf(auth, "client_token"), asked, path, sent, { namespace: "a" });
        expect(touched.filter(mayNot)).toEqual([]);
      }),
      { numRuns: CASES },
    );
    for (const namespace of ["", "c"])
      expect((await core.root("read", "kv/a", {}, { namespace })).data).toEqual({ v: namespace });
  });
});

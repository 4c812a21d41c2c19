import { beforeEach, describe, expect, it } from "vitest";
import { FakeClock } from "#common/clock.ts";
import type { JsonObject } from "#common/json.ts";
import { silentLog } from "#common/log.ts";
import { SecretBytes } from "#common/secret-bytes.ts";
import { Barrier } from "../barrier/barrier.ts";
import { storageView } from "../barrier/storage-view.ts";
import type { PrivilegedContext } from "../framework/context.ts";
import { nothingOutside } from "../framework/outside.ts";
import type { Reply } from "../framework/reply.ts";
import { createMount } from "../mounts/mount-table.ts";
import { ROOT_SCOPE } from "../namespaces/namespace-scope.ts";
import { openMemoryStorage } from "../storage/memory/memory-storage.ts";
import { TokenService } from "../tokens/token-service.ts";
import { identityBackend } from "./backend.ts";
import { BATCH_DELETE_MAX } from "./entity-paths.ts";
import { GROUP_MEMBERS_MAX } from "./groups.ts";
import {
  METADATA_KEY_BYTES_MAX,
  METADATA_PAIRS_MAX,
  METADATA_VALUE_BYTES_MAX,
  NAME_BYTES_MAX,
} from "./identity-records.ts";
import { IdentityStore } from "./identity-store.ts";

const clock = new FakeClock();
const backend = identityBackend({ tokens: new TokenService(clock), apiAddress: "http://127.0.0.1:8200" });
let barrier: Barrier;
let accessor: string;
let accessor2: string;

beforeEach(async () => {
  barrier = new Barrier({ storage: openMemoryStorage(), clock, log: silentLog });
  using rootKey = SecretBytes.random(32);
  await barrier.initialize({ rootKey, plain: [] });
  await barrier.unseal(rootKey);
  const tx = barrier.begin();
  accessor = (await createMount(tx, { path: "auth/up/", type: "userpass" })).accessor;
  accessor2 = (await createMount(tx, { path: "auth/vp/", type: "userpass" })).accessor;
  await createMount(tx, { path: "secret/", type: "kv" });
  await tx.commit();
});

async function call(
  operation: PrivilegedContext["operation"],
  path: string,
  data: JsonObject = {},
  after?: string,
): Promise<Reply | undefined> {
  const transaction = barrier.begin();
  const context: PrivilegedContext = {
    ...{
      operation,
      path,
      data,
      transaction,
      clock,
      log: silentLog,
      storage: storageView(transaction, "mount/identity/"),
    },
    mount: {
      ...{ path: "identity/", type: "identity", accessor: "identity_1", uuid: "1", options: {} },
      ...{ defaultTtlSeconds: 1, maxTtlSeconds: 1 },
    },
    ...{ caller: undefined, remoteAddress: "127.0.0.1", clientToken: "", wrapTtlSeconds: undefined, hasSudo: true },
    ...{ namespace: "", scope: ROOT_SCOPE, query: {}, page: { limit: 10_000, ...(after !== undefined && { after }) } },
    passwordByPolicy: async () => undefined,
    emit: () => undefined,
    outside: nothingOutside,
  };
  for (const candidate of backend.paths) {
    const parameters = candidate.match(path);
    if (!parameters || !candidate.operations.has(operation)) continue;
    const reply = await candidate.handle(operation, context, parameters);
    expect(await transaction.commit()).toBe("committed");
    return reply;
  }
  throw new Error(`no path ${path}`);
}

const write = (path: string, data: JsonObject) => call("update", path, data);
async function made(path: string, data: JsonObject): Promise<string> {
  return String((await write(path, data))?.data?.["id"]);
}
const entity = async (id: string) => (await call("read", `entity/id/${id}`))?.data;
const refused = (message: string) => ({ code: "invalid_request", message });

describe("identity: entities", () => {
  it("hold to the limits of metadata and names", async () => {
    const full = Object.fromEntries(
      Array.from({ length: METADATA_PAIRS_MAX }, (_, i) => [
        `${i}`.padStart(METADATA_KEY_BYTES_MAX, "k"),
        "v".repeat(METADATA_VALUE_BYTES_MAX),
      ]),
    );
    const id = await made("entity", { name: "n".repeat(NAME_BYTES_MAX), metadata: full });
    expect((await entity(id))?.["metadata"]).toEqual(full);
    const beyond = [{ ...full, more: "1" }, { ["k".repeat(METADATA_KEY_BYTES_MAX + 1)]: "v" }, { "": "v" }];
    for (const metadata of [...beyond, { k: "v".repeat(METADATA_VALUE_BYTES_MAX + 1) }])
      await expect(write("entity", { name: "x", metadata })).rejects.toMatchObject({ code: "invalid_request" });
    await expect(write("entity", { name: "n".repeat(NAME_BYTES_MAX + 1) })).rejects.toMatchObject({
      code: "invalid_request",
    });
    expect(await call("read", "entity/name/x")).toBeUndefined();
  });

  it("are listed by name as written, in pages, with what they are", async () => {
    const ids = [await made("entity", { name: "Bea" }), await made("entity", { name: "a/nn" })];
    expect((await call("list", "entity/name/"))?.data).toEqual({
      keys: ["a/nn", "Bea"],
      key_info: { "a/nn": { id: ids[1], aliases: [] }, Bea: { id: ids[0], aliases: [] } },
    });
    expect((await call("list", "entity/name", {}, "A/NN"))?.data?.["keys"]).toEqual(["Bea"]);
    expect((await call("list", "entity/id"))?.data?.["keys"]).toEqual(ids.toSorted());
    expect((await call("read", "entity/name/A/nn"))?.data?.["id"]).toBe(ids[1]);
  });

  it("cannot be given root, nor deleted in too large a batch", async () => {
    await expect(write("entity", { policies: "Root" })).rejects.toMatchObject(refused("policies cannot contain root"));
    const ids = Array.from({ length: BATCH_DELETE_MAX + 1 }, (_, i) => `id-${i}`);
    await expect(write("entity/batch-delete", { entity_ids: ids })).rejects.toMatchObject({ code: "invalid_request" });
    await expect(write("entity/batch-delete", {})).rejects.toMatchObject(refused("missing entity ids to delete"));
    expect(await write("entity/batch-delete", { entity_ids: ids.slice(1) })).toEqual({});
  });
});

describe("identity: aliases", () => {
  it("make an entity when none is named, and move to another when told", async () => {
    const reply = await write("entity-alias", { name: "u", mount_accessor: accessor });
    const [alias, first] = [String(reply?.data?.["id"]), String(reply?.data?.["canonical_id"])];
    expect((await entity(first))?.["aliases"]).toMatchObject([{ id: alias, name: "u", mount_path: "auth/up/" }]);
    const second = await made("entity", { name: "second" });
    await write(`entity-alias/id/${alias}`, { canonical_id: second, custom_metadata: { k: "v" } });
    expect((await entity(first))?.["aliases"]).toEqual([]);
    expect((await call("read", `entity-alias/id/${alias}`))?.data).toMatchObject({ canonical_id: second, name: "u" });
    expect((await write("lookup/entity", { alias_name: "u", alias_mount_accessor: accessor }))?.data?.["id"]).toBe(
      second,
    );
    await write(`entity-alias/id/${alias}`, { name: "w", mount_accessor: accessor2 });
    expect(await write("lookup/entity", { alias_name: "u", alias_mount_accessor: accessor })).toEqual({});
    expect((await call("list", "entity-alias/id"))?.data?.["key_info"]).toEqual({
      [alias]: {
        ...{ canonical_id: second, local: false, mount_accessor: accessor2, mount_path: "auth/vp/" },
        ...{ mount_type: "userpass", name: "w" },
      },
    });
  });

  it("cannot take what another entity has", async () => {
    await write("entity-alias", { name: "u", mount_accessor: accessor });
    const other = await made("entity-alias", { name: "w", mount_accessor: accessor });
    await expect(write(`entity-alias/id/${other}`, { name: "u" })).rejects.toMatchObject({ code: "invalid_request" });
    await expect(write("entity-alias/id/none", { name: "u" })).rejects.toMatchObject(refused("invalid alias id"));
    await expect(
      write("entity-alias", { name: "x", mount_accessor: accessor, canonical_id: "none" }),
    ).rejects.toMatchObject(refused("invalid canonical ID"));
  });
});

describe("identity: what old clients write", () => {
  it.each(["alias", "persona"])("%s is an entity-alias", async (base) => {
    const canonical = await made("entity", { name: "e" });
    const data = { name: "u", mount_accessor: accessor, entity_id: canonical, metadata: { team: "red" } };
    const alias = await made(base, data);
    const read = (await call("read", `${base}/id/${alias}`))?.data;
    expect(read).toMatchObject({
      id: alias,
      canonical_id: canonical,
      custom_metadata: { team: "red" },
      metadata: null,
    });
    expect((await call("read", `entity-alias/id/${alias}`))?.data).toEqual(read);
    await write(`${base}/id/${alias}`, { name: "v", mount_accessor: accessor });
    expect((await call("list", `${base}/id`))?.data).toMatchObject({
      keys: [alias],
      key_info: { [alias]: { name: "v" } },
    });
    await call("delete", `${base}/id/${alias}`);
    expect(await call("read", `${base}/id/${alias}`)).toBeUndefined();
  });

  it.each(["entity", "group"])("%s/name takes an id, and then gives the name", async (kind) => {
    const id = await made(kind, { name: "old" });
    await write(`${kind}/name/new`, { id, policies: "p" });
    expect((await call("read", `${kind}/id/${id}`))?.data).toMatchObject({ name: "new", policies: ["p"] });
    expect(await call("read", `${kind}/name/old`)).toBeUndefined();
    await expect(write(`${kind}/name/x`, { id: "none" })).rejects.toMatchObject(refused(`${kind} not found from id`));
  });
});

describe("identity: merge", () => {
  it("hands over aliases and groups, and leads tokens of the old entity to the new one", async () => {
    const [to, from] = [await made("entity", { name: "to", policies: "t" }), await made("entity", { policies: "f" })];
    const alias = await made("entity-alias", { name: "u", mount_accessor: accessor, canonical_id: from });
    await made("group", { name: "g", policies: "of-g", member_entity_ids: [from] });
    await write("entity/merge", { from_entity_ids: [from], to_entity_id: to });
    const tx = barrier.begin();
    expect(await new IdentityStore(clock).view(tx, from)).toMatchObject({ id: to, policies: ["of-g", "t"] });
    expect((await call("read", `entity-alias/id/${alias}`))?.data?.["canonical_id"]).toBe(to);
    expect((await call("read", "group/name/g"))?.data?.["member_entity_ids"]).toEqual([to]);
    const last = await made("entity", { name: "last" });
    await write("entity/merge", { from_entity_ids: [to], to_entity_id: last });
    expect(await new IdentityStore(clock).view(barrier.begin(), from)).toMatchObject({ id: last });
    await call("delete", `entity/id/${last}`);
    expect(await new IdentityStore(clock).view(barrier.begin(), from)).toMatchObject({ disabled: true });
  });

  it("asks which alias stays when two are of one mount", async () => {
    const aliases = [
      await write("entity-alias", { name: "u", mount_accessor: accessor }),
      await write("entity-alias", { name: "w", mount_accessor: accessor }),
    ].map((reply) => ({ id: String(reply?.data?.["id"]), of: String(reply?.data?.["canonical_id"]) }));
    const merge = { from_entity_ids: [aliases[0]?.of ?? ""], to_entity_id: aliases[1]?.of ?? "" };
    await expect(write("entity/merge", merge)).rejects.toMatchObject({ code: "invalid_request" });
    await write("entity/merge", { ...merge, conflicting_alias_ids_to_keep: [aliases[0]?.id ?? ""] });
    expect((await entity(merge.to_entity_id))?.["aliases"]).toMatchObject([{ name: "u" }]);
    expect(await call("read", `entity-alias/id/${aliases[1]?.id}`)).toBeUndefined();
  });

  it.each([
    [{ from_entity_ids: "a" }, "missing entity id to merge to"],
    [{ to_entity_id: "a" }, "missing entity ids to merge from"],
    [{ from_entity_ids: "a,b", to_entity_id: "a" }, "to_entity_id should not be present in from_entity_ids"],
    [{ from_entity_ids: "a", to_entity_id: "b" }, "entity id to merge to is invalid"],
  ])("refuses %j", async (data, message) => {
    await expect(write("entity/merge", data)).rejects.toMatchObject(refused(message));
  });
});

describe("identity: groups", () => {
  it("refuse unknown members, circles and too many members; nothing is half written", async () => {
    const ids = Array.from({ length: GROUP_MEMBERS_MAX + 1 }, (_, i) => `id-${i}`);
    for (const members of [{ member_entity_ids: ids }, { member_entity_ids: ["none"] }, { member_group_ids: ["none"] }])
      await expect(write("group", { name: "g", ...members })).rejects.toMatchObject({ code: "invalid_request" });
    expect(await call("read", "group/name/g")).toBeUndefined();
    const [a, b] = [await made("group", { name: "a" }), await made("group", { name: "b" })];
    await write(`group/id/${a}`, { member_group_ids: [b] });
    await expect(write(`group/id/${b}`, { member_group_ids: [a] })).rejects.toMatchObject({ code: "invalid_request" });
    expect((await call("read", `group/id/${b}`))?.data).toMatchObject({ parent_group_ids: [a], member_entity_ids: [] });
    await call("delete", `group/id/${a}`);
    expect((await call("read", `group/id/${b}`))?.data?.["parent_group_ids"]).toBeNull();
  });

  it("of external type have one alias, which can make them and move", async () => {
    const alias = await write("group-alias", { name: "devs", mount_accessor: accessor });
    const [id, first] = [String(alias?.data?.["id"]), String(alias?.data?.["canonical_id"])];
    expect((await call("read", `group/id/${first}`))?.data).toMatchObject({
      type: "external",
      alias: { id, name: "devs" },
    });
    const second = await made("group", { name: "second", type: "external" });
    await write(`group-alias/id/${id}`, { canonical_id: second });
    expect((await call("read", `group/id/${first}`))?.data?.["alias"]).toEqual({});
    expect((await write("lookup/group", { alias_name: "devs", alias_mount_accessor: accessor }))?.data?.["id"]).toBe(
      second,
    );
    await expect(
      write("group-alias", { name: "ops", mount_accessor: accessor, canonical_id: second }),
    ).rejects.toMatchObject(refused("the group has an alias already; change that one or delete it first"));
    await call("delete", `group-alias/id/${id}`);
    expect(await call("list", "group-alias/id")).toBeUndefined();
  });

  it("are looked up by one thing at a time", async () => {
    const id = await made("group", { name: "g" });
    expect((await write("lookup/group", { name: "G" }))?.data?.["id"]).toBe(id);
    expect(await write("lookup/group", { id: "none" })).toEqual({});
    await expect(write("lookup/group", { alias_name: "x" })).rejects.toMatchObject(
      refused("both 'alias_name' and 'alias_mount_accessor' must be set"),
    );
  });
});

// Kinds `entities`, `aliases`, `groups` and `group-members`: identity by name, because each server gives its own ids;
// aliases by the path of their auth mount, because each server gives its own accessors.
import { isJsonArray, isJsonObject, type JsonObject, type JsonValue } from "#common/json.ts";
import { namesBelow, pick, planRecord, readOrNone } from "./compare-records.ts";
import { type Ends, type ImportItem, type ImportKind, type Plan, skipped } from "./import-item.ts";
import { accessorsOf } from "./mount-tables.ts";

type Accessors = Awaited<ReturnType<typeof accessorsOf>>;
type Noun = "entity" | "group";

const ENTITY_FIELDS = ["metadata", "policies", "disabled"];
const GROUP_FIELDS = ["type", "metadata", "policies"];

/** Every record of the source, one after the other. */
async function* recordsOf(ends: Ends, noun: Noun): AsyncGenerator<JsonObject & { readonly name: string }> {
  for await (const id of namesBelow(ends.source, `identity/${noun}/id`)) {
    const record = await readOrNone(ends.source, `identity/${noun}/id/${id}`);
    const name = record?.["name"];
    if (record !== undefined && typeof name === "string") yield { ...record, name };
  }
}

const byName = (noun: Noun, name: string) => `identity/${noun}/name/${name}`;

export const entities: ImportKind = {
  name: "entities",
  doc: "Entities by name with metadata and policies; the destination gives them ids of its own.",
  async *items(ends) {
    for await (const wanted of recordsOf(ends, "entity"))
      yield { path: wanted.name, plan: () => planNamed(ends, "entity", wanted, ENTITY_FIELDS) };
  },
};

async function planNamed(
  { target }: Ends,
  noun: Noun,
  wanted: JsonObject & { readonly name: string },
  fields: readonly string[],
): Promise<Plan> {
  const path = byName(noun, wanted.name);
  return planRecord({
    ...{ wanted, present: await readOrNone(target, path), fields },
    write: (body) => target.write(path, body),
  });
}

export const aliases: ImportKind = {
  name: "aliases",
  doc: "Aliases of entities, by the path of their auth method.",
  async *items(ends) {
    const accessors = await accessorsOf(ends);
    for await (const entity of recordsOf(ends, "entity"))
      for (const alias of objectsIn(entity["aliases"])) yield aliasItem(ends, accessors, "entity", entity.name, alias);
  },
};

function aliasItem(ends: Ends, accessors: Accessors, noun: Noun, owner: string, alias: JsonObject): ImportItem {
  const mount = accessors.get(textOf(alias["mount_accessor"]));
  const name = textOf(alias["name"]);
  const path = `auth/${mount?.path ?? ""}${name}`;
  if (mount === undefined) return { path, plan: skipped("its auth method is gone from the source") };
  const { target } = mount;
  if (target === undefined)
    return { path, plan: skipped(`the destination has no auth/${mount.path}; enable it, then run this again`) };
  return { path, plan: () => planAlias(ends, noun, owner, { ...alias, name, mount_accessor: target }) };
}

async function planAlias(ends: Ends, noun: Noun, owner: string, wanted: JsonObject): Promise<Plan> {
  const record = await readOrNone(ends.target, byName(noun, owner));
  const known = [...objectsIn(record?.["aliases"]), ...objectsIn([record?.["alias"] ?? null])];
  const present = known.find(
    (alias) => alias["name"] === wanted["name"] && alias["mount_accessor"] === wanted["mount_accessor"],
  );
  return planRecord({
    ...{ wanted, present, fields: noun === "entity" ? ["custom_metadata"] : [] },
    write: async (body) => {
      // Read again: in the plan's time the record may not have been made.
      const id = record?.["id"] ?? (await readOrNone(ends.target, byName(noun, owner)))?.["id"];
      const place = { ...pick(wanted, ["name", "mount_accessor"]), canonical_id: id ?? null };
      return ends.target.write(`identity/${noun}-alias`, { ...body, ...place });
    },
  });
}

export const groups: ImportKind = {
  name: "groups",
  doc: "Groups by name with metadata and policies.",
  async *items(ends) {
    for await (const wanted of recordsOf(ends, "group"))
      yield { path: wanted.name, plan: () => planNamed(ends, "group", wanted, GROUP_FIELDS) };
  },
};

export const groupMembers: ImportKind = {
  name: "group-members",
  doc: "Members of internal groups and aliases of external ones.",
  async *items(ends) {
    const accessors = await accessorsOf(ends);
    for await (const group of recordsOf(ends, "group")) {
      if (group["type"] !== "external") yield { path: group.name, plan: () => planMembers(ends, group) };
      for (const alias of objectsIn([group["alias"] ?? null]))
        if (alias["name"] !== undefined) yield aliasItem(ends, accessors, "group", group.name, alias);
    }
  },
};

async function planMembers(ends: Ends, group: JsonObject & { readonly name: string }): Promise<Plan> {
  const path = byName("group", group.name);
  const present = (await readOrNone(ends.target, path)) ?? {};
  const entitiesOf = await translate(ends, "entity", group["member_entity_ids"]);
  const groupsOf = await translate(ends, "group", group["member_group_ids"]);
  const missing = [...entitiesOf.missing, ...groupsOf.missing];
  const wanted = { member_entity_ids: entitiesOf.ids, member_group_ids: groupsOf.ids };
  return planRecord({
    ...{ wanted, present, fields: Object.keys(wanted) },
    losses: missing.map((name) => `the member ${name} is not in the destination yet`),
    write: async (body) => ends.target.write(path, body),
  });
}

/** Ids of the source to ids of the destination, by name. */
async function translate(ends: Ends, noun: Noun, ids: JsonValue | undefined) {
  const found: { ids: string[]; missing: string[] } = { ids: [], missing: [] };
  for (const id of isJsonArray(ids) ? ids : []) {
    const name = textOf((await readOrNone(ends.source, `identity/${noun}/id/${textOf(id)}`))?.["name"]);
    const target = name === "" ? undefined : (await readOrNone(ends.target, byName(noun, name)))?.["id"];
    if (typeof target === "string") found.ids.push(target);
    else found.missing.push(name || textOf(id));
  }
  return found;
}

const objectsIn = (value: JsonValue | undefined) =>
  isJsonArray(value) ? value.filter((item) => isJsonObject(item)) : [];
const textOf = (value: JsonValue | undefined) => (typeof value === "string" ? value : "");

// Groups in storage: a record each, index keys by name, alias and member, all written here. A group's record does not
// hold its members: a login that joins a large group must not make every other login's transaction fail.
import { randomUUID } from "node:crypto";
import type { Millis } from "#common/clock.ts";
import { CofferError } from "#common/errors.ts";
import type { Transaction } from "../barrier/transaction.ts";
import { freeName, putEntity, readEntity } from "./entities.ts";
import {
  assertName,
  type Entity,
  entityKey,
  type Group,
  groupAliasKey,
  groupAliasOfKey,
  groupKey,
  groupKind,
  groupNameKey,
  memberPrefix,
  pointerKind,
} from "./identity-records.ts";

/** Members that one request may set or a read names: each is a record that the transaction reads. */
export const GROUP_MEMBERS_MAX = 5_000;
/** Groups of groups that one entity may inherit from: what a single request looks at, at most. */
export const INHERITED_GROUPS_MAX = 256;

export function readGroup(tx: Transaction, id: string): Promise<Group | undefined> {
  return tx.read(groupKind, groupKey(id));
}

export function groupByName(tx: Transaction, name: string): Promise<Group | undefined> {
  return follow(tx, groupNameKey(name));
}

export function groupByAlias(tx: Transaction, accessor: string, name: string): Promise<Group | undefined> {
  return follow(tx, groupAliasOfKey(accessor, name));
}

export function groupByAliasId(tx: Transaction, aliasId: string): Promise<Group | undefined> {
  return follow(tx, groupAliasKey(aliasId));
}

async function follow(tx: Transaction, key: string): Promise<Group | undefined> {
  const pointer = await tx.read(pointerKind, key);
  return pointer && readGroup(tx, pointer.id);
}

export async function newGroup(
  tx: Transaction,
  now: Millis,
  wanted: { name?: string | undefined; type: Group["type"] },
): Promise<Group> {
  return {
    id: randomUUID(),
    name: wanted.name || (await freeName("group", async (candidate) => tx.read(pointerKind, groupNameKey(candidate)))),
    type: wanted.type,
    policies: [],
    metadata: {},
    memberGroupIds: [],
    parentGroupIds: [],
    created: now,
    updated: now,
    revision: 0,
  };
}

/** Writes a group over what it was, with its index keys. Throws `invalid_request` when name or alias is another's. */
export async function putGroup(tx: Transaction, before: Group | undefined, after: Group): Promise<Group> {
  const written = { ...after, revision: (before?.revision ?? 0) + 1 };
  if (before?.name !== after.name) await claimName(tx, before, after);
  await writeAlias(tx, before, after);
  tx.write(groupKind, groupKey(after.id), written);
  return written;
}

async function claimName(tx: Transaction, before: Group | undefined, after: Group): Promise<void> {
  assertName("the name of a group", after.name);
  const held = await tx.read(pointerKind, groupNameKey(after.name));
  if (held && held.id !== after.id) throw new CofferError("invalid_request", "group name is already in use");
  if (before) tx.delete(groupNameKey(before.name));
  tx.write(pointerKind, groupNameKey(after.name), { id: after.id, name: after.name });
}

async function writeAlias(tx: Transaction, before: Group | undefined, after: Group): Promise<void> {
  const [was, is] = [before?.alias, after.alias];
  if (was?.id === is?.id && was?.name === is?.name && was?.mountAccessor === is?.mountAccessor) return;
  if (was) {
    tx.delete(groupAliasKey(was.id));
    tx.delete(groupAliasOfKey(was.mountAccessor, was.name));
  }
  if (!is) return;
  assertName("the name of a group alias", is.name);
  const key = groupAliasOfKey(is.mountAccessor, is.name);
  const held = await tx.read(pointerKind, key);
  if (held && held.id !== after.id)
    throw new CofferError(
      "invalid_request",
      "a group alias with this mount accessor and name belongs to another group",
    );
  tx.write(pointerKind, key, { id: after.id });
  tx.write(pointerKind, groupAliasKey(is.id), { id: after.id });
}

/** Ids of a group's direct members, at most GROUP_MEMBERS_MAX. */
export function memberIds(tx: Transaction, groupId: string): Promise<readonly string[]> {
  return tx.list(memberPrefix(groupId), { limit: GROUP_MEMBERS_MAX });
}

/** Makes exactly these entities the members. Throws `invalid_request` for an unknown one. */
export async function setMembers(tx: Transaction, groupId: string, wanted: readonly string[]): Promise<void> {
  if (wanted.length > GROUP_MEMBERS_MAX)
    throw new CofferError("invalid_request", `member_entity_ids has more than ${GROUP_MEMBERS_MAX} ids; send fewer`);
  const before = new Set(await memberIds(tx, groupId));
  const after = new Set(wanted);
  const changed = [...before.symmetricDifference(after)];
  await tx.prefetch(changed.map(entityKey));
  for (const id of changed) {
    const entity = await readEntity(tx, id);
    if (!entity && after.has(id))
      throw new CofferError("invalid_request", `member_entity_ids: there is no entity ${JSON.stringify(id)}`);
    if (!entity) continue;
    const others = entity.groupIds.filter((other) => other !== groupId);
    await putEntity(tx, entity, { ...entity, groupIds: after.has(id) ? [...others, groupId] : others });
  }
}

/** The group with exactly these groups in it; not written yet, its children are. Throws for unknown ones and circles. */
export async function withMemberGroups(tx: Transaction, group: Group, wanted: readonly string[]): Promise<Group> {
  const ids = [...new Set(wanted)];
  if (ids.length > INHERITED_GROUPS_MAX)
    throw new CofferError("invalid_request", `member_group_ids has more than ${INHERITED_GROUPS_MAX} ids; send fewer`);
  const above = new Set([group.id, ...(await groupsAbove(tx, group.parentGroupIds)).map((parent) => parent.id)]);
  for (const id of ids) {
    const child = await readGroup(tx, id);
    if (!child) throw new CofferError("invalid_request", `member_group_ids: there is no group "${id}"`);
    if (above.has(id))
      throw new CofferError("invalid_request", `member_group_ids: group "${id}" would contain itself; leave it out`);
    if (!child.parentGroupIds.includes(group.id))
      await putGroup(tx, child, { ...child, parentGroupIds: [...child.parentGroupIds, group.id] });
  }
  for (const id of group.memberGroupIds.filter((old) => !ids.includes(old))) await leaveParent(tx, id, group.id);
  return { ...group, memberGroupIds: ids };
}

async function leaveParent(tx: Transaction, childId: string, parentId: string): Promise<void> {
  const child = await readGroup(tx, childId);
  if (child)
    await putGroup(tx, child, { ...child, parentGroupIds: child.parentGroupIds.filter((id) => id !== parentId) });
}

/** Deletes a group. Members beyond GROUP_MEMBERS_MAX keep its id, which no group will have again. */
export async function deleteGroup(tx: Transaction, group: Group): Promise<void> {
  await setMembers(tx, group.id, []);
  for (const id of group.memberGroupIds) await leaveParent(tx, id, group.id);
  for (const id of group.parentGroupIds) {
    const parent = await readGroup(tx, id);
    if (parent)
      await putGroup(tx, parent, { ...parent, memberGroupIds: parent.memberGroupIds.filter((m) => m !== group.id) });
  }
  await writeAlias(tx, group, { ...group, alias: undefined });
  tx.delete(groupNameKey(group.name));
  tx.delete(groupKey(group.id));
}

export interface Membership {
  readonly direct: readonly Group[];
  readonly inherited: readonly Group[];
}

/** The groups of an entity: one round trip for the direct ones and one for each level above. */
export async function groupsOf(tx: Transaction, entity: Entity): Promise<Membership> {
  if (entity.groupIds.length === 0) return { direct: [], inherited: [] };
  const direct = await readGroups(tx, entity.groupIds);
  const known = new Set(direct.map((group) => group.id));
  const above = await groupsAbove(
    tx,
    direct.flatMap((group) => group.parentGroupIds),
  );
  return { direct, inherited: above.filter((group) => !known.has(group.id)) };
}

/** These groups and all that contain them, each once. Throws `invalid_request` beyond INHERITED_GROUPS_MAX. */
async function groupsAbove(tx: Transaction, ids: readonly string[]): Promise<readonly Group[]> {
  const found = new Map<string, Group>();
  for (let level = ids; level.length > 0; ) {
    const groups = await readGroups(
      tx,
      [...new Set(level)].filter((id) => !found.has(id)),
    );
    for (const group of groups) found.set(group.id, group);
    if (found.size > INHERITED_GROUPS_MAX)
      throw new CofferError("invalid_request", `more than ${INHERITED_GROUPS_MAX} groups contain each other here`);
    level = groups.flatMap((group) => group.parentGroupIds);
  }
  return [...found.values()];
}

async function readGroups(tx: Transaction, ids: readonly string[]): Promise<readonly Group[]> {
  if (ids.length > 1) await tx.prefetch(ids.map(groupKey));
  const groups = await Promise.all(ids.map((id) => readGroup(tx, id)));
  return groups.filter((group) => group !== undefined);
}

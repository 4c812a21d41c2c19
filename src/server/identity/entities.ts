// Entities in storage: reading them by id, name or alias, and writing them together with their index keys. All index
// keys of an entity are written here and nowhere else, from the difference between what it was and what it becomes, so
// they cannot come apart. Uniqueness is storage's: an index key that was read is in the transaction's read set.
import { randomBytes, randomUUID } from "node:crypto";
import type { Millis } from "#common/clock.ts";
import { CofferError } from "#common/errors.ts";
import type { Transaction } from "../barrier/transaction.ts";
import {
  type Alias,
  aliasKey,
  aliasOfKey,
  assertName,
  type Entity,
  entityKey,
  entityKind,
  entityNameKey,
  memberPrefix,
  mergedKey,
  pointerKind,
} from "./identity-records.ts";

/** 4 random bytes almost always make a free name; a store so full that they do not gets 8. */
const NAME_RANDOM_BYTES = [4, 4, 8];

export function readEntity(tx: Transaction, id: string): Promise<Entity | undefined> {
  return tx.read(entityKind, entityKey(id));
}

/** Every id by which configuration may name an entity: its own and those of entities that were merged into it. */
export function idsOf(entity: Entity): ReadonlySet<string> {
  return new Set([entity.id, ...entity.mergedIds]);
}

/** The entity, or the one that it was merged into. */
export async function currentEntity(tx: Transaction, id: string): Promise<Entity | undefined> {
  return (await readEntity(tx, id)) ?? (await follow(tx, mergedKey(id)));
}

export function entityByName(tx: Transaction, name: string): Promise<Entity | undefined> {
  return follow(tx, entityNameKey(name));
}

export function entityByAlias(tx: Transaction, accessor: string, name: string): Promise<Entity | undefined> {
  return follow(tx, aliasOfKey(accessor, name));
}

export function entityByAliasId(tx: Transaction, aliasId: string): Promise<Entity | undefined> {
  return follow(tx, aliasKey(aliasId));
}

async function follow(tx: Transaction, key: string): Promise<Entity | undefined> {
  const pointer = await tx.read(pointerKind, key);
  return pointer && readEntity(tx, pointer.id);
}

/** A new entity that is not written yet; without a name it gets a free one. */
export async function newEntity(tx: Transaction, now: Millis, name?: string): Promise<Entity> {
  return {
    id: randomUUID(),
    name: name || (await freeName("entity", async (candidate) => tx.read(pointerKind, entityNameKey(candidate)))),
    disabled: false,
    policies: [],
    metadata: {},
    aliases: [],
    groupIds: [],
    mergedIds: [],
    created: now,
    updated: now,
    revision: 0,
  };
}

/** "entity_1a2b3c4d", or another that is not taken. */
export async function freeName(prefix: string, find: (name: string) => Promise<unknown>): Promise<string> {
  for (const bytes of NAME_RANDOM_BYTES) {
    const name = `${prefix}_${randomBytes(bytes).toString("hex")}`;
    if ((await find(name)) === undefined) return name;
  }
  throw new CofferError("unavailable", "no free name was found; give one, or try again");
}

/**
 * Writes an entity over what it was (undefined for a new one), with its index keys. Throws `invalid_request` when its
 * name or one of its aliases belongs to another.
 */
export async function putEntity(tx: Transaction, before: Entity | undefined, after: Entity): Promise<Entity> {
  const written = { ...after, revision: (before?.revision ?? 0) + 1 };
  if (before?.name !== after.name) await claimName(tx, before, after);
  await writeAliases(tx, before?.aliases ?? [], after);
  writeMemberships(tx, before?.groupIds ?? [], after);
  for (const id of after.mergedIds) {
    if (!before?.mergedIds.includes(id)) tx.write(pointerKind, mergedKey(id), { id: after.id });
  }
  tx.write(entityKind, entityKey(after.id), written);
  return written;
}

async function claimName(tx: Transaction, before: Entity | undefined, after: Entity): Promise<void> {
  assertName("the name of an entity", after.name);
  const key = entityNameKey(after.name);
  const held = await tx.read(pointerKind, key);
  if (held && held.id !== after.id) throw new CofferError("invalid_request", "entity name is already in use");
  if (before) tx.delete(entityNameKey(before.name));
  tx.write(pointerKind, key, { id: after.id, name: after.name });
}

async function writeAliases(tx: Transaction, before: readonly Alias[], after: Entity): Promise<void> {
  const same = (one: Alias, other: Alias) =>
    one.id === other.id && one.mountAccessor === other.mountAccessor && one.name === other.name;
  for (const alias of before.filter((old) => !after.aliases.some((one) => same(one, old)))) dropAlias(tx, alias);
  for (const alias of after.aliases.filter((one) => !before.some((old) => same(one, old)))) {
    assertName("the name of an alias", alias.name);
    const key = aliasOfKey(alias.mountAccessor, alias.name);
    const held = await tx.read(pointerKind, key);
    if (held && held.id !== after.id)
      throw new CofferError("invalid_request", "an alias with this mount accessor and name belongs to another entity");
    tx.write(pointerKind, key, { id: after.id });
    tx.write(pointerKind, aliasKey(alias.id), { id: after.id });
  }
}

function dropAlias(tx: Transaction, alias: Alias): void {
  tx.delete(aliasKey(alias.id));
  tx.delete(aliasOfKey(alias.mountAccessor, alias.name));
}

function writeMemberships(tx: Transaction, before: readonly string[], after: Entity): void {
  for (const id of before.filter((old) => !after.groupIds.includes(old))) tx.delete(memberPrefix(id) + after.id);
  for (const id of after.groupIds.filter((one) => !before.includes(one)))
    tx.write(pointerKind, memberPrefix(id) + after.id, { id: after.id });
}

/** Deletes an entity with its aliases and memberships; tokens that carry its id are refused from then on. */
export function deleteEntity(tx: Transaction, entity: Entity): void {
  tx.delete(entityKey(entity.id));
  tx.delete(entityNameKey(entity.name));
  for (const alias of entity.aliases) dropAlias(tx, alias);
  for (const id of entity.groupIds) tx.delete(memberPrefix(id) + entity.id);
  for (const id of entity.mergedIds) tx.delete(mergedKey(id));
}

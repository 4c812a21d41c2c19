// Answers the core's questions about identity from storage: whose login is this, and what does the entity behind a
// token bring along. A request with a token costs one read, or two when the entity is in groups; all records are of
// cached kinds, so nothing is decrypted or parsed again while they do not change.
import { randomUUID } from "node:crypto";
import type { Clock } from "#common/clock.ts";
import { CofferError } from "#common/errors.ts";
import type { Transaction } from "../barrier/transaction.ts";
import { currentEntity, entityByAlias, newEntity, putEntity } from "./entities.ts";
import { entityView, goneView } from "./entity-view.ts";
import { groupByAlias, groupsOf } from "./groups.ts";
import type { EntityView, Identity, LoginAlias } from "./identity.ts";
import { type Alias, type Entity, fitsMetadata, METADATA_PAIRS_MAX } from "./identity-records.ts";

export class IdentityStore implements Identity {
  readonly #clock: Clock;
  constructor(clock: Clock) {
    this.#clock = clock;
  }

  async entityForLogin(tx: Transaction, login: LoginAlias): Promise<string> {
    const known = await entityByAlias(tx, login.mountAccessor, login.name);
    if (known?.disabled) throw new CofferError("permission_denied", "permission denied");
    const entity = known ?? (await newEntity(tx, this.#clock.now()));
    const groupIds = await this.#groupsAfterLogin(tx, entity, login);
    const aliases = this.#aliasesAfterLogin(entity, login);
    const changed = aliases !== entity.aliases || groupIds !== entity.groupIds;
    if (changed) await putEntity(tx, known, { ...entity, aliases, groupIds });
    return entity.id;
  }

  async view(tx: Transaction, entityId: string): Promise<EntityView | undefined> {
    if (entityId === "") return undefined;
    const entity = await currentEntity(tx, entityId);
    if (!entity) return goneView(entityId);
    const { direct, inherited } = await groupsOf(tx, entity);
    return entityView(entity, [...direct, ...inherited]);
  }

  /** The same array when the login tells nothing new, so that most logins write nothing here. */
  #aliasesAfterLogin(entity: Entity, login: LoginAlias): readonly Alias[] {
    const { mountAccessor, mountPath, mountType, name } = login;
    const known = entity.aliases.find((alias) => alias.mountAccessor === mountAccessor && alias.name === name);
    const metadata = aliasMetadata(login);
    const now = this.#clock.now();
    if (!known) {
      const created = { id: randomUUID(), mountAccessor, mountPath, mountType, name, metadata };
      return [...entity.aliases, { ...created, customMetadata: {}, created: now, updated: now }];
    }
    if (sameMetadata(known.metadata, metadata) && known.mountPath === mountPath) return entity.aliases;
    return entity.aliases.map((alias) => (alias === known ? { ...alias, metadata, mountPath, updated: now } : alias));
  }

  /** External groups of the login's mount are those that the auth method names; groups of other mounts stay. */
  async #groupsAfterLogin(tx: Transaction, entity: Entity, login: LoginAlias): Promise<readonly string[]> {
    if (login.groupNames === undefined) return entity.groupIds;
    const named: string[] = [];
    for (const name of new Set(login.groupNames)) {
      const group = await groupByAlias(tx, login.mountAccessor, name);
      if (group) named.push(group.id);
    }
    const { direct } = await groupsOf(tx, entity);
    const kept = direct
      .filter((group) => group.type === "internal" || group.alias?.mountAccessor !== login.mountAccessor)
      .map((group) => group.id);
    const after = [...new Set([...kept, ...named])];
    const same = after.length === entity.groupIds.length && after.every((id) => entity.groupIds.includes(id));
    return same ? entity.groupIds : after;
  }
}

/**
 * A user name that only repeats the alias's is not worth keeping twice. What goes beyond the limits is left out: a login
 * must not fail for it, and a template without its value leaves its rule out.
 */
function aliasMetadata({ metadata, name }: LoginAlias): Readonly<Record<string, string>> {
  const kept = Object.entries(metadata).filter(([key, value]) => !(key === "username" && value === name));
  return Object.fromEntries(kept.filter(([key, value]) => fitsMetadata(key, value)).slice(0, METADATA_PAIRS_MAX));
}

function sameMetadata(one: Readonly<Record<string, string>>, other: Readonly<Record<string, string>>): boolean {
  const keys = Object.keys(one);
  return keys.length === Object.keys(other).length && keys.every((key) => one[key] === other[key]);
}

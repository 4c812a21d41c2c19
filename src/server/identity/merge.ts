// Merging entities: aliases, group memberships, MFA keys and the ids of the others go to the one that stays, so that
// their tokens become its tokens. Policies and metadata of the others end with them.
import { CofferError } from "#common/errors.ts";
import type { PrivilegedContext } from "../framework/context.ts";
import { field, type Values } from "../framework/fields.ts";
import { noContent, type Reply } from "../framework/reply.ts";
import { deleteEntity, putEntity, readEntity } from "./entities.ts";
import type { Alias, Entity } from "./identity-records.ts";
import { moveSecrets } from "./mfa/entity-secrets.ts";

/** Entities merged in one request: each is several writes of one transaction. */
export const MERGE_MAX = 1_000;

export const mergeFields = {
  from_entity_ids: field.list("Entities that end."),
  to_entity_id: field.text("The entity that stays."),
  conflicting_alias_ids_to_keep: field.list("Where two have an alias on one mount: the alias to keep."),
  force: field.flag("Where two have a key of one MFA method: keep that of the entity that stays."),
} as const;

export async function mergeEntities(
  { transaction: tx, clock }: PrivilegedContext,
  values: Values<typeof mergeFields>,
): Promise<Reply> {
  const { to_entity_id: toId, conflicting_alias_ids_to_keep: keep = [] } = values;
  const fromIds = [...new Set(values.from_entity_ids ?? [])];
  if (!toId) throw invalid("missing entity id to merge to");
  if (fromIds.length === 0) throw invalid("missing entity ids to merge from");
  if (fromIds.length > MERGE_MAX) throw invalid(`from_entity_ids has more than ${MERGE_MAX} ids; send fewer at a time`);
  if (fromIds.includes(toId)) throw invalid("to_entity_id should not be present in from_entity_ids");
  const before = await readEntity(tx, toId);
  if (!before) throw invalid("entity id to merge to is invalid");
  let after = before;
  for (const id of fromIds) {
    const from = await readEntity(tx, id);
    if (!from) throw invalid(`entity id to merge from is invalid: there is no entity ${JSON.stringify(id)}`);
    after = absorb(after, from, keep);
    await moveSecrets(tx, id, toId, values.force ?? false);
    deleteEntity(tx, from);
  }
  await putEntity(tx, before, { ...after, updated: clock.now() });
  return noContent;
}

function absorb(into: Entity, from: Entity, keep: readonly string[]): Entity {
  return {
    ...into,
    aliases: joinAliases(into.aliases, from.aliases, keep),
    groupIds: [...new Set([...into.groupIds, ...from.groupIds])],
    mergedIds: [...into.mergedIds, ...from.mergedIds, from.id],
  };
}

/** At most one alias for each mount. Throws `invalid_request` when two meet and the client does not say which stays. */
function joinAliases(into: readonly Alias[], from: readonly Alias[], keep: readonly string[]): readonly Alias[] {
  const joined = new Map(into.map((alias) => [alias.mountAccessor, alias]));
  for (const alias of from) {
    const other = joined.get(alias.mountAccessor);
    if (other && keep.includes(alias.id) === keep.includes(other.id))
      throw invalid(
        `toEntity and at least one fromEntity have aliases with the same mount accessor ${alias.mountAccessor}; ` +
          `name the one to keep (${other.id} or ${alias.id}) in conflicting_alias_ids_to_keep`,
      );
    if (!other || keep.includes(alias.id)) joined.set(alias.mountAccessor, alias);
  }
  return [...joined.values()];
}

function invalid(message: string): CofferError {
  return new CofferError("invalid_request", message);
}

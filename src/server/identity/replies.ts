// Entities, aliases and groups as the API shows them. The shapes are those that clients of Vault know, nulls included.
import type { JsonObject, JsonValue } from "#common/json.ts";
import { formatTime } from "#common/rfc3339.ts";
import type { NamespaceName } from "../framework/context.ts";
import { shownId } from "../namespaces/namespace-scope.ts";
import type { Membership } from "./groups.ts";
import type { Alias, Entity, Group, GroupAlias } from "./identity-records.ts";

/** Whose something is, where its path is shown as well. */
export function ofNamespace({ id, path }: NamespaceName): JsonObject {
  return { namespace_id: shownId(id), namespace_path: path };
}

/** `namespaceId` as clients see it: "root" for the root namespace. */
export function entityReply(entity: Entity, { direct, inherited }: Membership, namespaceId: string): JsonObject {
  const directIds = direct.map((group) => group.id);
  const inheritedIds = inherited.map((group) => group.id);
  return {
    aliases: entity.aliases.map((alias) => shownAlias(entity, alias)),
    creation_time: formatTime(entity.created),
    direct_group_ids: directIds,
    disabled: entity.disabled,
    group_ids: [...directIds, ...inheritedIds],
    id: entity.id,
    inherited_group_ids: inheritedIds,
    last_update_time: formatTime(entity.updated),
    merged_entity_ids: orNull(entity.mergedIds),
    metadata: pairsOrNull(entity.metadata),
    name: entity.name,
    namespace_id: namespaceId,
    policies: entity.policies,
  };
}

function shownAlias(entity: Entity, alias: Alias): JsonObject {
  return {
    ...factors(alias),
    canonical_id: entity.id,
    creation_time: formatTime(alias.created),
    custom_metadata: pairsOrNull(alias.customMetadata),
    id: alias.id,
    last_update_time: formatTime(alias.updated),
    local: false,
    merged_from_canonical_ids: null,
    metadata: pairsOrNull(alias.metadata),
  };
}

export function aliasReply(entity: Entity, alias: Alias, namespaceId: string): JsonObject {
  return { ...shownAlias(entity, alias), namespace_id: namespaceId };
}

/** What an alias is known by, as lists show it too. */
export function factors(alias: Alias | GroupAlias): JsonObject {
  return {
    mount_accessor: alias.mountAccessor,
    mount_path: alias.mountPath,
    mount_type: alias.mountType,
    name: alias.name,
  };
}

export function groupReply(group: Group, memberEntityIds: readonly string[], namespaceId: string): JsonObject {
  return {
    alias: group.alias ? groupAliasReply(group, group.alias, namespaceId) : {},
    creation_time: formatTime(group.created),
    id: group.id,
    last_update_time: formatTime(group.updated),
    member_entity_ids: memberEntityIds,
    member_group_ids: orNull(group.memberGroupIds),
    metadata: pairsOrNull(group.metadata),
    name: group.name,
    namespace_id: namespaceId,
    parent_group_ids: orNull(group.parentGroupIds),
    policies: group.policies,
    type: group.type,
  };
}

export function groupAliasReply(group: Group, alias: GroupAlias, namespaceId: string): JsonObject {
  return {
    ...factors(alias),
    canonical_id: group.id,
    creation_time: formatTime(alias.created),
    id: alias.id,
    last_update_time: formatTime(alias.updated),
    merged_from_canonical_ids: null,
    metadata: null,
    namespace_id: namespaceId,
  };
}

function orNull(list: readonly string[]): JsonValue {
  return list.length > 0 ? list : null;
}

function pairsOrNull(pairs: Readonly<Record<string, string>>): JsonValue {
  return Object.keys(pairs).length > 0 ? pairs : null;
}

// An entity as policies see it: the policies of all its groups and the values of template variables. Pure; what is
// read for it is read by the store.
import { normalizePolicyNames } from "../framework/token-parameters.ts";
import type { EntityView } from "./identity.ts";
import type { Alias, Entity, Group } from "./identity-records.ts";

/** `groups`: direct and inherited. */
export function entityView(entity: Entity, groups: readonly Group[]): EntityView {
  const policies =
    groups.length === 0
      ? entity.policies
      : normalizePolicyNames([...entity.policies, ...groups.flatMap((group) => group.policies)]);
  return {
    id: entity.id,
    disabled: entity.disabled,
    policies,
    version: [entity, ...groups].map((record) => `${record.id}:${record.revision}`).join(" "),
    resolve: (variable) => resolveVariable(variable, entity, groups),
  };
}

/** What tokens see whose entity was deleted: nothing, and that it may do nothing. */
export function goneView(id: string): EntityView {
  return { id, disabled: true, policies: [], version: `${id}:gone`, resolve: () => undefined };
}

function resolveVariable(variable: string, entity: Entity, groups: readonly Group[]): string | undefined {
  const ofEntity = after(variable, "identity.entity.");
  if (ofEntity !== undefined) return entityValue(ofEntity, entity);
  const byId = after(variable, "identity.groups.ids.");
  if (byId !== undefined) return groupValue(byId, groups, (group) => group.id);
  const byName = after(variable, "identity.groups.names.");
  return byName === undefined ? undefined : groupValue(byName, groups, (group) => group.name);
}

function entityValue(member: string, entity: Entity): string | undefined {
  if (member === "id") return entity.id;
  if (member === "name") return entity.name;
  const key = after(member, "metadata.");
  if (key !== undefined) return pairValue(entity.metadata, key);
  const ofAlias = after(member, "aliases.");
  if (ofAlias === undefined) return undefined;
  const alias = entity.aliases.find((one) => ofAlias.startsWith(`${one.mountAccessor}.`));
  return alias && aliasValue(ofAlias.slice(alias.mountAccessor.length + 1), alias);
}

function aliasValue(member: string, alias: Alias): string | undefined {
  if (member === "id") return alias.id;
  if (member === "name") return alias.name;
  const key = after(member, "metadata.");
  if (key !== undefined) return pairValue(alias.metadata, key);
  const customKey = after(member, "custom_metadata.");
  return customKey === undefined ? undefined : pairValue(alias.customMetadata, customKey);
}

/** Names hold dots, so each group of the caller is tried; of two that fit, the longer name is meant. */
function groupValue(rest: string, groups: readonly Group[], handle: (group: Group) => string): string | undefined {
  const fitting = groups.filter((group) => rest.startsWith(`${handle(group)}.`));
  const group = fitting.toSorted((a, b) => handle(b).length - handle(a).length)[0];
  if (!group) return undefined;
  const member = rest.slice(handle(group).length + 1);
  if (member === "id") return group.id;
  if (member === "name") return group.name;
  const key = after(member, "metadata.");
  return key === undefined ? undefined : pairValue(group.metadata, key);
}

function after(text: string, prefix: string): string | undefined {
  return text.startsWith(prefix) ? text.slice(prefix.length) : undefined;
}

function pairValue(pairs: Readonly<Record<string, string>>, key: string): string | undefined {
  return Object.hasOwn(pairs, key) ? pairs[key] : undefined;
}

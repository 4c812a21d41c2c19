// What identity stores, and under which keys. One record per entity (its aliases and the ids of its groups inside, so
// that one read answers a request) and one per group; the rest are index keys that make a name or an alias unique:
//
//   identity/entity/<id>                          Entity
//   identity/entity-name/<lower-case name>        Pointer to the entity
//   identity/entity-merged/<id>                   Pointer to the entity that this one was merged into
//   identity/alias/<id>                           Pointer to the entity of an alias
//   identity/alias-of/<mount accessor>/<name>     Pointer to the entity of an alias
//   identity/group/<id>                           Group
//   identity/group-name/<lower-case name>         Pointer to the group
//   identity/group-member/<group id>/<entity id>  Pointer to the entity; says the same as the entity's groupIds
//   identity/group-alias/<id>                     Pointer to the group of an alias
//   identity/group-alias-of/<mount accessor>/<name>  Pointer to the group of an alias
//
// Names are percent-encoded in keys. Aliases keep their case: subjects of a JWT that differ in case are two people.
import { CofferError } from "#common/errors.ts";
import { boolean, type Infer, list, map, number, object, oneOf, optional, string } from "#common/schema.ts";
import { recordKind } from "../barrier/transaction.ts";

/** Limits of metadata, as clients of Vault know them. */
export const METADATA_PAIRS_MAX = 64;
export const METADATA_KEY_BYTES_MAX = 128;
export const METADATA_VALUE_BYTES_MAX = 512;
/** Percent-encoded this is 1,536 bytes, which leaves room in a storage key for the rest. */
export const NAME_BYTES_MAX = 512;

const aliasSchema = object({
  id: string,
  mountAccessor: string,
  mountPath: string,
  mountType: string,
  name: string,
  /** From the auth method, at the latest login. */
  metadata: map(string),
  customMetadata: map(string),
  created: number,
  updated: number,
});
export type Alias = Infer<typeof aliasSchema>;

const entitySchema = object({
  id: string,
  name: string,
  disabled: boolean,
  policies: list(string),
  metadata: map(string),
  aliases: list(aliasSchema),
  /** Groups it is a direct member of; may name groups that are gone. */
  groupIds: list(string),
  /** Entities that were merged into this one. */
  mergedIds: list(string),
  created: number,
  updated: number,
  /** Grows with every write. */
  revision: number,
});
export type Entity = Infer<typeof entitySchema>;
export const entityKind = recordKind("entity", entitySchema, { cached: true });

const groupAliasSchema = object({
  id: string,
  mountAccessor: string,
  mountPath: string,
  mountType: string,
  name: string,
  created: number,
  updated: number,
});
export type GroupAlias = Infer<typeof groupAliasSchema>;

const groupSchema = object({
  id: string,
  name: string,
  type: oneOf("internal", "external"),
  policies: list(string),
  metadata: map(string),
  memberGroupIds: list(string),
  parentGroupIds: list(string),
  alias: optional(groupAliasSchema),
  created: number,
  updated: number,
  /** Grows with every write. */
  revision: number,
});
export type Group = Infer<typeof groupSchema>;
export const groupKind = recordKind("identity group", groupSchema, { cached: true });

/** `name` is there in indexes by name, in the case in which it was written. */
export const pointerKind = recordKind("identity index", object({ id: string, name: optional(string) }), {
  cached: true,
});

export const ENTITY_PREFIX = "identity/entity/";
export const ENTITY_NAME_PREFIX = "identity/entity-name/";
export const ALIAS_PREFIX = "identity/alias/";
export const GROUP_PREFIX = "identity/group/";
export const GROUP_NAME_PREFIX = "identity/group-name/";
export const GROUP_ALIAS_PREFIX = "identity/group-alias/";

export function nameInKey(name: string): string {
  return encodeURIComponent(name.toLowerCase());
}
/** Ids come from clients as well: encoded, so that a slash in one leads nowhere. */
function idInKey(id: string): string {
  return encodeURIComponent(id);
}

export const entityKey = (id: string): string => ENTITY_PREFIX + idInKey(id);
export const entityNameKey = (name: string): string => ENTITY_NAME_PREFIX + nameInKey(name);
export const mergedKey = (id: string): string => `identity/entity-merged/${idInKey(id)}`;
export const aliasKey = (id: string): string => ALIAS_PREFIX + idInKey(id);
export const aliasOfKey = (accessor: string, name: string): string =>
  `identity/alias-of/${idInKey(accessor)}/${encodeURIComponent(name)}`;
export const groupKey = (id: string): string => GROUP_PREFIX + idInKey(id);
export const groupNameKey = (name: string): string => GROUP_NAME_PREFIX + nameInKey(name);
export const memberPrefix = (groupId: string): string => `identity/group-member/${idInKey(groupId)}/`;
export const groupAliasKey = (id: string): string => GROUP_ALIAS_PREFIX + idInKey(id);
export const groupAliasOfKey = (accessor: string, name: string): string =>
  `identity/group-alias-of/${idInKey(accessor)}/${encodeURIComponent(name)}`;

/** Throws `invalid_request` for a name that cannot be stored. `what` names it in the message. */
export function assertName(what: string, name: string): void {
  if (name === "" || Buffer.byteLength(name) > NAME_BYTES_MAX || !name.isWellFormed() || /\p{Cc}/u.test(name))
    throw new CofferError(
      "invalid_request",
      `${what} must have 1 to ${NAME_BYTES_MAX} bytes and no control characters; choose another`,
    );
}

export function fitsMetadata(key: string, value: string): boolean {
  return (
    key !== "" &&
    Buffer.byteLength(key) <= METADATA_KEY_BYTES_MAX &&
    Buffer.byteLength(value) <= METADATA_VALUE_BYTES_MAX
  );
}

/** Throws `invalid_request` when metadata goes beyond its limits. */
export function assertMetadata(field: string, metadata: Readonly<Record<string, string>>): void {
  const pairs = Object.entries(metadata);
  const refuse = (reason: string): never => {
    throw new CofferError("invalid_request", `${field} ${reason}`);
  };
  if (pairs.length > METADATA_PAIRS_MAX) refuse(`has ${pairs.length} pairs; at most ${METADATA_PAIRS_MAX} are allowed`);
  for (const [key, value] of pairs) {
    if (!fitsMetadata(key, value))
      refuse(`wants keys of 1 to ${METADATA_KEY_BYTES_MAX} bytes and values of at most ${METADATA_VALUE_BYTES_MAX}`);
  }
}

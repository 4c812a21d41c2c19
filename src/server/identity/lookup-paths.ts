// identity/lookup: entities and groups by any one of the things they are known by. Nothing found is no error: 204.
import { CofferError } from "#common/errors.ts";
import { field, type Values } from "../framework/fields.ts";
import { definePrivilegedPath } from "../framework/path.ts";
import { noContent } from "../framework/reply.ts";
import { entityByAlias, entityByAliasId, entityByName, readEntity } from "./entities.ts";
import { show as showEntity } from "./entity-paths.ts";
import { show as showGroup } from "./group-paths.ts";
import { groupByAlias, groupByAliasId, groupByName, readGroup } from "./groups.ts";

const lookupFields = {
  id: field.text("Id."),
  name: field.text("Name."),
  alias_id: field.text("Id of an alias."),
  alias_name: field.text("Name of an alias; with alias_mount_accessor."),
  alias_mount_accessor: field.text("Accessor of the alias's mount."),
} as const;

/** What to do for each way of asking. */
interface Finders<T> {
  byId(id: string): T;
  byName(name: string): T;
  byAliasId(id: string): T;
  byAlias(accessor: string, name: string): T;
}

/** Throws `invalid_request` unless the client asks in exactly one way. */
function find<T>(values: Values<typeof lookupFields>, finders: Finders<T>): T {
  const { id, name, alias_id: aliasId, alias_name: aliasName, alias_mount_accessor: accessor } = values;
  const ways = [id, name, aliasId, aliasName || accessor].filter(Boolean).length;
  if (ways === 0) throw invalid("query parameter not supplied");
  if (ways > 1) throw invalid("query parameter conflict; please supply distinct set of query parameters");
  if (id) return finders.byId(id);
  if (name) return finders.byName(name);
  if (aliasId) return finders.byAliasId(aliasId);
  if (aliasName && accessor) return finders.byAlias(accessor, aliasName);
  throw invalid("both 'alias_name' and 'alias_mount_accessor' must be set");
}

export function lookupPaths() {
  return [
    definePrivilegedPath("lookup/entity", {
      summary: "Finds an entity.",
      fields: lookupFields,
      operations: {
        update: {
          summary: "Look it up.",
          handler: async ({ transaction: tx }, values) => {
            const entity = await find(values, {
              byId: (id) => readEntity(tx, id),
              byName: (name) => entityByName(tx, name),
              byAliasId: (id) => entityByAliasId(tx, id),
              byAlias: (accessor, name) => entityByAlias(tx, accessor, name),
            });
            return (await showEntity(tx, entity)) ?? noContent;
          },
        },
      },
    }),
    definePrivilegedPath("lookup/group", {
      summary: "Finds a group.",
      fields: lookupFields,
      operations: {
        update: {
          summary: "Look it up.",
          handler: async ({ transaction: tx }, values) => {
            const group = await find(values, {
              byId: (id) => readGroup(tx, id),
              byName: (name) => groupByName(tx, name),
              byAliasId: (id) => groupByAliasId(tx, id),
              byAlias: (accessor, name) => groupByAlias(tx, accessor, name),
            });
            return (await showGroup(tx, group)) ?? noContent;
          },
        },
      },
    }),
  ];
}

function invalid(message: string): CofferError {
  return new CofferError("invalid_request", message);
}

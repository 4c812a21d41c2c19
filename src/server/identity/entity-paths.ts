// identity/entity: entities by id and by name, merging, deleting several.
import { CofferError } from "#common/errors.ts";
import type { PrivilegedContext } from "../framework/context.ts";
import { field, NAME_BYTES_MAX, policyNames, type Values } from "../framework/fields.ts";
import { withTrailingSlash } from "../framework/listing.ts";
import { definePrivilegedPath } from "../framework/path.ts";
import { dataReply, noContent, type Reply } from "../framework/reply.ts";
import { normalizePolicyNames } from "../framework/token-parameters.ts";
import { shownId } from "../namespaces/namespace-scope.ts";
import { namespaceIdOf } from "../namespaces/namespace-transaction.ts";
import { deleteEntity, entityByName, newEntity, putEntity, readEntity } from "./entities.ts";
import { groupsOf } from "./groups.ts";
import { assertMetadata, ENTITY_NAME_PREFIX, ENTITY_PREFIX, type Entity, entityKey } from "./identity-records.ts";
import { mergeEntities, mergeFields } from "./merge.ts";
import { dropSecrets } from "./mfa/entity-secrets.ts";
import { listRecords } from "./record-lists.ts";
import { entityReply, factors } from "./replies.ts";

/** Entities that one request may delete: each is several writes of one transaction. */
export const BATCH_DELETE_MAX = 1_000;

const entityFields = {
  name: field.text("Name of the entity; unique whatever its case.", { bytesMax: NAME_BYTES_MAX }),
  metadata: field.pairs("Metadata; replaces what there was."),
  policies: field.list("Policies that all tokens of the entity get as well.", policyNames),
  disabled: field.flag("Refuse all tokens of the entity."),
} as const;
const idField = { id: field.text("Id of the entity, to change it.") } as const;

export function entityPaths() {
  return [
    definePrivilegedPath("entity", {
      summary: "Makes an entity, or changes the one of this id or name.",
      fields: { ...entityFields, ...idField },
      operations: { update: { summary: "Write an entity.", handler: (context, values) => write(context, values) } },
    }),
    definePrivilegedPath("entity/merge", {
      summary: "Merges entities into one.",
      fields: mergeFields,
      operations: { update: { summary: "Merge them.", handler: mergeEntities } },
    }),
    definePrivilegedPath("entity/batch-delete", {
      summary: "Deletes several entities.",
      fields: { entity_ids: field.list("Ids of the entities.") },
      operations: {
        update: { summary: "Delete them.", handler: (context, { entity_ids }) => deleteSeveral(context, entity_ids) },
      },
    }),
    listPath("id"),
    listPath("name"),
    definePrivilegedPath("entity/id/:id", {
      summary: "An entity by its id.",
      fields: entityFields,
      operations: {
        read: {
          summary: "Show it.",
          handler: async ({ transaction: tx }, { id }) => show(tx, await readEntity(tx, id)),
        },
        update: { summary: "Change it.", handler: (context, values) => write(context, values) },
        delete: {
          summary: "Delete it.",
          handler: async ({ transaction: tx }, { id }) => remove(tx, await readEntity(tx, id)),
        },
      },
    }),
    definePrivilegedPath("entity/name/:name*", {
      summary: "An entity by its name.",
      fields: { ...entityFields, ...idField },
      operations: {
        read: {
          summary: "Show it.",
          handler: async ({ transaction: tx }, { name }) => show(tx, await entityByName(tx, name)),
        },
        update: { summary: "Make or change it.", handler: (context, values) => write(context, values) },
        delete: {
          summary: "Delete it.",
          handler: async ({ transaction: tx }, { name }) => remove(tx, await entityByName(tx, name)),
        },
      },
    }),
  ];
}

type Tx = PrivilegedContext["transaction"];

export async function show(tx: Tx, entity: Entity | undefined): Promise<Reply | undefined> {
  return entity && dataReply(entityReply(entity, await groupsOf(tx, entity), shownId(namespaceIdOf(tx))));
}

async function remove(tx: Tx, entity: Entity | undefined): Promise<Reply> {
  if (!entity) return noContent;
  await dropSecrets(tx, [entity.id]);
  deleteEntity(tx, entity);
  return noContent;
}

function listPath(by: "id" | "name") {
  return withTrailingSlash(
    definePrivilegedPath(`entity/${by}`, {
      summary: `All entities by ${by}.`,
      operations: {
        list: {
          summary: "List them.",
          handler: (context) =>
            listRecords(context, {
              prefix: by === "id" ? ENTITY_PREFIX : ENTITY_NAME_PREFIX,
              by,
              points: by === "name",
              recordKey: entityKey,
              info: async (id) => listInfo(await readEntity(context.transaction, id), by),
            }),
        },
      },
    }),
  );
}

function listInfo(entity: Entity | undefined, by: "id" | "name") {
  if (!entity) return undefined;
  const aliases = entity.aliases.map((alias) => ({ ...factors(alias), id: alias.id }));
  return { ...(by === "id" ? { name: entity.name } : { id: entity.id }), aliases };
}

type EntityValues = Values<typeof entityFields> & { readonly id?: string | undefined };

async function write({ transaction: tx, clock }: PrivilegedContext, values: EntityValues): Promise<Reply> {
  if (values.metadata) assertMetadata("metadata", values.metadata);
  const before = await entityToChange(tx, values);
  const base = before ?? (await newEntity(tx, clock.now(), values.name));
  const after = await putEntity(tx, before, {
    ...base,
    name: values.name || base.name,
    metadata: values.metadata ?? base.metadata,
    policies: values.policies === undefined ? base.policies : checkedPolicies(values.policies),
    disabled: values.disabled ?? base.disabled,
    updated: clock.now(),
  });
  return before ? noContent : dataReply({ aliases: null, id: after.id, name: after.name });
}

async function entityToChange(tx: Tx, { id, name }: EntityValues): Promise<Entity | undefined> {
  if (!id) return name ? entityByName(tx, name) : undefined;
  const entity = await readEntity(tx, id);
  if (!entity) throw new CofferError("invalid_request", "entity not found from id");
  return entity;
}

/** Root is a token's own: no identity makes one. Throws `invalid_request`. */
export function checkedPolicies(names: readonly string[]): readonly string[] {
  const policies = normalizePolicyNames(names);
  if (policies.includes("root")) throw new CofferError("invalid_request", "policies cannot contain root");
  return policies;
}

async function deleteSeveral({ transaction: tx }: PrivilegedContext, ids: readonly string[] = []): Promise<Reply> {
  if (ids.length === 0) throw new CofferError("invalid_request", "missing entity ids to delete");
  if (ids.length > BATCH_DELETE_MAX)
    throw new CofferError("invalid_request", `entity_ids has more than ${BATCH_DELETE_MAX} ids; send fewer at a time`);
  await tx.prefetch(ids.map(entityKey));
  const entities = await Promise.all([...new Set(ids)].map((id) => readEntity(tx, id)));
  const found = entities.filter((entity) => entity !== undefined);
  await dropSecrets(
    tx,
    found.map((entity) => entity.id),
  );
  for (const entity of found) deleteEntity(tx, entity);
  return noContent;
}

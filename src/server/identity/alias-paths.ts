// identity/entity-alias, and its elders alias and persona: the names by which auth methods know an entity, at most one
// for each mount.
import { randomUUID } from "node:crypto";
import { CofferError } from "#common/errors.ts";
import type { Transaction } from "../barrier/transaction.ts";
import type { PrivilegedContext } from "../framework/context.ts";
import { field, NAME_BYTES_MAX, type Values } from "../framework/fields.ts";
import { withTrailingSlash } from "../framework/listing.ts";
import { definePrivilegedPath } from "../framework/path.ts";
import { dataReply, noContent, type Reply } from "../framework/reply.ts";
import { shownId } from "../namespaces/namespace-scope.ts";
import { namespaceIdOf } from "../namespaces/namespace-transaction.ts";
import { entityByAlias, entityByAliasId, newEntity, putEntity, readEntity } from "./entities.ts";
import { ALIAS_PREFIX, type Alias, aliasKey, assertMetadata, type Entity } from "./identity-records.ts";
import { mountOfAccessor } from "./mount-of-accessor.ts";
import { listRecords } from "./record-lists.ts";
import { aliasReply, factors } from "./replies.ts";

const aliasFields = {
  name: field.text("The name that the auth method knows.", { bytesMax: NAME_BYTES_MAX }),
  mount_accessor: field.text("Accessor of the auth method's mount.", { bytesMax: NAME_BYTES_MAX }),
  canonical_id: field.text("Id of the entity; without it a new one is made."),
  entity_id: field.text("The old name of canonical_id.", { deprecated: true }),
  custom_metadata: field.pairs("Metadata of your own; replaces what there was."),
  metadata: field.pairs("The old name of custom_metadata.", { deprecated: true }),
} as const;
type AliasValues = Values<typeof aliasFields> & { readonly id?: string | undefined };

interface Held {
  readonly entity: Entity;
  readonly alias: Alias;
}

/** The same under the names that it has had; the elder ones as old clients write them. */
const BASES = ["entity-alias", "alias", "persona"] as const;
type Base = (typeof BASES)[number];

export function aliasPaths() {
  return BASES.flatMap((base) => [writePath(base), listPath(base), aliasPath(base)]);
}

function writePath(base: Base) {
  return definePrivilegedPath(base, {
    summary: "Makes an alias of an entity, or changes it.",
    fields: { ...aliasFields, id: field.text("Id of the alias, to change it.") },
    operations: { update: { summary: "Write an alias.", handler: (context, values) => write(context, values) } },
  });
}

function listPath(base: Base) {
  return withTrailingSlash(
    definePrivilegedPath(`${base}/id`, {
      summary: "All aliases by id.",
      operations: { list: { summary: "List them.", handler: listAliases } },
    }),
  );
}

function aliasPath(base: Base) {
  return definePrivilegedPath(`${base}/id/:id`, {
    summary: "An alias by its id.",
    fields: aliasFields,
    operations: {
      read: {
        summary: "Show it.",
        handler: async ({ transaction: tx }, { id }) => {
          const held = await aliasById(tx, id);
          return held && dataReply(aliasReply(held.entity, held.alias, shownId(namespaceIdOf(tx))));
        },
      },
      update: { summary: "Change it.", handler: (context, values) => write(context, values) },
      delete: {
        summary: "Delete it; its entity stays.",
        handler: async ({ transaction: tx }, { id }) => {
          const held = await aliasById(tx, id);
          if (held) await putEntity(tx, held.entity, without(held.entity, id));
          return noContent;
        },
      },
    },
  });
}

function listAliases(context: PrivilegedContext): Promise<Reply | undefined> {
  return listRecords(context, {
    prefix: ALIAS_PREFIX,
    by: "id",
    points: false,
    recordKey: aliasKey,
    info: async (id) => {
      const held = await aliasById(context.transaction, id);
      return held && { ...factors(held.alias), canonical_id: held.entity.id, local: false };
    },
  });
}

async function aliasById(tx: Transaction, id: string): Promise<Held | undefined> {
  const entity = await entityByAliasId(tx, id);
  const alias = entity?.aliases.find((one) => one.id === id);
  return entity && alias && { entity, alias };
}

async function aliasByFactors(tx: Transaction, accessor: string, name: string): Promise<Held | undefined> {
  const entity = await entityByAlias(tx, accessor, name);
  const alias = entity?.aliases.find((one) => one.mountAccessor === accessor && one.name === name);
  return entity && alias && { entity, alias };
}

function without(entity: Entity, aliasId: string): Entity {
  return { ...entity, aliases: entity.aliases.filter((alias) => alias.id !== aliasId) };
}

async function write(context: PrivilegedContext, values: AliasValues): Promise<Reply> {
  const { id, name, mount_accessor: accessor } = values;
  if (!id && !(name && accessor)) throw invalid("'id' or 'mount_accessor' and 'name' must be provided");
  const metadata = values.custom_metadata ?? values.metadata;
  if (metadata) assertMetadata(values.custom_metadata ? "custom_metadata" : "metadata", metadata);
  const tx = context.transaction;
  const held = id ? await aliasById(tx, id) : await aliasByFactors(tx, accessor ?? "", name ?? "");
  if (id && !held) throw invalid("invalid alias id");
  const written = held ? await change(context, held, values) : await create(context, values);
  return dataReply({ canonical_id: written.entity.id, id: written.alias.id });
}

async function create({ transaction: tx, clock }: PrivilegedContext, values: AliasValues): Promise<Held> {
  const mount = await mountOfAccessor(tx, values.mount_accessor ?? "");
  const before = await wantedEntity(tx, values);
  const entity = before ?? (await newEntity(tx, clock.now()));
  assertMountFree(entity, mount.accessor);
  const alias: Alias = {
    id: randomUUID(),
    mountAccessor: mount.accessor,
    mountPath: mount.path,
    mountType: mount.type,
    name: values.name ?? "",
    metadata: {},
    customMetadata: values.custom_metadata ?? values.metadata ?? {},
    created: clock.now(),
    updated: clock.now(),
  };
  await putEntity(tx, before, { ...entity, aliases: [...entity.aliases, alias] });
  return { entity, alias };
}

async function change({ transaction: tx, clock }: PrivilegedContext, held: Held, values: AliasValues): Promise<Held> {
  const target = (await wantedEntity(tx, values)) ?? held.entity;
  const moved = values.mount_accessor && values.mount_accessor !== held.alias.mountAccessor;
  const mount = moved ? await mountOfAccessor(tx, values.mount_accessor ?? "") : undefined;
  const alias: Alias = {
    ...held.alias,
    ...(mount && { mountAccessor: mount.accessor, mountPath: mount.path, mountType: mount.type }),
    name: values.name || held.alias.name,
    customMetadata: values.custom_metadata ?? values.metadata ?? held.alias.customMetadata,
    updated: clock.now(),
  };
  const others = without(target, alias.id);
  assertMountFree(others, alias.mountAccessor);
  if (target.id !== held.entity.id) await putEntity(tx, held.entity, without(held.entity, alias.id));
  await putEntity(tx, target, { ...others, aliases: [...others.aliases, alias] });
  return { entity: target, alias };
}

async function wantedEntity(tx: Transaction, values: AliasValues): Promise<Entity | undefined> {
  const id = values.canonical_id || values.entity_id;
  if (!id) return undefined;
  const entity = await readEntity(tx, id);
  if (!entity) throw invalid("invalid canonical ID");
  return entity;
}

function assertMountFree(entity: Entity, accessor: string): void {
  if (entity.aliases.some((alias) => alias.mountAccessor === accessor))
    throw invalid("Alias already exists for requested entity and mount accessor");
}

function invalid(message: string): CofferError {
  return new CofferError("invalid_request", message);
}

// identity/group-alias: the name by which an auth method knows an external group; one for each group.
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
import { groupByAlias, groupByAliasId, newGroup, putGroup, readGroup } from "./groups.ts";
import { GROUP_ALIAS_PREFIX, type Group, type GroupAlias, groupAliasKey } from "./identity-records.ts";
import { mountOfAccessor } from "./mount-of-accessor.ts";
import { listRecords } from "./record-lists.ts";
import { factors, groupAliasReply } from "./replies.ts";

const aliasFields = {
  name: field.text("The group's name as the auth method knows it.", { bytesMax: NAME_BYTES_MAX }),
  mount_accessor: field.text("Accessor of the auth method's mount.", { bytesMax: NAME_BYTES_MAX }),
  canonical_id: field.text("Id of the external group; without it a new one is made."),
} as const;
type AliasValues = Values<typeof aliasFields> & { readonly id?: string | undefined };

export function groupAliasPaths() {
  return [
    definePrivilegedPath("group-alias", {
      summary: "Makes an alias of an external group, or changes it.",
      fields: { ...aliasFields, id: field.text("Id of the alias, to change it.") },
      operations: { update: { summary: "Write an alias.", handler: (context, values) => write(context, values) } },
    }),
    withTrailingSlash(
      definePrivilegedPath("group-alias/id", {
        summary: "All group aliases by id.",
        operations: { list: { summary: "List them.", handler: listAliases } },
      }),
    ),
    definePrivilegedPath("group-alias/id/:id", {
      summary: "A group alias by its id.",
      fields: aliasFields,
      operations: {
        read: {
          summary: "Show it.",
          handler: async ({ transaction: tx }, { id }) => {
            const group = await groupByAliasId(tx, id);
            return group?.alias && dataReply(groupAliasReply(group, group.alias, shownId(namespaceIdOf(tx))));
          },
        },
        update: { summary: "Change it.", handler: (context, values) => write(context, values) },
        delete: {
          summary: "Delete it; its group stays.",
          handler: async ({ transaction: tx }, { id }) => {
            const group = await groupByAliasId(tx, id);
            if (group) await putGroup(tx, group, { ...group, alias: undefined });
            return noContent;
          },
        },
      },
    }),
  ];
}

function listAliases(context: PrivilegedContext): Promise<Reply | undefined> {
  return listRecords(context, {
    prefix: GROUP_ALIAS_PREFIX,
    by: "id",
    points: false,
    recordKey: groupAliasKey,
    info: async (id) => {
      const group = await groupByAliasId(context.transaction, id);
      return group?.alias && { ...factors(group.alias), canonical_id: group.id };
    },
  });
}

async function write(context: PrivilegedContext, values: AliasValues): Promise<Reply> {
  const { transaction: tx, clock } = context;
  const before = await aliased(tx, values);
  const old = before?.alias;
  const name = values.name || old?.name;
  const accessor = values.mount_accessor || old?.mountAccessor;
  if (!name) throw invalid("missing alias name");
  if (!accessor) throw invalid("missing mount_accessor");
  const mount = await mountOfAccessor(tx, accessor);
  const target = await wantedGroup(tx, values);
  const alias: GroupAlias = {
    id: old?.id ?? randomUUID(),
    mountAccessor: mount.accessor,
    mountPath: mount.path,
    mountType: mount.type,
    name,
    created: old?.created ?? clock.now(),
    updated: clock.now(),
  };
  const group = await attach(context, alias, { before, target });
  return dataReply({ canonical_id: group.id, id: alias.id });
}

/** The group that has the alias now. */
async function aliased(tx: Transaction, { id, name, mount_accessor }: AliasValues): Promise<Group | undefined> {
  if (!id) return name && mount_accessor ? groupByAlias(tx, mount_accessor, name) : undefined;
  const group = await groupByAliasId(tx, id);
  if (!group) throw invalid("invalid group alias ID");
  return group;
}

async function wantedGroup(tx: Transaction, values: AliasValues): Promise<Group | undefined> {
  if (!values.canonical_id) return undefined;
  const group = await readGroup(tx, values.canonical_id);
  if (!group) throw invalid("invalid group ID given in 'canonical_id'");
  if (group.type === "internal") throw invalid("alias can't be set on an internal group");
  return group;
}

/** Gives the alias to its group: the wanted one, the one that has it, or a new one. */
async function attach(
  { transaction: tx, clock }: PrivilegedContext,
  alias: GroupAlias,
  { before, target }: { before: Group | undefined; target: Group | undefined },
): Promise<Group> {
  const existing = target ?? before;
  if (target?.alias && target.alias.id !== alias.id)
    throw invalid("the group has an alias already; change that one or delete it first");
  if (before && target && before.id !== target.id) await putGroup(tx, before, { ...before, alias: undefined });
  const group = existing ?? (await newGroup(tx, clock.now(), { type: "external" }));
  return putGroup(tx, existing, { ...group, alias, updated: clock.now() });
}

function invalid(message: string): CofferError {
  return new CofferError("invalid_request", message);
}

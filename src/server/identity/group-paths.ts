// identity/group: groups by id and by name. Internal ones have members by hand, external ones by logins.
import { CofferError } from "#common/errors.ts";
import type { Transaction } from "../barrier/transaction.ts";
import type { PrivilegedContext } from "../framework/context.ts";
import { field, NAME_BYTES_MAX, policyNames, type Values } from "../framework/fields.ts";
import { withTrailingSlash } from "../framework/listing.ts";
import { definePrivilegedPath } from "../framework/path.ts";
import { dataReply, noContent, type Reply } from "../framework/reply.ts";
import { shownId } from "../namespaces/namespace-scope.ts";
import { namespaceIdOf } from "../namespaces/namespace-transaction.ts";
import { checkedPolicies } from "./entity-paths.ts";
import {
  deleteGroup,
  groupByName,
  memberIds,
  newGroup,
  putGroup,
  readGroup,
  setMembers,
  withMemberGroups,
} from "./groups.ts";
import { assertMetadata, GROUP_NAME_PREFIX, GROUP_PREFIX, type Group, groupKey } from "./identity-records.ts";
import { listRecords } from "./record-lists.ts";
import { groupReply } from "./replies.ts";

const groupFields = {
  name: field.text("Name of the group; unique whatever its case.", { bytesMax: NAME_BYTES_MAX }),
  type: field.text("internal or external; cannot be changed."),
  metadata: field.pairs("Metadata; replaces what there was."),
  policies: field.list("Policies that all tokens of the members get as well.", policyNames),
  member_entity_ids: field.list("Entities in the group; replaces what there was."),
  member_group_ids: field.list("Groups in the group; replaces what there was."),
} as const;
const idField = { id: field.text("Id of the group, to change it.") } as const;
type GroupValues = Values<typeof groupFields> & { readonly id?: string | undefined };

export function groupPaths() {
  return [
    definePrivilegedPath("group", {
      summary: "Makes a group, or changes the one of this id or name.",
      fields: { ...groupFields, ...idField },
      operations: { update: { summary: "Write a group.", handler: (context, values) => write(context, values) } },
    }),
    listPath("id"),
    listPath("name"),
    definePrivilegedPath("group/id/:id", {
      summary: "A group by its id.",
      fields: groupFields,
      operations: {
        read: {
          summary: "Show it.",
          handler: async ({ transaction: tx }, { id }) => show(tx, await readGroup(tx, id)),
        },
        update: { summary: "Change it.", handler: (context, values) => write(context, values) },
        delete: {
          summary: "Delete it.",
          handler: async ({ transaction: tx }, { id }) => remove(tx, await readGroup(tx, id)),
        },
      },
    }),
    definePrivilegedPath("group/name/:name*", {
      summary: "A group by its name.",
      fields: { ...groupFields, ...idField },
      operations: {
        read: {
          summary: "Show it.",
          handler: async ({ transaction: tx }, { name }) => show(tx, await groupByName(tx, name)),
        },
        update: { summary: "Make or change it.", handler: (context, values) => write(context, values) },
        delete: {
          summary: "Delete it.",
          handler: async ({ transaction: tx }, { name }) => remove(tx, await groupByName(tx, name)),
        },
      },
    }),
  ];
}

export async function show(tx: Transaction, group: Group | undefined): Promise<Reply | undefined> {
  return group && dataReply(groupReply(group, await memberIds(tx, group.id), shownId(namespaceIdOf(tx))));
}

async function remove(tx: Transaction, group: Group | undefined): Promise<Reply> {
  if (group) await deleteGroup(tx, group);
  return noContent;
}

function listPath(by: "id" | "name") {
  return withTrailingSlash(
    definePrivilegedPath(`group/${by}`, {
      summary: `All groups by ${by}.`,
      operations: {
        list: {
          summary: "List them.",
          handler: (context) =>
            listRecords(context, {
              prefix: by === "id" ? GROUP_PREFIX : GROUP_NAME_PREFIX,
              by,
              points: by === "name",
              recordKey: groupKey,
              info: async (id) => listInfo(await readGroup(context.transaction, id), by),
            }),
        },
      },
    }),
  );
}

function listInfo(group: Group | undefined, by: "id" | "name") {
  if (!group) return undefined;
  return {
    ...(by === "id" ? { name: group.name } : { id: group.id }),
    num_parent_groups: group.parentGroupIds.length,
  };
}

async function write({ transaction: tx, clock }: PrivilegedContext, values: GroupValues): Promise<Reply> {
  const before = await groupToChange(tx, values);
  const base =
    before ?? (await newGroup(tx, clock.now(), { name: values.name, type: typeOf(values.type || "internal") }));
  assertChange(base, values);
  const grouped =
    values.member_group_ids === undefined ? base : await withMemberGroups(tx, base, values.member_group_ids);
  const after = await putGroup(tx, before, {
    ...grouped,
    name: values.name || base.name,
    metadata: values.metadata ?? base.metadata,
    policies: values.policies === undefined ? base.policies : checkedPolicies(values.policies),
    updated: clock.now(),
  });
  if (values.member_entity_ids !== undefined) await setMembers(tx, after.id, values.member_entity_ids);
  return before ? noContent : dataReply({ id: after.id, name: after.name });
}

async function groupToChange(tx: Transaction, { id, name }: GroupValues): Promise<Group | undefined> {
  if (!id) return name ? groupByName(tx, name) : undefined;
  const group = await readGroup(tx, id);
  if (!group) throw invalid("group not found from id");
  return group;
}

function typeOf(text: string): Group["type"] {
  if (text === "internal" || text === "external") return text;
  throw invalid(`invalid group type ${JSON.stringify(text)}`);
}

function assertChange(group: Group, values: GroupValues): void {
  if (values.type && typeOf(values.type) !== group.type) throw invalid("group type cannot be changed");
  if (values.metadata) assertMetadata("metadata", values.metadata);
  if (group.type === "internal") return;
  if (values.member_entity_ids && values.member_entity_ids.length > 0)
    throw invalid("member entities can't be set manually for external groups");
  if (values.member_group_ids && values.member_group_ids.length > 0)
    throw invalid("member groups can't be set for external groups");
}

function invalid(message: string): CofferError {
  return new CofferError("invalid_request", message);
}

// identity/oidc/assignment: who may log in at a client. One called "allow_all" is always there.
import { CofferError } from "#common/errors.ts";
import type { Transaction } from "../../barrier/transaction.ts";
import { field } from "../../framework/fields.ts";
import { dataReply, noContent, type Reply } from "../../framework/reply.ts";
import { idsOf } from "../entities.ts";
import type { Subject } from "./claims-template.ts";
import { allClients } from "./client-records.ts";
import { assertUnreferenced, namedPaths } from "./named-records.ts";
import { type Assignment, assertOidcName, assignmentKind, type Client, recordKey } from "./oidc-records.ts";

export const ALLOW_ALL = "allow_all";
const EVERYONE: Assignment = { name: ALLOW_ALL, entityIds: ["*"], groupIds: ["*"] };

const assignmentFields = {
  entity_ids: field.list("Ids of entities that may log in."),
  group_ids: field.list("Ids of groups whose members may log in."),
} as const;

export async function readAssignment(tx: Transaction, name: string): Promise<Assignment | undefined> {
  return name === ALLOW_ALL ? EVERYONE : tx.read(assignmentKind, recordKey("assignment", name));
}

/** Whether one of a client's assignments names this entity or a group of it. */
export async function isAssigned(tx: Transaction, client: Client, { entity, groups }: Subject): Promise<boolean> {
  const ids = idsOf(entity);
  for (const name of client.assignments) {
    const assignment = await readAssignment(tx, name);
    if (!assignment) continue;
    const { entityIds, groupIds } = assignment;
    if (entityIds.includes("*") || entityIds.some((id) => ids.has(id))) return true;
    if (groups.some((group) => groupIds.includes(group.id))) return true;
  }
  return false;
}

export function assignmentPaths() {
  return namedPaths({
    folder: "assignment",
    summary: "An assignment: entities and groups that may log in at clients.",
    fields: assignmentFields,
    builtin: [ALLOW_ALL],
    exists: async ({ transaction: tx }, name) => (await readAssignment(tx, name)) !== undefined,
    read: async ({ transaction: tx }, name) => show(await readAssignment(tx, name)),
    write: async ({ transaction: tx }, { name, entity_ids, group_ids }) => {
      assertOwn(name, "modification");
      assertOidcName("assignment", name);
      const before = await readAssignment(tx, name);
      tx.write(assignmentKind, recordKey("assignment", name), {
        name,
        entityIds: [...new Set(entity_ids ?? before?.entityIds ?? [])],
        groupIds: [...new Set(group_ids ?? before?.groupIds ?? [])],
      });
      return noContent;
    },
    remove: ({ transaction: tx }, name) => remove(tx, name),
  });
}

function show(assignment: Assignment | undefined): Reply | undefined {
  return assignment && dataReply({ entity_ids: assignment.entityIds, group_ids: assignment.groupIds });
}

function assertOwn(name: string, what: string): void {
  if (name === ALLOW_ALL) throw new CofferError("invalid_request", `${what} of assignment "${ALLOW_ALL}" not allowed`);
}

async function remove(tx: Transaction, name: string): Promise<Reply> {
  assertOwn(name, "deletion");
  const users = (await allClients(tx)).filter((client) => client.assignments.includes(name));
  assertUnreferenced("assignment", name, users, "clients");
  tx.delete(recordKey("assignment", name));
  return noContent;
}

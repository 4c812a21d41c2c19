// identity/mfa/login-enforcement: which logins need a second factor.
import { randomUUID } from "node:crypto";
import { CofferError } from "#common/errors.ts";
import type { JsonObject } from "#common/json.ts";
import type { Transaction } from "../../barrier/transaction.ts";
import type { NamespaceName, PrivilegedContext } from "../../framework/context.ts";
import { field, type Values } from "../../framework/fields.ts";
import { pageOf, withTrailingSlash } from "../../framework/listing.ts";
import { definePrivilegedPath } from "../../framework/path.ts";
import { dataReply, noContent, type Reply } from "../../framework/reply.ts";
import { compareKeys } from "../../storage/key.ts";
import { assertName } from "../identity-records.ts";
import { ofNamespace } from "../replies.ts";
import { readEnforcements, readMethod, writeEnforcements } from "./mfa-config.ts";
import type { Enforcement } from "./mfa-records.ts";

/** Every login reads them all. */
export const ENFORCEMENTS_MAX = 256;
/** Ids and types in one list of an enforcement. */
const LIST_MAX = 1_000;

const enforcementFields = {
  mfa_method_ids: field.list("Methods, any of which is enough."),
  auth_method_accessors: field.list("Logins through these auth methods, by accessor."),
  auth_method_types: field.list("Logins through auth methods of these types."),
  identity_group_ids: field.list("Logins of members of these groups."),
  identity_entity_ids: field.list("Logins of these entities."),
} as const;

export function enforcementPaths() {
  return [
    withTrailingSlash(
      definePrivilegedPath("mfa/login-enforcement", {
        summary: "All enforcements.",
        operations: { list: { summary: "List them.", handler: (context) => list(context) } },
      }),
    ),
    definePrivilegedPath("mfa/login-enforcement/:name", {
      summary: "An enforcement: logins that need a second factor.",
      fields: enforcementFields,
      operations: {
        read: {
          summary: "Show it.",
          handler: async ({ transaction: tx, scope }, { name }) => {
            const found = (await readEnforcements(tx)).find((one) => one.name === name);
            return found && dataReply(shown(found, scope));
          },
        },
        update: { summary: "Make or change it.", handler: ({ transaction: tx }, values) => write(tx, values) },
        delete: {
          summary: "Delete it.",
          handler: async ({ transaction: tx }, { name }) => {
            const all = await readEnforcements(tx);
            if (all.some((one) => one.name === name))
              writeEnforcements(
                tx,
                all.filter((one) => one.name !== name),
              );
            return noContent;
          },
        },
      },
    }),
  ];
}

function shown(enforcement: Enforcement, scope: NamespaceName): JsonObject {
  return {
    auth_method_accessors: enforcement.mountAccessors,
    auth_method_types: enforcement.mountTypes,
    id: enforcement.id,
    identity_entity_ids: enforcement.entityIds,
    identity_group_ids: enforcement.groupIds,
    mfa_method_ids: enforcement.methodIds,
    name: enforcement.name,
    ...ofNamespace(scope),
  };
}

async function list({ transaction: tx, page, scope }: PrivilegedContext): Promise<Reply | undefined> {
  const all = new Map((await readEnforcements(tx)).map((one) => [one.name, shown(one, scope)]));
  const keys = pageOf([...all.keys()].sort(compareKeys), page);
  if (keys.length === 0) return undefined;
  return dataReply({ keys, key_info: Object.fromEntries(keys.map((key) => [key, all.get(key) ?? {}])) });
}

type EnforcementValues = Values<typeof enforcementFields> & { readonly name: string };

async function write(tx: Transaction, values: EnforcementValues): Promise<Reply> {
  assertName("the name of an enforcement", values.name);
  const all = await readEnforcements(tx);
  const before = all.find((one) => one.name === values.name);
  const enforcement: Enforcement = {
    id: before?.id ?? randomUUID(),
    name: values.name,
    methodIds: unique("mfa_method_ids", values.mfa_method_ids ?? before?.methodIds),
    mountAccessors: unique("auth_method_accessors", values.auth_method_accessors ?? before?.mountAccessors),
    mountTypes: unique("auth_method_types", values.auth_method_types ?? before?.mountTypes),
    groupIds: unique("identity_group_ids", values.identity_group_ids ?? before?.groupIds),
    entityIds: unique("identity_entity_ids", values.identity_entity_ids ?? before?.entityIds),
  };
  await assertComplete(tx, enforcement);
  const others = all.filter((one) => one !== before);
  if (others.length >= ENFORCEMENTS_MAX)
    throw new CofferError("invalid_request", `there are ${ENFORCEMENTS_MAX} enforcements already; delete one first`);
  writeEnforcements(tx, [...others, enforcement]);
  return noContent;
}

function unique(name: string, items: readonly string[] = []): readonly string[] {
  if (items.length > LIST_MAX) throw new CofferError("invalid_request", `${name} has more than ${LIST_MAX} members`);
  return [...new Set(items)];
}

async function assertComplete(tx: Transaction, enforcement: Enforcement): Promise<void> {
  if (enforcement.methodIds.length === 0) throw new CofferError("invalid_request", "missing method ids");
  for (const id of enforcement.methodIds)
    if (!(await readMethod(tx, id)))
      throw new CofferError("invalid_request", `one of the provided method ids doesn't exist: ${JSON.stringify(id)}`);
  const { mountAccessors, mountTypes, groupIds, entityIds } = enforcement;
  if ([mountAccessors, mountTypes, groupIds, entityIds].every((ids) => ids.length === 0))
    throw new CofferError(
      "invalid_request",
      "One of auth_method_accessors, auth_method_types, identity_group_ids, identity_entity_ids must be specified",
    );
}

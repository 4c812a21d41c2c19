// identity/oidc/role: which key signs, for whom, for how long, and what the tokens say of an entity.
import { CofferError } from "#common/errors.ts";
import type { Transaction } from "../../barrier/transaction.ts";
import type { PrivilegedContext } from "../../framework/context.ts";
import { field, type Values } from "../../framework/fields.ts";
import { dataReply, noContent, type Reply } from "../../framework/reply.ts";
import { randomText } from "../../tokens/token-hash.ts";
import { checkTemplate, decodeTemplate } from "./claims-template.ts";
import { namedPaths } from "./named-records.ts";
import { assertOidcName, type Role, recordKey, roleKind } from "./oidc-records.ts";
import { readKey, withMaterial } from "./signing-keys.ts";

const DAY_SECONDS = 86_400;
/** As long as clients of Vault know it. */
const CLIENT_ID_LENGTH = 26;
/** It stands in tokens and in allowed_client_ids. */
const CLIENT_ID_LENGTH_MAX = 256;

const roleFields = {
  key: field.text("The named key that signs."),
  template: field.text("Claims besides those that every token has: JSON with {{variables}}, or that in base64."),
  ttl: field.seconds("How long a token is valid; a day by default."),
  client_id: field.text("Whom the tokens are for; made up when left out."),
} as const;

export function rolePaths() {
  return namedPaths({
    folder: "role",
    summary: "A role, by which entities get tokens.",
    fields: roleFields,
    exists: async ({ transaction: tx }, name) => (await readRole(tx, name)) !== undefined,
    read: async ({ transaction: tx }, name) => show(await readRole(tx, name)),
    write,
    remove: ({ transaction: tx }, name) => {
      tx.delete(recordKey("role", name));
      return noContent;
    },
  });
}

function readRole(tx: Transaction, name: string): Promise<Role | undefined> {
  return tx.read(roleKind, recordKey("role", name));
}

function show(role: Role | undefined): Reply | undefined {
  return role && dataReply({ client_id: role.clientId, key: role.key, template: role.template, ttl: role.ttlSeconds });
}

type RoleValues = Values<typeof roleFields> & { readonly name: string };

async function write({ transaction: tx, clock }: PrivilegedContext, values: RoleValues): Promise<Reply> {
  assertOidcName("role", values.name);
  const before = await readRole(tx, values.name);
  const role: Role = {
    name: values.name,
    key: values.key ?? before?.key ?? "",
    template: values.template === undefined ? (before?.template ?? "") : decodeTemplate(values.template),
    ttlSeconds: values.ttl ?? before?.ttlSeconds ?? DAY_SECONDS,
    clientId: values.client_id || before?.clientId || randomText(CLIENT_ID_LENGTH),
  };
  if (role.key === "") throw new CofferError("invalid_request", "the key parameter is required");
  if (role.ttlSeconds <= 0) throw new CofferError("invalid_request", "ttl must be greater than zero");
  if (role.clientId.length > CLIENT_ID_LENGTH_MAX)
    throw new CofferError("invalid_request", `client_id is longer than ${CLIENT_ID_LENGTH_MAX} characters`);
  checkTemplate(role.template);
  const key = await readKey(tx, role.key);
  if (key && role.ttlSeconds > key.verificationTtlSeconds)
    throw new CofferError(
      "invalid_request",
      "a role's token ttl cannot be longer than the verification_ttl of the key it references",
    );
  if (key) await withMaterial(tx, key, Math.floor(clock.now() / 1000));
  tx.write(roleKind, recordKey("role", role.name), role);
  return noContent;
}

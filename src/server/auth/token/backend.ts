// The token auth method: the tokens themselves, mounted once at auth/token/.
import { CofferError } from "#common/errors.ts";
import type { Backend } from "../../framework/backend.ts";
import type { PrivilegedContext } from "../../framework/context.ts";
import { field } from "../../framework/fields.ts";
import { multiError } from "../../framework/multi-error.ts";
import { definePrivilegedPath } from "../../framework/path.ts";
import { dataReply, listReply, noContent, type Reply } from "../../framework/reply.ts";
import type { Expiration } from "../../leases/expiration.ts";
import { pathOfNamespace } from "../../namespaces/namespace-scope.ts";
import { entityOf } from "../../namespaces/rights.ts";
import { authBlock } from "../../tokens/auth-block.ts";
import { findToken, findTokenByAccessor } from "../../tokens/reachable-token.ts";
import { ACCESSOR_PREFIX, type TokenRecord } from "../../tokens/token-record.ts";
import { updateToken } from "../../tokens/token-store.ts";
import { resolveTtl, shortest } from "../../tokens/token-ttl.ts";
import { createToken, type TokenCreation } from "./token-create.ts";
import { createFields } from "./token-fields.ts";
import { lookupReply } from "./token-reply.ts";
import { readTokenRole, roleFields, tokenRoleReply, writeTokenRole } from "./token-role.ts";

export interface TokenBackendServices extends TokenCreation {
  readonly expiration: Expiration;
}

const tokenField = { token: field.text("The token.") };
const accessorField = { accessor: field.text("The token's accessor.") };
const incrementField = { increment: field.seconds("How long the token is to live from now.") };

export function tokenBackend(services: TokenBackendServices): Backend<PrivilegedContext> {
  return {
    type: "token",
    summary: "Tokens: create, look up, renew, revoke.",
    paths: [
      ...creationPaths(services),
      ...lookupPaths(services),
      ...renewalPaths(services),
      ...revocationPaths(services),
      ...rolePaths(),
      ...accessorPaths(),
    ],
  };
}

function creationPaths(services: TokenBackendServices) {
  return [
    definePrivilegedPath("create", {
      summary: "Creates a token as a child of the caller's.",
      fields: createFields,
      operations: {
        update: {
          summary: "Create a token.",
          handler: (context, values) => createToken(context, values, services, { orphan: false }),
        },
      },
    }),
    definePrivilegedPath("create-orphan", {
      summary: "Creates a token without a parent.",
      access: "sudo",
      fields: createFields,
      operations: {
        update: {
          summary: "Create an orphan.",
          handler: (context, values) => createToken(context, values, services, { orphan: true }),
        },
      },
    }),
    definePrivilegedPath("create/:role_name", {
      summary: "Creates a token by a role.",
      fields: createFields,
      operations: {
        update: {
          summary: "Create a token by a role.",
          handler: async (context, values) => {
            const role = await readTokenRole(context.storage, values.role_name);
            if (!role) throw new CofferError("invalid_request", `unknown role ${values.role_name}`);
            return createToken(context, values, services, { orphan: role.orphan, role });
          },
        },
      },
    }),
  ];
}

function lookupPaths(services: TokenBackendServices) {
  const byToken = async (context: PrivilegedContext, token: string): Promise<Reply> => {
    const record = await findToken(context, services.tokens, token);
    if (!record) throw new CofferError("permission_denied", "bad token");
    return shown(context, services, record, token);
  };
  const self = (context: PrivilegedContext) => byToken(context, context.clientToken);
  return [
    definePrivilegedPath("lookup", {
      summary: "Shows a token.",
      fields: tokenField,
      operations: {
        read: {
          summary: "Show the caller's token.",
          handler: (context, { token }) => byToken(context, token || context.clientToken),
        },
        update: {
          summary: "Show a token.",
          handler: (context, { token }) => byToken(context, token || context.clientToken),
        },
      },
    }),
    definePrivilegedPath("lookup-self", {
      summary: "Shows the caller's own token.",
      fields: tokenField,
      operations: { read: { summary: "Show it.", handler: self }, update: { summary: "Show it.", handler: self } },
    }),
    definePrivilegedPath("lookup-accessor", {
      summary: "Shows a token by its accessor.",
      fields: accessorField,
      operations: {
        update: {
          summary: "Show it.",
          handler: async (context, { accessor }) =>
            shown(context, services, await tokenOfAccessor(context, services, accessor), ""),
        },
      },
    }),
  ];
}

/** `shownId`: the token itself where the caller has it. */
async function shown(
  { transaction }: PrivilegedContext,
  services: TokenBackendServices,
  record: TokenRecord,
  shownId: string,
): Promise<Reply> {
  const entity = await entityOf(transaction, services, record);
  const namespace = await pathOfNamespace(transaction, record.namespace);
  const inherited = entity?.policies ?? [];
  return dataReply({
    ...lookupReply(record, shownId, services.tokens.nowSeconds()),
    ...(namespace && { namespace_path: namespace }),
    // Identities are of the token's own namespace alone, so there are no policies of others.
    ...(inherited.length > 0 && { identity_policies: inherited, external_namespace_policies: {} }),
  });
}

async function tokenOfAccessor(
  context: PrivilegedContext,
  services: TokenBackendServices,
  accessor: string | undefined,
): Promise<TokenRecord> {
  if (!accessor) throw multiError("invalid_request", "missing accessor");
  const record = await findTokenByAccessor(context, accessor);
  if (!record || !services.tokens.isLive(record)) throw multiError("invalid_request", "invalid accessor");
  return record;
}

function renewalPaths(services: TokenBackendServices) {
  const renew = async (context: PrivilegedContext, token: string, increment: number | undefined): Promise<Reply> => {
    if (token === "") throw new CofferError("invalid_request", "missing token ID");
    const record = await findToken(context, services.tokens, token);
    if (!record) throw new CofferError("invalid_request", "token not found");
    return renewToken(context, services, record, token, increment ?? 0);
  };
  return [
    definePrivilegedPath("renew", {
      summary: "Prolongs a token's life.",
      fields: { ...tokenField, ...incrementField },
      operations: {
        update: {
          summary: "Renew a token.",
          handler: (context, { token, increment }) => renew(context, token ?? "", increment),
        },
      },
    }),
    definePrivilegedPath("renew-self", {
      summary: "Prolongs the life of the caller's own token.",
      fields: { ...tokenField, ...incrementField },
      operations: {
        update: {
          summary: "Renew it.",
          handler: (context, { increment }) => renew(context, context.clientToken, increment),
        },
      },
    }),
    definePrivilegedPath("renew-accessor", {
      summary: "Prolongs a token's life by its accessor.",
      fields: { ...accessorField, ...incrementField },
      operations: {
        update: {
          summary: "Renew it.",
          handler: async (context, { accessor, increment }) =>
            renewToken(context, services, await tokenOfAccessor(context, services, accessor), "", increment ?? 0),
        },
      },
    }),
  ];
}

async function renewToken(
  context: PrivilegedContext,
  services: TokenBackendServices,
  record: TokenRecord,
  shownToken: string,
  incrementSeconds: number,
): Promise<Reply> {
  if (record.type === "batch") throw new CofferError("invalid_request", "batch tokens cannot be renewed");
  if (!record.renewable || record.expiresAtSeconds === 0)
    throw new CofferError("invalid_request", "lease is not renewable");
  const now = services.tokens.nowSeconds();
  const { periodSeconds, roleMaxTtlSeconds } = await limitsByRole(context, record);
  const ttl = resolveTtl(incrementSeconds, {
    defaultSeconds: record.ttlSeconds,
    maxSeconds: record.maxTtlSeconds,
    explicitMaxSeconds: shortest(record.explicitMaxTtlSeconds, roleMaxTtlSeconds ?? 0),
    periodSeconds,
    ageSeconds: now - record.issuedAtSeconds,
  });
  const after = { ...record, expiresAtSeconds: now + ttl.ttlSeconds, lastRenewalSeconds: now };
  updateToken(context.transaction, record, after);
  return { auth: { ...authBlock(shownToken, after), lease_duration: ttl.ttlSeconds }, warnings: ttl.warnings };
}

/**
 * The limits of a token that a role made are the role's of today. Roles of other namespaces are out of sight: then what
 * they were counts. Throws `invalid_request` when the role is gone.
 */
async function limitsByRole(
  { scope, storage }: PrivilegedContext,
  record: TokenRecord,
): Promise<Pick<TokenRecord, "periodSeconds" | "roleMaxTtlSeconds">> {
  if (record.role === "" || record.namespace !== scope.id) return record;
  const role = await readTokenRole(storage, record.role);
  if (!role)
    throw new CofferError(
      "invalid_request",
      `original token role ${JSON.stringify(record.role)} could not be found, not renewing`,
    );
  return { periodSeconds: role.periodSeconds || record.periodSeconds, roleMaxTtlSeconds: role.explicitMaxTtlSeconds };
}

function revocationPaths(services: TokenBackendServices) {
  const revoke = async (context: PrivilegedContext, token: string): Promise<Reply> => {
    if (token === "") throw new CofferError("invalid_request", "missing token ID");
    const record = await findToken(context, services.tokens, token);
    if (record?.type === "batch") throw new CofferError("invalid_request", "batch tokens cannot be revoked");
    if (record) await services.expiration.revokeToken(context.transaction, record.hash);
    return noContent;
  };
  return [
    definePrivilegedPath("revoke", {
      summary: "Ends a token, its children and its leases.",
      fields: tokenField,
      operations: {
        update: { summary: "Revoke a token.", handler: (context, { token }) => revoke(context, token ?? "") },
      },
    }),
    definePrivilegedPath("revoke-self", {
      summary: "Ends the caller's own token.",
      fields: tokenField,
      operations: { update: { summary: "Revoke it.", handler: (context) => revoke(context, context.clientToken) } },
    }),
    definePrivilegedPath("revoke-accessor", {
      summary: "Ends a token by its accessor.",
      fields: accessorField,
      operations: {
        update: {
          summary: "Revoke it.",
          handler: async (context, { accessor }) => {
            if (!accessor) throw multiError("invalid_request", "missing accessor");
            const record = await findTokenByAccessor(context, accessor);
            if (!record) return { warnings: ["No token found with this accessor"] };
            await services.expiration.revokeToken(context.transaction, record.hash);
            return noContent;
          },
        },
      },
    }),
    definePrivilegedPath("revoke-orphan", {
      summary: "Ends a token and leaves its children alive as orphans.",
      access: "sudo",
      fields: tokenField,
      operations: {
        update: {
          summary: "Revoke it.",
          handler: async (context, { token }) => {
            if (!token) throw new CofferError("invalid_request", "missing token ID");
            const record = await findToken(context, services.tokens, token);
            if (!record) throw new CofferError("invalid_request", "token to revoke not found");
            if (record.type === "batch") throw new CofferError("invalid_request", "batch tokens cannot be revoked");
            await services.expiration.revokeOrphaning(context.transaction, record.hash);
            return noContent;
          },
        },
      },
    }),
  ];
}

function rolePaths() {
  return [
    definePrivilegedPath("roles/:role_name", {
      summary: "A role: a recipe for tokens.",
      fields: roleFields,
      exists: async (context, { role_name }) => (await readTokenRole(context.storage, role_name)) !== undefined,
      operations: {
        read: {
          summary: "Show a role.",
          handler: async (context, { role_name }) => {
            const role = await readTokenRole(context.storage, role_name);
            return role && dataReply(tokenRoleReply(role));
          },
        },
        update: {
          summary: "Write a role.",
          handler: async (context, values) => {
            const { explicitMaxTtlSeconds: end } = await writeTokenRole(context.storage, values.role_name, values);
            const most = context.mount.maxTtlSeconds;
            return end > most ? { warnings: [overlongRole(end, most)] } : noContent;
          },
        },
        delete: {
          summary: "Delete a role.",
          handler: (context, { role_name }) => {
            context.storage.delete(`role/${role_name}`);
            return noContent;
          },
        },
      },
    }),
    definePrivilegedPath("roles", {
      summary: "All roles.",
      operations: {
        list: {
          summary: "List roles.",
          handler: async (context) => listReply(await context.storage.list("role/", context.page)),
        },
      },
    }),
  ];
}

function overlongRole(seconds: number, most: number): string {
  return `Given explicit max TTL of ${seconds} is greater than system/mount allowed value of ${most} seconds; tokens of this role end with the latter`;
}

function accessorPaths() {
  return [
    definePrivilegedPath("accessors", {
      summary: "The accessors of all service tokens.",
      access: "sudo",
      operations: {
        list: {
          summary: "List accessors.",
          handler: async (context) => listReply(await context.transaction.list(ACCESSOR_PREFIX, context.page)),
        },
      },
    }),
    definePrivilegedPath("tidy", {
      summary: "Kept for clients: index entries cannot outlive their token here.",
      access: "sudo",
      operations: {
        update: {
          summary: "Tidy.",
          handler: () => ({
            status: 202,
            warnings: ["Tokens and their index entries are written in one commit; there is nothing to tidy."],
          }),
        },
      },
    }),
  ];
}

// identity/oidc/scope: what a client may ask to be told about a user, as a template of claims.
import { CofferError } from "#common/errors.ts";
import type { JsonObject } from "#common/json.ts";
import type { Transaction } from "../../barrier/transaction.ts";
import { field } from "../../framework/fields.ts";
import { dataReply, noContent, type Reply } from "../../framework/reply.ts";
import { checkTemplate, decodeTemplate, RESERVED, renderTemplate, type Subject } from "./claims-template.ts";
import { assertUnreferenced, namedPaths } from "./named-records.ts";
import { assertOidcName, recordKey, type Scope, scopeKind } from "./oidc-records.ts";
import { allProviders } from "./provider-records.ts";

/** Every request asks for it; it stands for the claims that every token has. */
export const OPENID = "openid";

const scopeFields = {
  template: field.text("Claims: JSON with {{variables}}, or that in base64."),
  description: field.text("What the scope tells."),
} as const;

export function readScope(tx: Transaction, name: string): Promise<Scope | undefined> {
  return tx.read(scopeKind, recordKey("scope", name));
}

/** Claims of several scopes; undefined when two of them set the same one. */
export async function scopeClaims(
  tx: Transaction,
  names: readonly string[],
  subject: Subject,
  nowSeconds: number,
): Promise<JsonObject | undefined> {
  const claims = new Map<string, JsonObject[string]>();
  for (const name of names) {
    const scope = await readScope(tx, name);
    for (const [claim, value] of Object.entries(renderTemplate(scope?.template ?? "", subject, nowSeconds))) {
      if (claims.has(claim)) return undefined;
      if (!RESERVED.includes(claim)) claims.set(claim, value);
    }
  }
  return Object.fromEntries(claims);
}

export function scopePaths() {
  return namedPaths({
    folder: "scope",
    summary: "A scope: claims about a user that a client may ask for.",
    fields: scopeFields,
    exists: async ({ transaction: tx }, name) => (await readScope(tx, name)) !== undefined,
    read: async ({ transaction: tx }, name) => {
      const scope = await readScope(tx, name);
      return scope && dataReply({ description: scope.description, template: scope.template });
    },
    write: async ({ transaction: tx }, { name, template, description }) => {
      assertOidcName("scope", name);
      if (name === OPENID) throw new CofferError("invalid_request", `the "${OPENID}" scope name is reserved`);
      const before = await readScope(tx, name);
      const scope = {
        name,
        template: template === undefined ? (before?.template ?? "") : decodeTemplate(template),
        description: description ?? before?.description ?? "",
      };
      checkTemplate(scope.template);
      tx.write(scopeKind, recordKey("scope", name), scope);
      return noContent;
    },
    remove: ({ transaction: tx }, name) => remove(tx, name),
  });
}

async function remove(tx: Transaction, name: string): Promise<Reply> {
  const users = (await allProviders(tx)).filter((provider) => provider.scopesSupported.includes(name));
  assertUnreferenced("scope", name, users, "providers");
  tx.delete(recordKey("scope", name));
  return noContent;
}

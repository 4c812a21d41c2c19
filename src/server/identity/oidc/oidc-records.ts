// What identity keeps for OpenID Connect, and under which keys. Names keep their case and are percent-encoded in keys.
//
//   identity/oidc/config                        Config
//   identity/oidc/key/<name>                    Key: its settings and the public halves of its key pairs
//   identity/oidc/key-material/<kid>            the private half of one pair, gone once it no longer signs
//   identity/oidc/role/<name>                   Role
//   identity/oidc/assignment|scope|provider/<name>
//   identity/oidc/client/<name>                 Client
//   identity/oidc/client-of/<client id>         Pointer to the client's name
//   identity/oidc/code/<hash of the code>       AuthorizationCode, gone once it was exchanged
//   identity/oidc/code-expiry/<time>/<hash>     so that codes that nobody exchanges go as well
import { CofferError } from "#common/errors.ts";
import { boolean, type Infer, jsonObject, list, number, object, oneOf, optional, string } from "#common/schema.ts";
import { recordKind, type Transaction } from "../../barrier/transaction.ts";
import { pageOf } from "../../framework/listing.ts";
import { compareKeys } from "../../storage/key.ts";
import type { Page } from "../../storage/storage.ts";
import { assertName } from "../identity-records.ts";

const ROOT = "identity/oidc/";
/** Keys, roles, clients that one request looks at: what a set of public keys is made from. */
export const RECORDS_MAX = 10_000;

export const ALGORITHMS = ["RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "EdDSA"] as const;
export type Algorithm = (typeof ALGORITHMS)[number];
const algorithm = oneOf(...ALGORITHMS);

const publicKeySchema = object({
  kid: string,
  algorithm,
  /** As the set of public keys shows it. */
  jwk: jsonObject,
  /** Until when what it signed must be believed; absent while it signs or is about to. */
  expiresAtSeconds: optional(number),
});
export type PublicKey = Infer<typeof publicKeySchema>;

const keySchema = object({
  name: string,
  algorithm,
  rotationPeriodSeconds: number,
  verificationTtlSeconds: number,
  allowedClientIds: list(string),
  /** "" before the first pair is made. */
  signingKid: string,
  /** The pair that signs after the next rotation; published before it does. */
  nextKid: string,
  rotatesAtSeconds: number,
  published: list(publicKeySchema),
});
export type Key = Infer<typeof keySchema>;
export const keyKind = recordKind("OIDC key", keySchema, { cached: true });
/** PKCS #8, DER in base64. Never cached. */
export const materialKind = recordKind("OIDC key material", object({ pkcs8: string }));

export const configKind = recordKind("OIDC configuration", object({ issuer: string }), { cached: true });

const roleSchema = object({ name: string, key: string, template: string, ttlSeconds: number, clientId: string });
export type Role = Infer<typeof roleSchema>;
export const roleKind = recordKind("OIDC role", roleSchema, { cached: true });

const assignmentSchema = object({ name: string, entityIds: list(string), groupIds: list(string) });
export type Assignment = Infer<typeof assignmentSchema>;
export const assignmentKind = recordKind("OIDC assignment", assignmentSchema, { cached: true });

const scopeSchema = object({ name: string, template: string, description: string });
export type Scope = Infer<typeof scopeSchema>;
export const scopeKind = recordKind("OIDC scope", scopeSchema, { cached: true });

const clientSchema = object({
  name: string,
  clientId: string,
  /** "" for public clients. Stored as it is, because reads show it. */
  clientSecret: string,
  type: oneOf("confidential", "public"),
  key: string,
  redirectUris: list(string),
  assignments: list(string),
  idTokenTtlSeconds: number,
  accessTokenTtlSeconds: number,
  authorizationCode: boolean,
  clientCredentials: boolean,
});
export type Client = Infer<typeof clientSchema>;
export const clientKind = recordKind("OIDC client", clientSchema);
export const clientPointerKind = recordKind("OIDC client index", object({ name: string }), { cached: true });

const providerSchema = object({
  name: string,
  /** Scheme, host and port in place of the server's own; "" for those. */
  issuer: string,
  allowedClientIds: list(string),
  scopesSupported: list(string),
});
export type Provider = Infer<typeof providerSchema>;
export const providerKind = recordKind("OIDC provider", providerSchema, { cached: true });

const codeSchema = object({
  provider: string,
  clientId: string,
  entityId: string,
  redirectUri: string,
  scopes: list(string),
  nonce: string,
  /** Asked for by max_age: the answer then says when the user logged in. */
  authTimeSeconds: optional(number),
  challenge: optional(object({ method: oneOf("plain", "S256"), value: string })),
  expiresAtSeconds: number,
});
export type AuthorizationCode = Infer<typeof codeSchema>;
export const codeKind = recordKind("OIDC authorization code", codeSchema);

/** The kinds of things that have a name. */
export type Folder = "key" | "role" | "assignment" | "scope" | "client" | "provider";

export const CONFIG_KEY = `${ROOT}config`;
export const recordKey = (folder: Folder, name: string): string => `${ROOT}${folder}/${encodeURIComponent(name)}`;
export const materialKey = (kid: string): string => `${ROOT}key-material/${encodeURIComponent(kid)}`;
export const clientOfKey = (clientId: string): string => `${ROOT}client-of/${encodeURIComponent(clientId)}`;
export const codeKey = (hash: string): string => `${ROOT}code/${hash}`;
export const CODE_EXPIRY_PREFIX = `${ROOT}code-expiry/`;

/** The names in a folder, those that are built in included, in order. */
export async function listNames(
  tx: Transaction,
  folder: Folder,
  page: Page,
  builtin: readonly string[] = [],
): Promise<readonly string[]> {
  const stored = await tx.list(`${ROOT}${folder}/`, { limit: RECORDS_MAX });
  const names = new Set([...stored.map(decodeURIComponent), ...builtin]);
  return pageOf([...names].sort(compareKeys), page);
}

/** Throws `invalid_request` for a name that cannot be stored or read back as a segment of a path. */
export function assertOidcName(folder: Folder, name: string): void {
  assertName(`the name of a ${folder}`, name);
  if (!/^\w([\w.-]*\w)?$/.test(name))
    throw new CofferError("invalid_request", `the name of a ${folder} has letters, digits, "_", "-" and "." only`);
}

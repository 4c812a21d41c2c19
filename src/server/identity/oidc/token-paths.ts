// identity/oidc: tokens that say who an entity is, what it takes to check them, and the issuer they name.
import { decodeProtectedHeader, errors, jwtVerify } from "jose";
import { CofferError } from "#common/errors.ts";
import type { JsonObject } from "#common/json.ts";
import type { Transaction } from "../../barrier/transaction.ts";
import type { PrivilegedContext } from "../../framework/context.ts";
import { field, withDefault } from "../../framework/fields.ts";
import { definePrivilegedPath } from "../../framework/path.ts";
import { dataReply, noContent, type Reply } from "../../framework/reply.ts";
import { shownId } from "../../namespaces/namespace-scope.ts";
import { namespaceIdOf } from "../../namespaces/namespace-transaction.ts";
import { currentEntity } from "../entities.ts";
import { groupsOf } from "../groups.ts";
import { renderTemplate, type Subject } from "./claims-template.ts";
import { assertIssuer, configuredIssuer, ISSUER_WARNING, tokenIssuer } from "./issuer.ts";
import {
  ALGORITHMS,
  CONFIG_KEY,
  configKind,
  listNames,
  type PublicKey,
  RECORDS_MAX,
  type Role,
  recordKey,
  roleKind,
} from "./oidc-records.ts";
import type { OidcServices } from "./oidc-services.ts";
import { allKeys, believedKeys, publicKeyOf, readKey, sign } from "./signing-keys.ts";

/** Longer texts are no token of ours. */
const TOKEN_LENGTH_MAX = 65_536;

export function tokenPaths(services: OidcServices) {
  return [configPath(), ...usePaths(services), ...discoveryPaths(services)];
}

function configPath() {
  return definePrivilegedPath("oidc/config", {
    summary: "The issuer that tokens name.",
    fields: { issuer: field.text("Scheme, host, port and path; the server's own address when empty.") },
    operations: {
      read: {
        summary: "Show it.",
        handler: async ({ transaction: tx }) => dataReply({ issuer: await configuredIssuer(tx) }),
      },
      update: { summary: "Set it.", handler: ({ transaction: tx }, { issuer }) => writeConfig(tx, issuer) },
    },
  });
}

function writeConfig(tx: Transaction, issuer: string | undefined): Reply {
  if (issuer === undefined) return noContent;
  assertIssuer(issuer, { path: true });
  tx.write(configKind, CONFIG_KEY, { issuer: issuer.replace(/\/+$/, "") });
  if (issuer === "") return noContent;
  return { warnings: [ISSUER_WARNING] };
}

function usePaths(services: OidcServices) {
  return [
    definePrivilegedPath("oidc/token/:name", {
      summary: "A signed token about the caller's entity.",
      operations: {
        read: { summary: "Get one.", handler: (context, { name }) => issueToken(context, name, services) },
      },
    }),
    definePrivilegedPath("oidc/introspect", {
      summary: "Whether a token is good.",
      fields: {
        token: withDefault(field.text("The token."), ""),
        client_id: withDefault(field.text("Whom it must be for."), ""),
      },
      operations: {
        update: {
          summary: "Check it.",
          handler: async (context, { token, client_id }) => {
            const trouble = await troubleOf(context, token, client_id, services);
            return { bare: trouble === undefined ? { active: true } : { active: false, error: trouble } };
          },
        },
      },
    }),
  ];
}

function discoveryPaths(services: OidcServices) {
  return [
    definePrivilegedPath("oidc/.well-known/openid-configuration", {
      summary: "Discovery document of identity tokens.",
      access: "public",
      operations: {
        read: {
          summary: "Get it.",
          handler: async ({ transaction: tx }) => {
            const issuer = await tokenIssuer(tx, services);
            return { bare: discovery(issuer, { response_types_supported: ["id_token"] }) };
          },
        },
      },
    }),
    definePrivilegedPath("oidc/.well-known/keys", {
      summary: "Public keys of identity tokens.",
      access: "public",
      operations: {
        read: {
          summary: "Get them.",
          handler: async ({ transaction: tx, clock }) => {
            const roles = await allRoles(tx);
            return { bare: await keySet(tx, new Set(roles.map((role) => role.key)), clock.now() / 1000) };
          },
        },
      },
    }),
  ];
}

/** What the discovery documents of tokens and of providers have in common. */
export function discovery(issuer: string, rest: JsonObject): JsonObject {
  return {
    issuer,
    jwks_uri: `${issuer}/.well-known/keys`,
    id_token_signing_alg_values_supported: ALGORITHMS,
    subject_types_supported: ["public"],
    ...rest,
  };
}

/** RFC 7517: the public keys of these named keys. */
export async function keySet(tx: Transaction, names: ReadonlySet<string>, nowSeconds: number): Promise<JsonObject> {
  const keys = (await allKeys(tx)).filter((key) => names.has(key.name));
  return { keys: keys.flatMap((key) => believedKeys(key, nowSeconds)).map(({ jwk }) => jwk) };
}

async function allRoles(tx: Transaction): Promise<readonly Role[]> {
  const names = await listNames(tx, "role", { limit: RECORDS_MAX });
  await tx.prefetch(names.map((name) => recordKey("role", name)));
  const roles = await Promise.all(names.map((name) => tx.read(roleKind, recordKey("role", name))));
  return roles.filter((role) => role !== undefined);
}

async function issueToken(context: PrivilegedContext, name: string, services: OidcServices): Promise<Reply> {
  const { transaction: tx, caller, clock } = context;
  const role = await tx.read(roleKind, recordKey("role", name));
  if (!role) throw new CofferError("invalid_request", `role ${JSON.stringify(name)} not found`);
  const key = await readKey(tx, role.key);
  if (!key) throw new CofferError("invalid_request", `key ${JSON.stringify(role.key)} not found`);
  if (!key.allowedClientIds.includes("*") && !key.allowedClientIds.includes(role.clientId))
    throw new CofferError(
      "invalid_request",
      `the key ${JSON.stringify(role.key)} does not list the client ID of the role ${JSON.stringify(name)} as an allowed client ID`,
    );
  const subject = await subjectOf(tx, caller?.entityId ?? "");
  if (!subject) throw new CofferError("invalid_request", "no entity associated with the request's token");
  const now = Math.floor(clock.now() / 1000);
  const ttl = Math.min(role.ttlSeconds, key.verificationTtlSeconds);
  const claims: JsonObject = {
    ...renderTemplate(role.template, subject, now),
    iss: await tokenIssuer(tx, services),
    namespace: shownId(namespaceIdOf(tx)),
    sub: subject.entity.id,
    aud: role.clientId,
    iat: now,
    exp: now + ttl,
  };
  return dataReply({ client_id: role.clientId, token: await sign(tx, key, claims, now), ttl });
}

/** An entity with its groups; undefined when there is none or it is disabled. */
export async function subjectOf(tx: Transaction, entityId: string): Promise<Subject | undefined> {
  const entity = entityId === "" ? undefined : await currentEntity(tx, entityId);
  if (!entity || entity.disabled) return undefined;
  const { direct, inherited } = await groupsOf(tx, entity);
  return { entity, groups: [...direct, ...inherited] };
}

/** Why a token must not be believed; undefined when it may be. */
async function troubleOf(
  { transaction: tx, clock }: PrivilegedContext,
  token: string,
  clientId: string,
  services: OidcServices,
): Promise<string | undefined> {
  if (token.length > TOKEN_LENGTH_MAX) return "error parsing token: it is too long";
  const key = await keyThatSigned(tx, token, clock.now() / 1000);
  if (!key) return "unable to validate the token signature";
  const issuer = await tokenIssuer(tx, services);
  try {
    const { payload } = await jwtVerify(token, publicKeyOf(key), {
      algorithms: [key.algorithm],
      issuer,
      currentDate: new Date(clock.now()),
      ...(clientId !== "" && { audience: clientId }),
    });
    const subject = await subjectOf(tx, payload.sub ?? "");
    return subject ? undefined : "entity was not found or is disabled";
  } catch (error) {
    if (error instanceof errors.JOSEError) return `error validating claims: ${error.message}`;
    throw error;
  }
}

async function keyThatSigned(tx: Transaction, token: string, nowSeconds: number): Promise<PublicKey | undefined> {
  const kid = kidOf(token);
  if (kid === undefined) return undefined;
  return (await allKeys(tx)).flatMap((key) => believedKeys(key, nowSeconds)).find((key) => key.kid === kid);
}

function kidOf(token: string): string | undefined {
  try {
    return decodeProtectedHeader(token).kid;
  } catch {
    return undefined; // no header that could be read: no token
  }
}

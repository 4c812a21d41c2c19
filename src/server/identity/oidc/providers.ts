// identity/oidc/provider: OpenID Connect providers, and the two documents that relying parties fetch first.
import { CofferError } from "#common/errors.ts";
import type { JsonObject } from "#common/json.ts";
import type { Transaction } from "../../barrier/transaction.ts";
import type { NamespaceName, PrivilegedContext } from "../../framework/context.ts";
import { field, type Values } from "../../framework/fields.ts";
import { definePrivilegedPath } from "../../framework/path.ts";
import { dataReply, noContent, type Reply } from "../../framework/reply.ts";
import { checkTemplate } from "./claims-template.ts";
import { allClients } from "./client-records.ts";
import { assertIssuer, ISSUER_WARNING } from "./issuer.ts";
import { namedPaths } from "./named-records.ts";
import { assertOidcName, listNames, type Provider, providerKind, recordKey } from "./oidc-records.ts";
import type { OidcServices } from "./oidc-services.ts";
import { allProviders, DEFAULT_PROVIDER, providerIssuer, readProvider, serves } from "./provider-records.ts";
import { OPENID, readScope } from "./scopes.ts";
import { discovery, keySet } from "./token-paths.ts";

const providerFields = {
  issuer: field.text("Scheme, host and port at which relying parties reach the server; its own address by default."),
  allowed_client_ids: field.list('Clients that may use it, by client id; "*" is all.'),
  scopes_supported: field.list("Scopes that clients may ask for."),
} as const;

export function providerPaths(services: OidcServices) {
  return [
    ...namedPaths({
      folder: "provider",
      summary: "A provider, where clients let their users log in.",
      fields: providerFields,
      builtin: [DEFAULT_PROVIDER],
      exists: async ({ transaction: tx }, name) => (await readProvider(tx, name)) !== undefined,
      list: (context) => list(context, services),
      read: async ({ transaction: tx, scope }, name) => {
        const provider = await readProvider(tx, name);
        return provider && dataReply(shown(provider, services, scope));
      },
      write: ({ transaction: tx }, values) => write(tx, values),
      remove: ({ transaction: tx }, name) => {
        if (name === DEFAULT_PROVIDER)
          throw new CofferError("invalid_request", `deletion of OIDC provider "${DEFAULT_PROVIDER}" not allowed`);
        tx.delete(recordKey("provider", name));
        return noContent;
      },
    }),
    ...documentPaths(services),
  ];
}

function shown(provider: Provider, services: OidcServices, scope: NamespaceName): JsonObject {
  return {
    allowed_client_ids: provider.allowedClientIds,
    issuer: providerIssuer(provider, services, scope),
    scopes_supported: provider.scopesSupported,
  };
}

async function list(
  { transaction: tx, page, data, scope }: PrivilegedContext,
  services: OidcServices,
): Promise<Reply | undefined> {
  const clientId = data["allowed_client_id"];
  const names = new Set(await listNames(tx, "provider", page, [DEFAULT_PROVIDER]));
  const providers = (await allProviders(tx)).filter(
    (provider) => names.has(provider.name) && (typeof clientId !== "string" || serves(provider, { clientId })),
  );
  if (providers.length === 0) return undefined;
  return dataReply({
    keys: providers.map((provider) => provider.name),
    key_info: Object.fromEntries(providers.map((provider) => [provider.name, shown(provider, services, scope)])),
  });
}

type ProviderValues = Values<typeof providerFields> & { readonly name: string };

async function write(tx: Transaction, values: ProviderValues): Promise<Reply> {
  assertOidcName("provider", values.name);
  const before = await readProvider(tx, values.name);
  const provider: Provider = {
    name: values.name,
    issuer: values.issuer ?? before?.issuer ?? "",
    allowedClientIds: [...new Set(values.allowed_client_ids ?? before?.allowedClientIds ?? [])],
    // Every provider supports it, said or not.
    scopesSupported: [...new Set(values.scopes_supported ?? before?.scopesSupported ?? [])].filter(
      (name) => name !== OPENID,
    ),
  };
  assertIssuer(provider.issuer, { path: false });
  const warnings = [
    ...(provider.issuer === "" ? [] : [ISSUER_WARNING]),
    ...(await conflictsOf(tx, provider.scopesSupported)),
  ];
  tx.write(providerKind, recordKey("provider", provider.name), provider);
  return warnings.length > 0 ? { warnings } : noContent;
}

/** Scopes that set the same claim cannot be asked for together. Throws `invalid_request` for one that is not there. */
async function conflictsOf(tx: Transaction, scopes: readonly string[]): Promise<readonly string[]> {
  const warnings: string[] = [];
  const owners = new Map<string, string>();
  for (const name of scopes) {
    const scope = await readScope(tx, name);
    if (!scope) throw new CofferError("invalid_request", `scope ${JSON.stringify(name)} does not exist`);
    for (const claim of checkTemplate(scope.template)) {
      const owner = owners.get(claim);
      if (owner === undefined) owners.set(claim, name);
      else
        warnings.push(
          `Found scope templates with conflicting top-level keys: conflict "${claim}" in scopes "${owner}", "${name}". This may result in an error if the scopes are requested in an OIDC Authentication Request.`,
        );
    }
  }
  return warnings;
}

function documentPaths(services: OidcServices) {
  return [
    definePrivilegedPath("oidc/provider/:name/.well-known/openid-configuration", {
      summary: "A provider's discovery document.",
      access: "public",
      operations: {
        read: {
          summary: "Get it.",
          handler: async ({ transaction: tx, scope }, { name }) => {
            const provider = await readProvider(tx, name);
            return provider && { bare: providerDiscovery(provider, services, scope) };
          },
        },
      },
    }),
    definePrivilegedPath("oidc/provider/:name/.well-known/keys", {
      summary: "Public keys of a provider's tokens.",
      access: "public",
      operations: {
        read: {
          summary: "Get them.",
          handler: async ({ transaction: tx, clock }, { name }) => {
            const provider = await readProvider(tx, name);
            if (!provider) return undefined;
            const clients = (await allClients(tx)).filter((client) => serves(provider, client));
            return { bare: await keySet(tx, new Set(clients.map((client) => client.key)), clock.now() / 1000) };
          },
        },
      },
    }),
  ];
}

/** OpenID Connect Discovery 1.0, section 3. */
function providerDiscovery(provider: Provider, services: OidcServices, scope: NamespaceName): JsonObject {
  const issuer = providerIssuer(provider, services, scope);
  return discovery(issuer, {
    authorization_endpoint: `${issuer.replace("/v1/", "/ui/vault/")}/authorize`,
    token_endpoint: `${issuer}/token`,
    userinfo_endpoint: `${issuer}/userinfo`,
    request_parameter_supported: false,
    request_uri_parameter_supported: false,
    response_types_supported: ["code"],
    scopes_supported: [...provider.scopesSupported, OPENID],
    claims_supported: [],
    grant_types_supported: ["authorization_code", "client_credentials"],
    code_challenge_methods_supported: ["plain", "S256"],
    token_endpoint_auth_methods_supported: ["none", "client_secret_basic", "client_secret_post"],
  });
}

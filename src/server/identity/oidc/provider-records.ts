// Providers in storage. One called "default", which serves all clients, is always there.
import type { Transaction } from "../../barrier/transaction.ts";
import type { NamespaceName } from "../../framework/context.ts";
import { type Client, listNames, type Provider, providerKind, RECORDS_MAX, recordKey } from "./oidc-records.ts";
import type { OidcServices } from "./oidc-services.ts";

export const DEFAULT_PROVIDER = "default";
const BUILTIN: Provider = { name: DEFAULT_PROVIDER, issuer: "", allowedClientIds: ["*"], scopesSupported: [] };

export async function readProvider(tx: Transaction, name: string): Promise<Provider | undefined> {
  const stored = await tx.read(providerKind, recordKey("provider", name));
  return stored ?? (name === DEFAULT_PROVIDER ? BUILTIN : undefined);
}

export async function allProviders(tx: Transaction): Promise<readonly Provider[]> {
  const names = await listNames(tx, "provider", { limit: RECORDS_MAX }, [DEFAULT_PROVIDER]);
  await tx.prefetch(names.map((name) => recordKey("provider", name)));
  const providers = await Promise.all(names.map((name) => readProvider(tx, name)));
  return providers.filter((provider) => provider !== undefined);
}

/** Scheme, host and port of a provider's addresses. */
function providerHost(provider: Provider, services: OidcServices): string {
  return provider.issuer || services.apiAddress;
}

/** Who a provider's tokens are from. */
export function providerIssuer(provider: Provider, services: OidcServices, scope: NamespaceName): string {
  return `${providerHost(provider, services)}/v1/${scope.path}identity/oidc/provider/${provider.name}`;
}

export function serves(provider: Provider, client: Pick<Client, "clientId">): boolean {
  return provider.allowedClientIds.includes("*") || provider.allowedClientIds.includes(client.clientId);
}

// Who the tokens say they are from. Relying parties fetch the discovery document below this address, so it must be one
// at which they reach the server.
import { CofferError } from "#common/errors.ts";
import type { Transaction } from "../../barrier/transaction.ts";
import { namespaceNameOf } from "../../namespaces/namespace-scope.ts";
import { CONFIG_KEY, configKind } from "./oidc-records.ts";
import type { OidcServices } from "./oidc-services.ts";

export const ISSUER_WARNING =
  'If "issuer" is set explicitly, all tokens must be validated against that address, including those issued by secondary clusters. Setting issuer to "" will restore the default behavior of using the cluster\'s api_addr as the issuer.';

export async function configuredIssuer(tx: Transaction): Promise<string> {
  return (await tx.read(configKind, CONFIG_KEY))?.issuer ?? "";
}

/** The issuer of identity tokens. */
export async function tokenIssuer(tx: Transaction, services: OidcServices): Promise<string> {
  const { path } = await namespaceNameOf(tx);
  return `${(await configuredIssuer(tx)) || services.apiAddress}/v1/${path}identity/oidc`;
}

/** Throws `invalid_request` unless it is "" or scheme, host and port, and a path where one is allowed. */
export function assertIssuer(issuer: string, options: { path: boolean }): void {
  if (issuer === "") return;
  const url = URL.parse(issuer);
  const isPlain = url && /^https?:$/.test(url.protocol) && url.username === "" && url.password === "";
  if (isPlain && !/[?#]/.test(issuer) && (options.path || /^https?:\/\/[^/]+$/.test(issuer))) return;
  throw new CofferError(
    "invalid_request",
    options.path
      ? "invalid issuer, which must include only a scheme, host, optional port, and path (e.g. https://example.com:8200/vault)"
      : "invalid issuer, which must include only a scheme, host, and optional port (e.g. https://example.com:8200)",
  );
}

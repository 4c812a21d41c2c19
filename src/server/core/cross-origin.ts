// Which web pages of other origins may use the API (sys/config/cors). One record; without it no origin is treated in
// any way. Decides, knows nothing of HTTP messages.
import { boolean, type Infer, list, object, string, withDefault } from "#common/schema.ts";
import { recordKind, type Transaction } from "../barrier/transaction.ts";

const corsKind = recordKind(
  "cors configuration",
  object({ origins: list(string), headers: list(string), credentials: withDefault(boolean, false) }),
  {
    cached: true,
  },
);
export type CrossOriginRules = Infer<typeof corsKind.schema>;
const CORS_KEY = "core/config/cors";

/** What clients of the API send; pages may always send these. */
export const HEADERS_ALWAYS_ALLOWED: readonly string[] = [
  "Content-Type",
  "X-Requested-With",
  "X-Vault-AWS-IAM-Server-ID",
  "X-Vault-MFA",
  "X-Vault-No-Request-Forwarding",
  "X-Vault-Wrap-Format",
  "X-Vault-Wrap-TTL",
  "X-Vault-Policy-Override",
  "Authorization",
  "X-Vault-Token",
  "X-Vault-Namespace",
  "X-Vault-Request",
];

export function readCrossOrigin(tx: Transaction): Promise<CrossOriginRules | undefined> {
  return tx.read(corsKind, CORS_KEY);
}

export function writeCrossOrigin(tx: Transaction, rules: CrossOriginRules | undefined): void {
  if (rules) tx.write(corsKind, CORS_KEY, rules);
  else tx.delete(CORS_KEY);
}

/** "*" is every origin. */
export function isOriginAllowed(rules: CrossOriginRules, origin: string): boolean {
  return rules.origins.includes("*") || rules.origins.includes(origin);
}

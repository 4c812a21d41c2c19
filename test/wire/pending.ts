// Scenarios that do not pass yet, with what is missing. The wire test runs them all the same and fails when one of them
// passes, so that this list never says more than is true.
const missing = (what: string, ...names: string[]): [string, string][] => names.map((name) => [name, what]);

export const PENDING: ReadonlyMap<string, string> = new Map([
  ...missing("auth method cert", "cert-auth-config"),
  ...missing("auth method jwt", "jwt-claims", "jwt-config-roles", "jwt-login"),
  ...missing("auth method ldap", "ldap-auth-config", "ldap-auth-login"),
  ...missing("auth method radius", "radius-auth-config"),
  ...missing("engine database", "database-config", "database-creds", "database-roles", "database-static"),
  ...missing("engine kubernetes", "kubernetes-secrets-roles"),
  ...missing("engine ldap", "ldap-secrets-static"),
  ...missing("engine rabbitmq", "rabbitmq-config-roles"),
  ...missing("engine totp", "totp-keys-codes"),
  ...missing("engine pki", "pki-config", "pki-fetch-raw", "pki-intermediate", "pki-issue-names", "pki-issue-sans"),
  ...missing("engine pki", "pki-revoke-crl", "pki-roles", "pki-root-generate", "pki-sign-csr"),
  ...missing("engine ssh: certificates", "ssh-ca-config", "ssh-roles-otp", "ssh-sign"),
  ...missing("engine transit", "transit-batch", "transit-datakey-random", "transit-derived-convergent"),
  ...missing("engine transit", "transit-encrypt-decrypt", "transit-export-backup", "transit-hmac"),
  ...missing("engine transit", "transit-key-types", "transit-known-answers", "transit-sign-verify"),
  ...missing("engine transit", "transit-versions"),
  ...missing("engines transit and totp", "openapi-engines"),
  ...missing("engines transit, pki, totp and database", "plugins-catalog"),
]);

// What this build says of itself. Clients of Vault compare versions to find out what a server can do: the first number
// is Vault's that the API follows.
export const VERSION = "1.19.0+coffer.0.1.0";
export const VERSION_DATE = "2026-11-24T00:00:00Z";

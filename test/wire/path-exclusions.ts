// What test/wire/paths.json has and this server has not, on purpose. Lines as missingFrom (api-comparison.ts) gives them.

export interface PathExclusion {
  readonly lines: RegExp;
  readonly reason: string;
}

export const PATH_EXCLUSIONS: readonly PathExclusion[] = [
  {
    lines: /^path \/sys\/workflows\//,
    reason: "workflows: one peer's own; a bootstrap stanza and policies as code do their work here",
  },
  {
    lines: /^path \/sys\/external-keys\//,
    reason: "external keys: one peer's own, on its development branch; keys in an HSM are a matter of seals here",
  },
  {
    lines: /^path \/sys\/namespaces\/\{path\}\/(seal|unseal|seal-status|delete-sealed)$/,
    reason: "a seal for each namespace: one peer's own; namespaces share the barrier here and can be locked",
  },
  {
    lines: /^field (post|patch) \/sys\/namespaces\/\{path\} (seal|pgp_keys)$/,
    reason: "fields of such seals",
  },
  {
    lines: /^path \/identity\/mfa\/method\/(duo|okta|pingid)(\/|$)/,
    reason: "second factors that need an outside service; TOTP is there",
  },
  {
    lines: /^path \/sys\/pprof\/(block|goroutine|mutex|symbol|threadcreate|trace)$/,
    reason: "profiles of Go's runtime: sys/pprof/{profile} refuses each with its reason",
  },
  {
    lines:
      /^field (post|patch) \/(auth\/approle\/role\/\{role_name\}\/secret-id|secret\/metadata\/\{path\}|sys\/raw(\/\{path\})?) (after|limit)$/,
    reason: "a page is asked for in a list's query; the recording shows its fields with the write of the same path",
  },
  {
    lines: /^path \/secret\/\^\.\*\$$/,
    reason: "not a path: how the other server catches what KV version 2 does not serve",
  },
  {
    lines: /^field post \/sys\/raw path$/,
    reason: "the key of a record is in the path, where policies see it",
  },
];

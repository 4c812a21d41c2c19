// The paths of sys that work on the whole server and so are only in the root namespace.
import type { Path } from "../framework/path.ts";

/** First segments of such paths, or more of them where others below are each namespace's own. */
const ROOT_ONLY =
  /^(audit|audit-hash|audit-verify|config|generate-root[^/]*|ha-status|health|host-info|in-flight-req|init|key-status|leader|loggers|metrics|monitor|pprof|quotas\/config|raw|rekey[^/]*|replication|rotate|seal[^/]*|step-down|storage|unseal|version-history)(\/|$)/;

/** Marks a path of sys as the root namespace's where it is one. */
export function markRootOnly<C>(path: Path<C>): Path<C> {
  return ROOT_ONLY.test(path.pattern) ? { ...path, rootOnly: true } : path;
}

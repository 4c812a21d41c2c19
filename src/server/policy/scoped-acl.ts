// An ACL as it counts in a namespace below its own: its rules name paths from its own namespace, requests name theirs
// from where they are.
import type { JsonObject } from "#common/json.ts";
import { type Acl, compileAcl } from "./acl.ts";

/** The same rights, asked about by paths that lie below `prefix` ("team/"; "" changes nothing). */
export function scopeAcl(acl: Acl, prefix: string): Acl {
  if (prefix === "" || acl.isRoot) return acl;
  return {
    isRoot: false,
    validUntilMillis: acl.validUntilMillis,
    check: (request) => acl.check({ ...request, path: prefix + request.path }),
    capabilities: (path) => acl.capabilities(prefix + path),
    sources: (request) => acl.sources({ ...request, path: prefix + request.path }),
    subscribes: (path, type) => acl.subscribes(prefix + path, type),
    grantsBelow: (path) => acl.grantsBelow(prefix + path),
    resultant: () => {
      const { root, exact_paths, glob_paths } = acl.resultant();
      return { root, exact_paths: below(exact_paths, prefix), glob_paths: globsBelow(glob_paths, prefix) };
    },
    patterns: acl.patterns
      .filter((pattern) => pattern.startsWith(prefix))
      .map((pattern) => pattern.slice(prefix.length)),
  };
}

/** The other way round: the rights of a namespace below, asked about by paths that lead down to it by `prefix`. */
export function liftAcl(acl: Acl, prefix: string): Acl {
  if (prefix === "") return acl;
  const none = compileAcl([]);
  const reached = (path: string) => (path.startsWith(prefix) ? acl : none);
  const rest = (path: string) => path.slice(prefix.length);
  return {
    isRoot: false,
    validUntilMillis: acl.validUntilMillis,
    check: (request) => reached(request.path).check({ ...request, path: rest(request.path) }),
    capabilities: (path) => reached(path).capabilities(rest(path)),
    sources: (request) => reached(request.path).sources({ ...request, path: rest(request.path) }),
    subscribes: (path, type) => reached(path).subscribes(rest(path), type),
    grantsBelow: (path) => reached(path).grantsBelow(rest(path)),
    resultant: () => none.resultant(),
    patterns: acl.patterns.map((pattern) => prefix + pattern),
  };
}

function below(paths: JsonObject, prefix: string): JsonObject {
  const inside = Object.entries(paths).filter(([path]) => path.startsWith(prefix));
  return Object.fromEntries(inside.map(([path, entry]) => [path.slice(prefix.length), entry]));
}

/** A glob above the namespace ("te" of "te*") holds for everything in it; keys have no "*" at their end. */
function globsBelow(paths: JsonObject, prefix: string): JsonObject {
  const above = Object.entries(paths)
    .filter(([path]) => prefix.startsWith(path) && !path.includes("+"))
    .sort(([a], [b]) => b.length - a.length)[0];
  return { ...(above && { "": above[1] }), ...below(paths, prefix) };
}

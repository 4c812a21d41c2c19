// Whether the access rules of a VaultCluster allow a path to a namespace. The server's boundary has the same rules; here
// is where the user gets a sentence instead of a 403 in a pod. Pure.
import { matchesSelector } from "../../api/references.ts";
import type { VaultCluster } from "../../api/vault-cluster.ts";

export interface BindingNamespace {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
}

/** The path templates that hold for the namespace, filled in: "secret/team/*". */
export function allowedPaths({ spec }: VaultCluster, namespace: BindingNamespace): readonly string[] {
  const rules = spec.access.rules.filter(({ namespaceSelector }) =>
    matchesSelector(namespaceSelector, namespace.labels),
  );
  return [
    ...new Set(rules.flatMap(({ paths }) => paths.map((path) => path.replaceAll("{namespace}", namespace.name)))),
  ];
}

/** A final * matches all that is below; without one the path is the only one. */
export function isAllowed(path: string, allowed: readonly string[]): boolean {
  return allowed.some((template) =>
    template.endsWith("*")
      ? path.startsWith(template.slice(0, -1)) && path.length >= template.length
      : path === template,
  );
}

/** Why the paths are refused, as a sentence; undefined when all of them are allowed. */
export function refusal(
  paths: readonly string[],
  cluster: VaultCluster,
  namespace: BindingNamespace,
): string | undefined {
  const allowed = allowedPaths(cluster, namespace);
  const refused = paths.filter((path) => !isAllowed(path, allowed));
  if (refused.length === 0) return undefined;
  const where = `VaultCluster ${cluster.metadata.namespace}/${cluster.metadata.name}`;
  const what = refused.length === 1 ? `the path ${refused[0]} is` : `the paths ${refused.join(", ")} are`;
  if (allowed.length === 0)
    return `${what} not allowed: no access rule of ${where} is for namespace ${namespace.name}; whoever runs it can add one to spec.access.rules`;
  return `${what} not allowed to namespace ${namespace.name}: ${where} allows ${allowed.join(", ")}; use such a path, or have spec.access.rules changed`;
}

// How a SecretBinding is known to the server: the names of its policy and of the roles that carry it. The operator
// writes them and the injector tells them to the agent, so this file is the only definition.
//
//   policy   sb_<namespace>_<binding>            reads the paths of one binding
//   role     sb_<namespace>                      any ServiceAccount of the namespace: bindings that name none
//   role     sb_<namespace>_<ServiceAccount>     one that some binding names: those bindings, and the ones that name none
//
// Names of namespaces, bindings and ServiceAccounts hold no underscore (RFC 1123), so no two of these can be the same.

/** The mount of the Kubernetes auth method that pods log in to. */
export const AUTH_MOUNT = "kubernetes";
/** Where agents hear of changes of the secrets that they read: events of every version of KV. */
export const CHANGES_PATH = "sys/events/subscribe/kv-*";
/**
 * Audience of the ServiceAccount tokens that one server takes. Its own for each VaultCluster: what a server is given
 * must not open another one, should somebody have taken it over.
 */
export function tokenAudience(cluster: { readonly namespace: string; readonly name: string }): string {
  return `coffer.${cluster.namespace}.${cluster.name}`;
}

/** What decides the names: a binding and the ServiceAccounts that it names, if any. */
export interface NamedBinding {
  readonly name: string;
  readonly serviceAccounts?: readonly string[] | undefined;
}

/** A role of the Kubernetes auth method as it should be on the server. */
export interface BindingRole {
  readonly name: string;
  readonly namespace: string;
  /** ["*"] for every ServiceAccount of the namespace. */
  readonly serviceAccounts: readonly string[];
  readonly policies: readonly string[];
}

export function policyName(namespace: string, binding: string): string {
  return `sb_${namespace}_${binding}`;
}

/** The role that a pod logs in to, given all bindings of its namespace. */
export function roleName(namespace: string, serviceAccount: string, bindings: readonly NamedBinding[]): string {
  const named = bindings.some((binding) => binding.serviceAccounts?.includes(serviceAccount));
  return named ? `sb_${namespace}_${serviceAccount}` : `sb_${namespace}`;
}

/**
 * The roles of a namespace, in order of their names. `bindings` are all of it, so that `roleName` gives the same roles;
 * of those that `accepted` refuses no role carries the policy.
 */
export function rolesOf(
  namespace: string,
  bindings: readonly NamedBinding[],
  accepted: (binding: string) => boolean = () => true,
): readonly BindingRole[] {
  const policiesOf = (includes: (binding: NamedBinding) => boolean) =>
    bindings
      .filter((binding) => includes(binding) && accepted(binding.name))
      .map((binding) => policyName(namespace, binding.name))
      .sort();
  const named = [...new Set(bindings.flatMap((binding) => binding.serviceAccounts ?? []))].sort();
  const roles = named.map((account) => ({
    name: `sb_${namespace}_${account}`,
    namespace,
    serviceAccounts: [account],
    policies: policiesOf((b) => b.serviceAccounts === undefined || b.serviceAccounts.includes(account)),
  }));
  if (bindings.every((binding) => binding.serviceAccounts !== undefined)) return roles;
  const rest = policiesOf((b) => b.serviceAccounts === undefined);
  return [{ name: `sb_${namespace}`, namespace, serviceAccounts: ["*"], policies: rest }, ...roles];
}

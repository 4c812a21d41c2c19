// The bindings and clusters that there are, read once when they change, so that a review only looks things up. An object
// that cannot be read (written by a newer version) is logged and missing.
import { messageOf } from "#common/errors.ts";
import type { Log } from "#common/log.ts";
import type { Change, Reflector } from "#kube/reflector.ts";
import { type Definition, type Resource, readResource } from "#operator/api/resource.ts";
import { type SecretBinding, secretBinding } from "#operator/api/secret-binding.ts";
import { type VaultCluster, vaultCluster } from "#operator/api/vault-cluster.ts";
import type { Surroundings } from "./match.ts";

export interface Catalog extends Disposable {
  /** True once everything that there is has been read. */
  isSynced(): boolean;
  /** What a pod of the namespace is admitted by. */
  surroundings(namespace: string): Surroundings;
}

/** Follows two reflectors, which somebody else runs. */
export function createCatalog(reflectors: { bindings: Reflector; clusters: Reflector; log: Log }): Catalog {
  const bindings = new Map<string, Map<string, SecretBinding>>();
  const clusters = new Map<string, VaultCluster>();
  const followed = [
    follow(reflectors.bindings, secretBinding, reflectors.log, (name, namespace, binding) => {
      const own = bindings.get(namespace) ?? new Map<string, SecretBinding>();
      if (binding) own.set(name, binding);
      else own.delete(name);
      if (own.size > 0) bindings.set(namespace, own);
      else bindings.delete(namespace);
    }),
    follow(reflectors.clusters, vaultCluster, reflectors.log, (name, namespace, cluster) => {
      if (cluster) clusters.set(`${namespace}/${name}`, cluster);
      else clusters.delete(`${namespace}/${name}`);
    }),
  ];
  return {
    isSynced: () => reflectors.bindings.isSynced() && reflectors.clusters.isSynced(),
    surroundings: (namespace) => ({
      namespace,
      bindings: [...(bindings.get(namespace)?.values() ?? [])],
      clusters: [...clusters.values()],
    }),
    [Symbol.dispose]: () => {
      for (const subscription of followed) subscription[Symbol.dispose]();
    },
  };
}

function follow<Spec, Status>(
  reflector: Reflector,
  definition: Definition<Spec, Status>,
  log: Log,
  update: (name: string, namespace: string, object: Resource<Spec, Status> | undefined) => void,
): Disposable {
  return reflector.onChange(({ type, object }: Change) => {
    const { name, namespace = "" } = object.metadata;
    try {
      update(name, namespace, type === "deleted" ? undefined : readResource(definition, object));
    } catch (error) {
      update(name, namespace, undefined);
      log.warn("cannot read an object", { kind: definition.kind, name, namespace, error: messageOf(error) });
    }
  });
}

// The Kubernetes Secrets of bindings from the controller's side: which binding a changed Secret concerns, what is kept,
// and what goes when a binding wants another name, none, or is deleted.

import { isKubeError } from "#kube/kube-error.ts";
import { type KubeObject, keyOf } from "#kube/kube-object.ts";
import type { Change } from "#kube/reflector.ts";
import type { SecretBinding } from "../../../api/secret-binding.ts";
import type { VaultCluster } from "../../../api/vault-cluster.ts";
import { createConsumers } from "../../../servers/consumers.ts";
import { keepsSecretsIn } from "../../../settings.ts";
import type { ControllerParts } from "../../controller-type.ts";
import type { SourceState } from "../decide.ts";
import { createContentMac } from "./content-mac.ts";
import { type DeliveryParts, deliver } from "./deliver.ts";
import type { Delivery } from "./delivery.ts";
import { isOurs, secretNameOf, withdrawSecret } from "./live-secret.ts";

export interface KeeperParts extends ControllerParts {
  readonly delivery: DeliveryParts;
}

export function deliveryParts(given: ControllerParts, ownVersions: Map<string, string>): DeliveryParts {
  const { client, servers, clock, settings, watches } = given;
  const mac = { namespace: settings.namespace, name: `${settings.leaseName}-content-mac` };
  return {
    ...{ client, clock },
    consumers: createConsumers({ client, servers, clock }),
    mac: createContentMac(client, mac),
    isEnabled: (namespace) => keepsSecretsIn(settings, namespace),
    watched: (key) => watches.kept.get(key),
    wrote: (key, version) => void ownVersions.set(key, version),
  };
}

/** The bindings that keep a Secret which somebody else has changed. */
export function keepersOf(
  { watches }: KeeperParts,
  ownVersions: Map<string, string>,
  change: Change,
): readonly string[] {
  const { metadata } = change.object;
  const key = keyOf(metadata);
  const isNews = change.type === "deleted" || ownVersions.get(key) !== metadata.resourceVersion;
  if (change.type === "deleted") ownVersions.delete(key);
  if (change.initial) return [];
  return watches.bindings
    .list(metadata.namespace)
    .filter((binding) => {
      const isKept = binding.spec.secret !== undefined && secretNameOf(binding) === metadata.name;
      return isKept ? isNews : isOurs(change.object, binding);
    })
    .map((binding) => keyOf(binding.metadata));
}

export async function keepSecret(
  parts: KeeperParts,
  binding: SecretBinding,
  cluster: VaultCluster,
  sources: readonly SourceState[],
  signal: AbortSignal,
): Promise<Delivery | undefined> {
  const { secret: target } = binding.spec;
  // Renamed, or no longer wanted: what was made under former names goes first.
  const wanted = target === undefined ? undefined : secretNameOf(binding);
  for (const name of writtenNames(parts, binding))
    if (name !== wanted) await withdrawSecret(parts.client, binding, name, signal);
  if (target === undefined) return undefined;
  const named = parts.watches.bindings
    .list(binding.metadata.namespace)
    .map(({ metadata, spec }) => ({ name: metadata.name, serviceAccounts: spec.serviceAccounts }));
  return deliver(parts.delivery, { binding, target, cluster, named, sources }, signal);
}

/** Names of the Secrets that were written for the binding, in its status or not: an operator may end between the two. */
function writtenNames({ watches }: KeeperParts, binding: SecretBinding): ReadonlySet<string> {
  const found = watches.kept.list(binding.metadata.namespace).filter((secret) => isOurs(secret, binding));
  const written = binding.status?.secret?.name;
  return new Set([...found.map(({ metadata }) => metadata.name), ...(written === undefined ? [] : [written])]);
}

export async function removeSecret(
  parts: KeeperParts,
  binding: SecretBinding,
  object: KubeObject,
  signal: AbortSignal,
): Promise<void> {
  const { client, settings, events } = parts;
  const { namespace } = binding.metadata;
  const own = binding.spec.secret !== undefined && keepsSecretsIn(settings, namespace) ? [secretNameOf(binding)] : [];
  try {
    for (const name of new Set([...writtenNames(parts, binding), ...own]))
      await withdrawSecret(client, binding, name, signal);
  } catch (error) {
    if (!isKubeError(error, "Forbidden")) throw error;
    const note = `the Secret is left in namespace ${namespace}, where the operator may not write any more`;
    events.record({ regarding: object, type: "Warning", reason: "CleanupFailed", action: "Delete", note });
  }
}

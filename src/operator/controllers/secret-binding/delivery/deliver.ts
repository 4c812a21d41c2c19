// Keeps the Kubernetes Secret of a binding: reads the sources as the ServiceAccount that they are for, makes the content,
// and writes it where it is not there already. A look at which nothing changed reads no value and writes nothing.
import { hasStatus } from "#client/api-error.ts";
import { type NamedBinding, roleName } from "#common/binding-names.ts";
import type { Clock } from "#common/clock.ts";
import { CofferError } from "#common/errors.ts";
import type { JsonObject } from "#common/json.ts";
import type { KubeClient } from "#kube/kube-client.ts";
import { isKubeError } from "#kube/kube-error.ts";
import type { KubeObject } from "#kube/kube-object.ts";
import { secondTime } from "#kube/micro-time.ts";
import { SECRET } from "#kube/resource-kinds.ts";
import { findCondition } from "../../../api/conditions.ts";
import { type SecretBinding, sourcesOf } from "../../../api/secret-binding.ts";
import type { SecretState, SecretTarget } from "../../../api/secret-delivery.ts";
import type { VaultCluster } from "../../../api/vault-cluster.ts";
import type { Consumers } from "../../../servers/consumers.ts";
import type { SourceState } from "../decide.ts";
import { contentOf, type SourceValues } from "./content.ts";
import type { ContentMac } from "./content-mac.ts";
import type { Delivery, RestartResult } from "./delivery.ts";
import { contentOfSecret, isOurs, secretNameOf, wantedContent, writeSecret } from "./live-secret.ts";
import { planRestart, restartTargets } from "./restart.ts";

export interface DeliveryParts {
  readonly client: KubeClient;
  readonly consumers: Consumers;
  readonly mac: ContentMac;
  readonly clock: Clock;
  /** Whether the operator may write Secrets there. */
  isEnabled(namespace: string): boolean;
  /** The labelled Secret as the watch has it, metadata only. */
  watched(key: string): KubeObject | undefined;
  /** Hears of the version that a write made, so that its own event is no news. */
  wrote(key: string, version: string): void;
}

export interface DeliveryInput {
  readonly binding: SecretBinding;
  readonly target: SecretTarget;
  readonly cluster: VaultCluster;
  /** All bindings of the namespace, for the name of the role. */
  readonly named: readonly NamedBinding[];
  /** As the operator sees them, without their values. */
  readonly sources: readonly SourceState[];
}

/** Throws ApiError and KubeError for what may pass by itself. */
export async function deliver(parts: DeliveryParts, input: DeliveryInput, signal: AbortSignal): Promise<Delivery> {
  const { namespace } = input.binding.metadata;
  if (!parts.isEnabled(namespace))
    return {
      kind: "blocked",
      reason: "NotEnabled",
      message: `the operator may not write Secrets in namespace ${namespace}: whoever runs it can add that to operator.secretNamespaces of the chart`,
    };
  try {
    const state = isUnchanged(parts, input) ? input.binding.status?.secret : undefined;
    const kept = state ?? (await bringUpToDate(parts, input, signal));
    if ("kind" in kept) return kept;
    const { next, restart } = await restarted(parts, input, kept, signal);
    return { kind: "delivered", state: next, restart };
  } catch (error) {
    const blocked = blockedBy(error, input);
    if (blocked === undefined) throw error;
    return blocked;
  }
}

/** What is known without reading a value: the same spec, the same versions, and a Secret that nobody touched. */
function isUnchanged({ watched }: DeliveryParts, { binding, sources }: DeliveryInput): boolean {
  const { metadata, status } = binding;
  const state = status?.secret;
  if (state === undefined || state.name !== secretNameOf(binding)) return false;
  const delivered = findCondition(status, "Delivered");
  if (delivered?.status !== "True" || delivered.observedGeneration !== metadata.generation) return false;
  if (watched(`${metadata.namespace}/${state.name}`)?.metadata.resourceVersion !== state.version) return false;
  return sources.every(({ name, state: now, version }) => {
    const before = status?.sources.find((source) => source.name === name);
    return now === before?.state && version === before.version && (now === "Missing" || version !== undefined);
  });
}

async function bringUpToDate(
  parts: DeliveryParts,
  input: DeliveryInput,
  signal: AbortSignal,
): Promise<SecretState | Delivery> {
  const { binding, target } = input;
  const values = await readSources(parts, input, signal);
  if (typeof values === "string") return { kind: "waiting", message: values };
  const names = sourcesOf(binding.spec).map(({ name }) => name);
  const content = wantedContent(
    binding,
    target,
    contentOf(target, values, names, () => parts.clock.now()),
  );
  const owner = `${binding.metadata.namespace}/${binding.metadata.name}`;
  const contentMAC = await parts.mac.of(owner, content, signal);
  const before = binding.status?.secret;
  const name = secretNameOf(binding);
  const key = `${binding.metadata.namespace}/${name}`;
  const isSame = before?.name === name && before.contentMAC === contentMAC;
  if (isSame && parts.watched(key)?.metadata.resourceVersion === before.version) return before;
  const live = await parts.client.get(SECRET, { namespace: binding.metadata.namespace, name }, { signal });
  const foreign = whyNotOurs(input, name, live);
  if (foreign !== undefined) return foreign;
  const found = live && (await parts.mac.of(owner, contentOfSecret(live, target, content), signal));
  const secret =
    live !== undefined && found === contentMAC
      ? live
      : await writeSecret(parts.client, binding, target, content, live, signal);
  const version = secret.metadata.resourceVersion ?? "0";
  parts.wrote(key, version);
  const changedAt = isSame ? before.changedAt : secondTime(parts.clock.now());
  const { restartedMAC, restartedAt } = before?.name === name ? before : {};
  return {
    ...{ name, version, contentMAC, changedAt },
    ...(restartedMAC === undefined ? {} : { restartedMAC }),
    ...(restartedAt === undefined ? {} : { restartedAt }),
  };
}

/** The values by source, or which secret is missing, as a sentence. */
async function readSources(
  parts: DeliveryParts,
  { binding, target, cluster, named }: DeliveryInput,
  signal: AbortSignal,
): Promise<SourceValues | string> {
  const { namespace } = binding.metadata;
  const account = { namespace, name: target.serviceAccountName };
  const role = roleName(namespace, target.serviceAccountName, named);
  return parts.consumers.withConsumer(cluster, { account, role }, signal, async (kv) => {
    const values = new Map<string, JsonObject>();
    for (const { name, path, version, optional } of sourcesOf(binding.spec)) {
      try {
        values.set(name, (await kv.read(path, { version, signal })).data);
      } catch (error) {
        if (!hasStatus(error, 404)) throw error;
        if (!optional) return `there is no secret at ${path}`;
      }
    }
    return values;
  });
}

function whyNotOurs(
  { binding, target }: DeliveryInput,
  name: string,
  live: KubeObject | undefined,
): Delivery | undefined {
  const own = `annotate it with coffer.dev/secret-binding=${binding.metadata.name}`;
  if (live === undefined) {
    if (target.creationPolicy !== "Merge") return undefined;
    const message = `there is no Secret ${name} to merge into: create it and ${own}, or set creationPolicy to Owner`;
    return { kind: "blocked", reason: "TargetMissing", message };
  }
  if (isOurs(live, binding)) return undefined;
  const message = `the Secret ${name} is somebody else's: ${own} if the binding may write it, or choose another secret.name`;
  return { kind: "blocked", reason: "SecretExists", message };
}

function blockedBy(error: unknown, { binding, target }: DeliveryInput): Delivery | undefined {
  const { namespace } = binding.metadata;
  const isContent = error instanceof CofferError && !isKubeError(error);
  if (isContent && (error.code === "invalid_request" || error.code === "not_found"))
    return { kind: "blocked", reason: "ContentInvalid", message: error.message };
  if (hasStatus(error, 403) || hasStatus(error, 400))
    return {
      kind: "blocked",
      reason: "AccessDenied",
      message: `the server does not let ServiceAccount ${target.serviceAccountName} read the secrets: ${error.message}`,
    };
  if (isKubeError(error, "NotFound") && error.details?.["kind"] === "serviceaccounts")
    return {
      kind: "blocked",
      reason: "ServiceAccountMissing",
      message: `there is no ServiceAccount ${target.serviceAccountName} in namespace ${namespace}: create it, or name another one in secret.serviceAccountName`,
    };
  if (isKubeError(error, "Forbidden", "Invalid", "BadRequest"))
    return { kind: "blocked", reason: "SecretRefused", message: `the API server refused: ${error.message}` };
  return undefined;
}

async function restarted(
  parts: DeliveryParts,
  { binding, target }: DeliveryInput,
  state: SecretState,
  signal: AbortSignal,
): Promise<{ next: SecretState; restart: RestartResult | undefined }> {
  const { restartedMAC: _, restartedAt: __, ...plain } = state;
  const { restart } = target;
  if (restart === undefined) return { next: plain, restart: undefined };
  const first = { ...state, restartedMAC: state.restartedMAC ?? state.contentMAC };
  const plan = planRestart(restart, first, parts.clock.now());
  if (plan.kind === "none") return { next: first, restart: { kind: "current" } };
  if (plan.kind === "later")
    return { next: first, restart: { kind: "waiting", inMillis: plan.inMillis, why: plan.why } };
  const failures = await restartTargets(parts.client, binding.metadata, restart, state.contentMAC, signal);
  const at = { restartedAt: secondTime(parts.clock.now()) };
  if (failures.length === 0)
    return { next: { ...state, ...at, restartedMAC: state.contentMAC }, restart: { kind: "current" } };
  // All of them are tried again after the interval; those that have the content's annotation do not restart for that.
  return { next: { ...first, ...at }, restart: { kind: "failed", failures } };
}

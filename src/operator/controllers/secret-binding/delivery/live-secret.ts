// A Kubernetes Secret in the cluster, as far as it concerns the binding that keeps it: whose it is, what it holds, and how
// it is written and taken back. Every pre-existing Secret is somebody else's until an annotation on it names the binding:
// who may write SecretBindings must not thereby change Secrets that he could not write.
import { isJsonObject, type JsonObject } from "#common/json.ts";
import type { KubeClient } from "#kube/kube-client.ts";
import { isKubeError } from "#kube/kube-error.ts";
import type { KubeObject } from "#kube/kube-object.ts";
import { SECRET } from "#kube/resource-kinds.ts";
import type { SecretBinding } from "../../../api/secret-binding.ts";
import type { SecretTarget } from "../../../api/secret-delivery.ts";
import { KEPT_LABEL, ownerReference } from "../../../cluster-names.ts";
import type { SecretContent } from "./content-mac.ts";

/** The name of the binding that may write the Secret. */
export const BINDING_ANNOTATION = "coffer.dev/secret-binding";
/** Field managers have at most 128 characters. */
const MANAGER_CHARACTERS_MAX = 128;

type Policies = Pick<SecretTarget, "creationPolicy" | "deletionPolicy">;

export function secretNameOf({ metadata, spec }: SecretBinding): string {
  return spec.secret?.name ?? metadata.name;
}

/** Each binding owns its keys by its own name, so two of them can fill one Secret. */
function managerOf({ metadata }: SecretBinding): string {
  return `coffer.dev/${metadata.name}`.slice(0, MANAGER_CHARACTERS_MAX);
}

export function isOurs(secret: KubeObject, binding: SecretBinding): boolean {
  return secret.metadata.annotations?.[BINDING_ANNOTATION] === binding.metadata.name;
}

/** What the Secret holds of what the binding sets; with Merge only the keys that it sets. */
export function contentOfSecret(secret: KubeObject, target: SecretTarget, wanted: SecretContent): SecretContent {
  const data = isJsonObject(secret["data"]) ? secret["data"] : {};
  const keys = Object.keys(data).filter((key) => target.creationPolicy !== "Merge" || wanted.data.has(key));
  const pick = (from: Readonly<Record<string, string>> | undefined, names: Readonly<Record<string, string>>) =>
    Object.fromEntries(Object.keys(names).flatMap((name) => (from?.[name] === undefined ? [] : [[name, from[name]]])));
  return {
    type: typeof secret["type"] === "string" ? secret["type"] : "",
    immutable: secret["immutable"] === true,
    labels: pick(secret.metadata.labels, wanted.labels),
    annotations: pick(secret.metadata.annotations, wanted.annotations),
    data: new Map(keys.map((key) => [key, Buffer.from(String(data[key]), "base64")])),
  };
}

/** What the binding sets, our label and annotation included. */
export function wantedContent(binding: SecretBinding, target: SecretTarget, data: SecretContent["data"]) {
  return {
    type: target.type,
    immutable: target.immutable,
    labels: {
      ...target.labels,
      [KEPT_LABEL]: labelOf(target),
      ...(target.creationPolicy === "Merge" ? {} : { "app.kubernetes.io/managed-by": "coffer-operator" }),
    },
    annotations: { ...target.annotations, [BINDING_ANNOTATION]: binding.metadata.name },
    data,
  } satisfies SecretContent;
}

function labelOf({ creationPolicy, deletionPolicy }: Policies): string {
  return deletionPolicy === "Retain" ? `${creationPolicy}-Retain` : creationPolicy;
}

/** Writes the Secret and gives it as it then is. Throws KubeError. */
export async function writeSecret(
  client: KubeClient,
  binding: SecretBinding,
  target: SecretTarget,
  content: SecretContent,
  live: KubeObject | undefined,
  signal: AbortSignal,
): Promise<KubeObject> {
  const object = objectOf(binding, target, content);
  const options = { fieldManager: managerOf(binding), signal };
  if (target.creationPolicy === "Merge") return client.apply(SECRET, object, options);
  try {
    const applied = await client.apply(SECRET, object, options);
    return await withoutForeignKeys(client, applied, content, signal);
  } catch (error) {
    // A type never changes, nor does anything of an immutable Secret: then it is a new one of the same name.
    if (live === undefined || !isKubeError(error, "Invalid")) throw error;
    await client.delete(SECRET, refOf(live), { uid: live.metadata.uid, signal });
    return client.apply(SECRET, object, options);
  }
}

/** Keys that somebody added by hand are not part of what the Secret should hold. */
async function withoutForeignKeys(
  client: KubeClient,
  applied: KubeObject,
  content: SecretContent,
  signal: AbortSignal,
): Promise<KubeObject> {
  const data = isJsonObject(applied["data"]) ? applied["data"] : {};
  const foreign = Object.keys(data).filter((key) => !content.data.has(key));
  if (foreign.length === 0) return applied;
  const patch = { data: Object.fromEntries(foreign.map((key) => [key, null])) };
  return client.mergePatch(SECRET, refOf(applied), patch, { signal });
}

function objectOf(binding: SecretBinding, target: SecretTarget, content: SecretContent): JsonObject {
  const isOwner = target.creationPolicy === "Owner" && target.deletionPolicy === "Delete";
  const isMerge = target.creationPolicy === "Merge";
  return {
    metadata: {
      name: secretNameOf(binding),
      namespace: binding.metadata.namespace,
      labels: content.labels,
      annotations: content.annotations,
      ...(isOwner ? { ownerReferences: [ownerReference("SecretBinding", binding.metadata, false)] } : {}),
    },
    ...(isMerge ? {} : { type: content.type, ...(content.immutable ? { immutable: true } : {}) }),
    data: Object.fromEntries([...content.data].map(([key, value]) => [key, value.toString("base64")])),
  };
}

function refOf({ metadata }: KubeObject) {
  return { namespace: metadata.namespace, name: metadata.name };
}

/** Takes back what the binding wrote to a Secret of the name, as its label says. Throws KubeError. */
export async function withdrawSecret(
  client: KubeClient,
  binding: SecretBinding,
  name: string,
  signal: AbortSignal,
): Promise<void> {
  const ref = { namespace: binding.metadata.namespace, name };
  const live = await client.get(SECRET, ref, { signal });
  if (live === undefined || !isOurs(live, binding)) return;
  const policies = live.metadata.labels?.[KEPT_LABEL] ?? "";
  if (policies === "" || policies.endsWith("-Retain")) return;
  // Applying nothing gives up every field of ours, and with that what nobody else has set.
  if (policies === "Merge") await client.apply(SECRET, { metadata: ref }, { fieldManager: managerOf(binding), signal });
  else await client.delete(SECRET, ref, { uid: live.metadata.uid, signal });
}

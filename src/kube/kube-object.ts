// What every Kubernetes object has in common, how a kind of resource is described, and how both become request paths.
// Nothing here knows a kind's own fields: those are read with schemas by whoever owns them.
// Format: the Kubernetes API conventions, "Objects" and "Resource naming".
import { CofferError } from "#common/errors.ts";
import { isJsonObject, type JsonObject, type JsonValue } from "#common/json.ts";

/** One kind of resource; `group` is "" for the core group. */
export interface ResourceKind {
  readonly group: string;
  readonly version: string;
  readonly plural: string;
  readonly kind: string;
  readonly namespaced: boolean;
}

export type OwnerReference = {
  readonly apiVersion: string;
  readonly kind: string;
  readonly name: string;
  readonly uid: string;
  readonly controller?: boolean;
  readonly blockOwnerDeletion?: boolean;
};

export type ObjectMeta = {
  readonly name: string;
  readonly generateName?: string;
  readonly namespace?: string;
  readonly uid?: string;
  readonly resourceVersion?: string;
  readonly generation?: number;
  readonly creationTimestamp?: string;
  readonly deletionTimestamp?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly finalizers?: readonly string[];
  readonly ownerReferences?: readonly OwnerReference[];
};

/** An object of any kind; members beyond the common ones are plain JSON. It is itself a JsonObject. */
export type KubeObject = {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: ObjectMeta;
  readonly [member: string]: JsonValue;
};

/** Names one object of a kind; `namespace` is absent for cluster-wide kinds. */
export interface ObjectRef {
  readonly namespace?: string | undefined;
  readonly name: string;
}

/** "v1" or "apps/v1". */
export function apiVersionOf(kind: ResourceKind): string {
  return kind.group === "" ? kind.version : `${kind.group}/${kind.version}`;
}

/** "namespace/name", or "name" for cluster-wide objects: the key of caches and queues. */
export function keyOf(ref: ObjectRef): string {
  return ref.namespace === undefined ? ref.name : `${ref.namespace}/${ref.name}`;
}

/** The reverse of `keyOf`. */
export function refOf(key: string): ObjectRef {
  const slash = key.indexOf("/");
  return slash < 0 ? { name: key } : { namespace: key.slice(0, slash), name: key.slice(slash + 1) };
}

/** The path of a collection; without a namespace the one over all namespaces. */
export function collectionPath(kind: ResourceKind, namespace?: string): string {
  const root = kind.group === "" ? `/api/${kind.version}` : `/apis/${kind.group}/${kind.version}`;
  const within = kind.namespaced && namespace !== undefined ? `/namespaces/${encodeURIComponent(namespace)}` : "";
  return `${root}${within}/${kind.plural}`;
}

/** The path of one object or of its subresource. Throws `invalid_request` when the namespace is missing or too many. */
export function objectPath(kind: ResourceKind, ref: ObjectRef, subresource?: string): string {
  assertScope(kind, ref.namespace);
  if (ref.name === "") throw new CofferError("invalid_request", `the name of a ${kind.kind} must not be empty`);
  const tail = subresource === undefined ? "" : `/${subresource}`;
  return `${collectionPath(kind, ref.namespace)}/${encodeURIComponent(ref.name)}${tail}`;
}

/** Throws `invalid_request` unless a namespace is given exactly when the kind has them. */
export function assertScope(kind: ResourceKind, namespace: string | undefined): void {
  if (kind.namespaced === (namespace !== undefined && namespace !== "")) return;
  const wanted = kind.namespaced ? "needs a namespace" : "is cluster-wide and takes no namespace";
  throw new CofferError("invalid_request", `a ${kind.kind} ${wanted}`);
}

/**
 * Checks that a value is an object of the API and gives it its type. Items of lists carry neither apiVersion nor kind;
 * `kind` fills them in. Throws `upstream_failed`.
 */
export function asKubeObject(value: JsonValue | undefined, kind?: ResourceKind): KubeObject {
  const metadata = isJsonObject(value) ? value["metadata"] : undefined;
  if (!isJsonObject(value) || !isJsonObject(metadata) || typeof metadata["name"] !== "string")
    throw new CofferError("upstream_failed", "the API server answered with something that is no object");
  const named: JsonObject =
    kind === undefined ? value : { ...value, apiVersion: apiVersionOf(kind), kind: kind.kind, metadata };
  if (typeof named["apiVersion"] !== "string" || typeof named["kind"] !== "string")
    throw new CofferError("upstream_failed", "the API server answered with an object without apiVersion and kind");
  // True: the members that the type names were checked above; the API server validates what is inside metadata.
  return named as KubeObject;
}

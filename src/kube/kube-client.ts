// The verbs of the Kubernetes API over one endpoint. Writes that own fields go by server-side apply under one field
// manager; there is no read-modify-write here. Format: Kubernetes API conventions and API concepts.
import type { Clock } from "#common/clock.ts";
import { systemClock } from "#common/clock.ts";
import { isJsonArray, isJsonObject, type JsonObject, type JsonValue, parseJson } from "#common/json.ts";
import { type KubeEndpointSource, openKubeEndpoint } from "./kube-endpoint.ts";
import { errorOfStatus, isExpired, isKubeError, KubeError } from "./kube-error.ts";
import { createKubeHttp, type KubeHttp, type RequestOptions } from "./kube-http.ts";
import {
  asKubeObject,
  assertScope,
  collectionPath,
  type KubeObject,
  type ObjectRef,
  objectPath,
  type ResourceKind,
} from "./kube-object.ts";

export interface ListOptions {
  readonly namespace?: string | undefined;
  readonly labelSelector?: string | undefined;
  readonly fieldSelector?: string | undefined;
  /** Only apiVersion, kind and metadata of each object: for kinds whose contents are large or none of our business. */
  readonly metadataOnly?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
}
export interface ObjectList {
  readonly items: readonly KubeObject[];
  /** Of the collection: where a watch goes on. */
  readonly resourceVersion: string;
}
export interface WatchOptions extends ListOptions {
  readonly resourceVersion: string;
  /** The server ends the watch after this long. */
  readonly timeoutSeconds: number;
  readonly signal: AbortSignal;
}
export interface WatchEvent {
  readonly type: "ADDED" | "MODIFIED" | "DELETED" | "BOOKMARK";
  readonly object: KubeObject;
}
export interface WriteOptions {
  readonly subresource?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}
export interface ApplyOptions extends WriteOptions {
  /** Takes over fields that another manager owns; true when absent, as controllers should. */
  readonly force?: boolean | undefined;
  /** Other than the client's. */
  readonly fieldManager?: string | undefined;
  readonly dryRun?: boolean | undefined;
}
export interface DeleteOptions {
  /** Preconditions: only this very object, only in this state. Broken ones throw a Conflict. */
  readonly uid?: string | undefined;
  readonly resourceVersion?: string | undefined;
  readonly propagation?: "Background" | "Foreground" | "Orphan" | undefined;
  readonly gracePeriodSeconds?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** All of it throws `KubeError` when the API server refuses or cannot be reached. */
export interface KubeClient extends Disposable {
  /** The field manager of applies, also the reporter's name. */
  readonly fieldManager: string;
  /** Any request, for what has no verb below: reviews, TokenRequest, /version. */
  request(method: string, path: string, body?: JsonValue, options?: RequestOptions): Promise<JsonValue>;
  /** The object, or undefined when there is none of that name. */
  get(kind: ResourceKind, ref: ObjectRef, options?: { signal?: AbortSignal }): Promise<KubeObject | undefined>;
  /** All objects, read in pages. */
  list(kind: ResourceKind, options?: ListOptions): Promise<ObjectList>;
  create(kind: ResourceKind, object: JsonObject, options?: WriteOptions): Promise<KubeObject>;
  /** Puts the whole object; with a resourceVersion in it a Conflict tells that somebody was faster. */
  replace(kind: ResourceKind, object: KubeObject, options?: WriteOptions): Promise<KubeObject>;
  /** Server-side apply: creates the object or sets exactly the given fields. */
  apply(kind: ResourceKind, object: JsonObject, options?: ApplyOptions): Promise<KubeObject>;
  /** Server-side apply of the status; the object must exist. */
  applyStatus(kind: ResourceKind, object: JsonObject, options?: ApplyOptions): Promise<KubeObject>;
  mergePatch(kind: ResourceKind, ref: ObjectRef, patch: JsonObject, options?: WriteOptions): Promise<KubeObject>;
  /** "absent" when there was nothing of that name. */
  delete(kind: ResourceKind, ref: ObjectRef, options?: DeleteOptions): Promise<"deleted" | "absent">;
  /** Events since a resource version. Ends with the server's timeout; a too old version throws (see `isExpired`). */
  watch(kind: ResourceKind, options: WatchOptions): AsyncGenerator<WatchEvent, void, void>;
}

/** client-go's page size: a page stays below a few megabytes and needs no second read in small clusters. */
export const LIST_PAGE_OBJECTS = 500;
const METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
const METADATA_ONE = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
const APPLY_PATCH = "application/apply-patch+yaml";
const MERGE_PATCH = "application/merge-patch+json";

/** Opens a client. `fieldManager` names us to the API server. Throws `invalid_request` for an unusable kubeconfig. */
export async function createKubeClient(options: {
  source: KubeEndpointSource;
  fieldManager: string;
  clock?: Clock;
}): Promise<KubeClient> {
  const clock = options.clock ?? systemClock;
  const http = createKubeHttp(await openKubeEndpoint(options.source, clock), clock, options.fieldManager);
  return clientOver(http, options.fieldManager);
}

function clientOver(http: KubeHttp, fieldManager: string): KubeClient {
  return {
    fieldManager,
    request: (method, path, body, options) => http.send(method, path, body, options),
    get: (kind, ref, options) => get(http, kind, ref, options?.signal),
    list: (kind, options = {}) => listAll(http, kind, options),
    create: (kind, object, options) => create(http, kind, object, options),
    replace: (kind, object, options = {}) => replace(http, kind, object, options),
    apply: (kind, object, options = {}) => apply(http, kind, object, { fieldManager, ...options }),
    applyStatus: (kind, object, options = {}) =>
      apply(http, kind, object, { fieldManager, ...options, subresource: "status" }),
    async mergePatch(kind, ref, patch, { subresource, signal } = {}) {
      const path = objectPath(kind, ref, subresource);
      return asKubeObject(
        await http.send("PATCH", path, patch, { contentType: MERGE_PATCH, signal, ...managed(fieldManager) }),
      );
    },
    delete: (kind, ref, options = {}) => remove(http, kind, ref, options),
    watch: (kind, options) => watch(http, kind, options),
    [Symbol.dispose]: () => http[Symbol.dispose](),
  };
}

function managed(fieldManager: string) {
  return { query: { fieldManager } };
}

async function get(http: KubeHttp, kind: ResourceKind, ref: ObjectRef, signal: AbortSignal | undefined) {
  try {
    return asKubeObject(await http.send("GET", objectPath(kind, ref), undefined, { signal }));
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

/** True for "no such object"; a missing kind (its definition is not installed) answers 404 too, but names no object. */
function isMissing(error: unknown): boolean {
  return isKubeError(error, "NotFound") && error.details?.["name"] !== undefined;
}

async function create(http: KubeHttp, kind: ResourceKind, object: JsonObject, options: WriteOptions = {}) {
  const metadata = object["metadata"];
  const namespace =
    isJsonObject(metadata) && typeof metadata["namespace"] === "string" ? metadata["namespace"] : undefined;
  assertScope(kind, namespace);
  return asKubeObject(await http.send("POST", collectionPath(kind, namespace), object, { signal: options.signal }));
}

async function replace(http: KubeHttp, kind: ResourceKind, object: KubeObject, options: WriteOptions) {
  const path = objectPath(kind, object.metadata, options.subresource);
  return asKubeObject(await http.send("PUT", path, object, { signal: options.signal }));
}

async function apply(http: KubeHttp, kind: ResourceKind, given: JsonObject, options: ApplyOptions) {
  const object = asKubeObject(given, kind);
  const { fieldManager, force = true, dryRun, subresource, signal } = options;
  const query = { fieldManager, force, dryRun: dryRun === true ? "All" : undefined };
  const path = objectPath(kind, object.metadata, subresource);
  return asKubeObject(await http.send("PATCH", path, object, { contentType: APPLY_PATCH, query, signal }));
}

async function remove(http: KubeHttp, kind: ResourceKind, ref: ObjectRef, options: DeleteOptions) {
  const preconditions = {
    ...(options.uid === undefined ? {} : { uid: options.uid }),
    ...(options.resourceVersion === undefined ? {} : { resourceVersion: options.resourceVersion }),
  };
  const body: JsonObject = {
    apiVersion: "v1",
    kind: "DeleteOptions",
    preconditions,
    propagationPolicy: options.propagation ?? "Background",
    ...(options.gracePeriodSeconds === undefined ? {} : { gracePeriodSeconds: options.gracePeriodSeconds }),
  };
  try {
    await http.send("DELETE", objectPath(kind, ref), body, { signal: options.signal });
    return "deleted" as const;
  } catch (error) {
    if (isMissing(error)) return "absent" as const;
    throw error;
  }
}

async function listAll(http: KubeHttp, kind: ResourceKind, options: ListOptions): Promise<ObjectList> {
  try {
    return await listPages(http, kind, options, LIST_PAGE_OBJECTS);
  } catch (error) {
    if (!isExpired(error)) throw error;
    // The pages took longer than etcd keeps history (5 minutes): once more, in one piece.
    return listPages(http, kind, options, undefined);
  }
}

async function listPages(http: KubeHttp, kind: ResourceKind, options: ListOptions, limit: number | undefined) {
  const items: KubeObject[] = [];
  let token: string | undefined;
  for (;;) {
    const query = { ...selectors(options), limit, continue: token };
    const accept = options.metadataOnly === true ? METADATA_LIST : undefined;
    const path = collectionPath(kind, options.namespace);
    const page = await http.send("GET", path, undefined, { query, accept, signal: options.signal });
    const metadata = isJsonObject(page) && isJsonObject(page["metadata"]) ? page["metadata"] : {};
    // An empty list of Go is null.
    const objects = isJsonObject(page) && isJsonArray(page["items"]) ? page["items"] : [];
    for (const object of objects) items.push(asKubeObject(object, kind));
    const { continue: next, resourceVersion } = metadata;
    if (typeof next !== "string" || next === "")
      return { items, resourceVersion: typeof resourceVersion === "string" ? resourceVersion : "" };
    token = next;
  }
}

function selectors(options: ListOptions) {
  return { labelSelector: options.labelSelector, fieldSelector: options.fieldSelector };
}

async function* watch(
  http: KubeHttp,
  kind: ResourceKind,
  options: WatchOptions,
): AsyncGenerator<WatchEvent, void, void> {
  const path = collectionPath(kind, options.namespace);
  const query = {
    ...selectors(options),
    watch: true,
    allowWatchBookmarks: true,
    resourceVersion: options.resourceVersion,
    timeoutSeconds: options.timeoutSeconds,
  };
  const accept = options.metadataOnly === true ? METADATA_ONE : undefined;
  for await (const line of http.lines(path, { query, accept, signal: options.signal }))
    yield readEvent(parseJson(line), kind, path);
}

function readEvent(value: JsonValue, kind: ResourceKind, path: string): WatchEvent {
  const type = isJsonObject(value) ? value["type"] : undefined;
  const object = isJsonObject(value) ? value["object"] : undefined;
  if (type === "ERROR" && isJsonObject(object)) throw errorOfStatus(`watch ${path}`, object);
  if (type === "BOOKMARK") return { type, object: bookmark(object, kind) };
  if (type === "ADDED" || type === "MODIFIED" || type === "DELETED")
    return { type, object: asKubeObject(object, kind) };
  throw new KubeError({ status: 0, reason: "InternalError", message: `watch ${path}: an event of unknown type` });
}

// A bookmark is an object that has nothing but a resource version.
function bookmark(object: JsonValue | undefined, kind: ResourceKind): KubeObject {
  const metadata = isJsonObject(object) && isJsonObject(object["metadata"]) ? object["metadata"] : {};
  return asKubeObject({ metadata: { ...metadata, name: "" } }, kind);
}

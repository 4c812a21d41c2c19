// A small API server in memory for unit tests of what speaks to Kubernetes: objects of any kind with resource versions,
// conflicts, selectors by label, pages, watches with bookmarks and history, and faults on demand. It validates nothing
// and tracks no managed fields (an apply only merges), so what depends on those is tested on a real API server.
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { isJsonArray, isJsonObject, type JsonObject, type JsonValue, parseJson } from "#common/json.ts";

export interface FakeRequest {
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingMessage["headers"];
  readonly body: JsonValue | undefined;
}
/** Handles a request itself and returns true, or leaves it to the server. */
export type Interceptor = (request: FakeRequest, response: ServerResponse) => boolean;

export interface FakeApiServer extends AsyncDisposable {
  readonly url: string;
  /** Every request so far. */
  readonly requests: readonly FakeRequest[];
  /** Open watches. */
  readonly watchers: number;
  intercept(interceptor: Interceptor | undefined): void;
  /** What is stored under a path such as /api/v1/namespaces/a/secrets/x. */
  stored(path: string): JsonObject | undefined;
  /** Writes as somebody else would. */
  put(path: string, object: JsonObject): JsonObject;
  remove(path: string): void;
  /** Sends a bookmark to every watch. */
  bookmark(): void;
  /** Forgets history: older resource versions are answered by 410. */
  compact(): void;
  /** Ends every watch; with "cut" without a proper end. */
  endWatches(how: "end" | "cut"): void;
  /** From now on watches send nothing, like a connection that a firewall has forgotten. */
  freezeWatches(frozen: boolean): void;
}

interface Place {
  /** Path of the collection over all namespaces. */
  readonly collection: string;
  readonly namespace: string | undefined;
  readonly name: string | undefined;
  readonly subresource: string | undefined;
}
interface Change {
  readonly version: number;
  readonly type: "ADDED" | "MODIFIED" | "DELETED";
  readonly place: Place;
  readonly object: JsonObject;
}
interface Watcher {
  readonly place: Place;
  readonly query: URLSearchParams;
  readonly response: ServerResponse;
}

export async function startFakeApiServer(): Promise<FakeApiServer> {
  const server = new Server();
  await server.listen();
  return server;
}

function placeOf(path: string): Place {
  const match =
    /^(\/api\/[^/]+|\/apis\/[^/]+\/[^/]+)(?:\/namespaces\/([^/]+)(?=\/))?\/([^/]+)(?:\/([^/]+))?(?:\/([^/]+))?$/.exec(
      path,
    );
  const [, root = "", namespace, plural = "", name, subresource] = match ?? [];
  const decode = (part: string | undefined) => (part === undefined ? undefined : decodeURIComponent(part));
  return { collection: `${root}/${plural}`, namespace: decode(namespace), name: decode(name), subresource };
}

function keyOf(place: Place): string {
  return `${place.collection}|${place.namespace ?? ""}|${place.name ?? ""}`;
}

function metadataOf(object: JsonObject | undefined): JsonObject {
  const metadata = object?.["metadata"];
  return isJsonObject(metadata) ? metadata : {};
}

/** Merges as a merge patch does, lists of named things by their name as an apply does. */
function merge(target: JsonValue | undefined, patch: JsonValue): JsonValue {
  if (isJsonArray(patch) && isJsonArray(target)) return mergeLists(target, patch);
  if (!isJsonObject(patch)) return patch;
  const out: Record<string, JsonValue> = isJsonObject(target) ? { ...target } : {};
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) delete out[name];
    else out[name] = merge(out[name], value);
  }
  return out;
}

function mergeLists(target: readonly JsonValue[], patch: readonly JsonValue[]): JsonValue {
  const nameOf = (item: JsonValue) => (isJsonObject(item) ? (item["name"] ?? item["type"]) : undefined);
  if (patch.length === 0 || patch.some((item) => typeof nameOf(item) !== "string")) return patch;
  const merged = target.map((old) => {
    const change = patch.find((item) => nameOf(item) === nameOf(old));
    return change === undefined ? old : merge(old, change);
  });
  return [...merged, ...patch.filter((item) => !target.some((old) => nameOf(old) === nameOf(item)))];
}

class Server implements FakeApiServer {
  readonly requests: FakeRequest[] = [];
  #objects = new Map<string, JsonObject>();
  #changes: Change[] = [];
  #version = 100;
  #compacted = 0;
  #watchers = new Set<Watcher>();
  #frozen = false;
  #interceptor: Interceptor | undefined;
  #http = createServer((request, response) => void this.#handle(request, response));
  url = "";

  async listen(): Promise<void> {
    await new Promise<void>((resolve) => this.#http.listen(0, "127.0.0.1", resolve));
    // True: a TCP server that listens has an address with a port.
    this.url = `http://127.0.0.1:${(this.#http.address() as AddressInfo).port}`;
  }
  get watchers(): number {
    return this.#watchers.size;
  }
  intercept(interceptor: Interceptor | undefined): void {
    this.#interceptor = interceptor;
  }
  stored(path: string): JsonObject | undefined {
    return this.#objects.get(keyOf(placeOf(path)));
  }
  put(path: string, object: JsonObject): JsonObject {
    return this.#store(placeOf(path), object);
  }
  remove(path: string): void {
    this.#delete(placeOf(path));
  }
  bookmark(): void {
    const object = { kind: "Bookmark", apiVersion: "v1", metadata: { resourceVersion: String(this.#version) } };
    for (const { response } of this.#watchers) this.#line(response, { type: "BOOKMARK", object });
  }
  compact(): void {
    this.#compacted = ++this.#version;
    this.#changes = [];
  }
  endWatches(how: "end" | "cut"): void {
    for (const { response } of this.#watchers) how === "end" ? response.end() : response.destroy();
    this.#watchers.clear();
  }
  freezeWatches(frozen: boolean): void {
    this.#frozen = frozen;
  }
  async [Symbol.asyncDispose](): Promise<void> {
    this.endWatches("cut");
    this.#http.closeAllConnections();
    await new Promise((resolve) => this.#http.close(resolve));
  }

  async #handle(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    let text = "";
    for await (const chunk of incoming) text += String(chunk);
    const url = new URL(incoming.url ?? "/", this.url);
    const request: FakeRequest = {
      method: incoming.method ?? "GET",
      path: url.pathname,
      query: url.searchParams,
      headers: incoming.headers,
      body: text === "" ? undefined : parseJson(text),
    };
    this.requests.push(request);
    if (this.#interceptor?.(request, response) === true) return;
    this.#route(request, response);
  }

  #route(request: FakeRequest, response: ServerResponse): void {
    const place = placeOf(request.path);
    const body = isJsonObject(request.body) ? request.body : {};
    if (request.method === "GET") this.#read(place, request, response);
    else if (request.method === "POST") this.#create(place, body, response);
    else if (request.method === "DELETE") this.#remove(place, body, response);
    else if (request.method === "PUT" || request.method === "PATCH") this.#update(place, request, body, response);
    else this.#refuse(response, 405, "MethodNotAllowed", place);
  }

  #read(place: Place, request: FakeRequest, response: ServerResponse): void {
    if (request.query.get("watch") === "true") this.#watch(place, request.query, response);
    else if (place.name === undefined) this.#list(place, request.query, response);
    else {
      const object = this.#objects.get(keyOf(place));
      if (object === undefined) this.#refuse(response, 404, "NotFound", place);
      else this.#answer(response, 200, object);
    }
  }

  #list(place: Place, query: URLSearchParams, response: ServerResponse): void {
    const all = [...this.#objects.entries()]
      .filter(([key, object]) => this.#matches(place, query, key, object))
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([, object]) => object);
    const from = Number(query.get("continue") ?? 0);
    const limit = Number(query.get("limit") ?? 0) || all.length;
    const next = from + limit < all.length ? { continue: String(from + limit) } : {};
    const metadata = { resourceVersion: String(this.#version), ...next };
    this.#answer(response, 200, { kind: "List", apiVersion: "v1", metadata, items: all.slice(from, from + limit) });
  }

  #matches(place: Place, query: URLSearchParams, key: string, object: JsonObject): boolean {
    if (!key.startsWith(`${place.collection}|${place.namespace === undefined ? "" : `${place.namespace}|`}`))
      return false;
    const labels = metadataOf(object)["labels"];
    const wanted = (query.get("labelSelector") ?? "").split(",").filter((part) => part !== "");
    return wanted.every((part) => {
      const [name = "", value] = part.split("=");
      if (!isJsonObject(labels)) return false;
      return value === undefined ? Object.hasOwn(labels, name) : labels[name] === value;
    });
  }

  #watch(place: Place, query: URLSearchParams, response: ServerResponse): void {
    const since = Number(query.get("resourceVersion") ?? 0);
    if (since < this.#compacted) {
      this.#refuse(response, 410, "Expired", place);
      return;
    }
    response.writeHead(200, { "content-type": "application/json" });
    response.flushHeaders();
    const watcher = { place, query, response };
    this.#watchers.add(watcher);
    response.on("close", () => this.#watchers.delete(watcher));
    for (const change of this.#changes) if (change.version > since) this.#notify(watcher, change);
  }

  #notify(watcher: Watcher, change: Change): void {
    if (this.#matches(watcher.place, watcher.query, keyOf(change.place), change.object))
      this.#line(watcher.response, { type: change.type, object: change.object });
  }

  #line(response: ServerResponse, event: JsonObject): void {
    if (!this.#frozen) response.write(`${JSON.stringify(event)}\n`);
  }

  #create(collection: Place, body: JsonObject, response: ServerResponse): void {
    const name = metadataOf(body)["name"] ?? `${metadataOf(body)["generateName"]}${this.#version}`;
    const place = { ...collection, name: String(name) };
    if (this.#objects.has(keyOf(place))) {
      this.#refuse(response, 409, "AlreadyExists", place);
      return;
    }
    this.#answer(response, 201, this.#store(place, body));
  }

  #update(place: Place, request: FakeRequest, body: JsonObject, response: ServerResponse): void {
    const old = this.#objects.get(keyOf(place));
    const isApply = request.headers["content-type"] === "application/apply-patch+yaml";
    if (old === undefined && (!isApply || place.subresource !== undefined)) {
      this.#refuse(response, 404, "NotFound", place);
      return;
    }
    const version = metadataOf(body)["resourceVersion"];
    if (old !== undefined && version !== undefined && version !== metadataOf(old)["resourceVersion"]) {
      this.#refuse(response, 409, "Conflict", place);
      return;
    }
    const wanted = request.method === "PUT" ? body : merge(old, body);
    const object = isJsonObject(wanted) ? this.#withSubresource(place, old, wanted) : body;
    this.#answer(response, old === undefined ? 201 : 200, this.#store(place, object));
  }

  #withSubresource(place: Place, old: JsonObject | undefined, wanted: JsonObject): JsonObject {
    if (old === undefined) return wanted;
    if (place.subresource === "status") return { ...old, status: wanted["status"] ?? null };
    return old["status"] === undefined ? wanted : { ...wanted, status: old["status"] };
  }

  #remove(place: Place, body: JsonObject, response: ServerResponse): void {
    const old = this.#objects.get(keyOf(place));
    if (old === undefined) {
      this.#refuse(response, 404, "NotFound", place);
      return;
    }
    const preconditions = isJsonObject(body["preconditions"]) ? body["preconditions"] : {};
    const broken = Object.entries(preconditions).some(([name, value]) => metadataOf(old)[name] !== value);
    if (broken) {
      this.#refuse(response, 409, "Conflict", place);
      return;
    }
    this.#delete(place);
    this.#answer(response, 200, { kind: "Status", apiVersion: "v1", status: "Success" });
  }

  #delete(place: Place): void {
    const object = this.#objects.get(keyOf(place));
    if (object === undefined) return;
    this.#objects.delete(keyOf(place));
    this.#change("DELETED", place, this.#stamped(place, object, object));
  }

  #store(place: Place, object: JsonObject): JsonObject {
    const old = this.#objects.get(keyOf(place));
    const stored = this.#stamped(place, object, old);
    this.#objects.set(keyOf(place), stored);
    this.#change(old === undefined ? "ADDED" : "MODIFIED", place, stored);
    return stored;
  }

  #stamped(place: Place, object: JsonObject, old: JsonObject | undefined): JsonObject {
    this.#version++;
    const before = metadataOf(old);
    const changed = JSON.stringify(old?.["spec"]) !== JSON.stringify(object["spec"]);
    const generation = typeof before["generation"] === "number" ? before["generation"] + (changed ? 1 : 0) : 1;
    const metadata = {
      ...metadataOf(object),
      name: place.name ?? "",
      ...(place.namespace === undefined ? {} : { namespace: place.namespace }),
      uid: before["uid"] ?? `uid-${this.#version}`,
      resourceVersion: String(this.#version),
      generation,
    };
    return { ...object, apiVersion: object["apiVersion"] ?? "v1", kind: object["kind"] ?? "Object", metadata };
  }

  #change(type: Change["type"], place: Place, object: JsonObject): void {
    const change = { version: this.#version, type, place, object };
    this.#changes.push(change);
    for (const watcher of this.#watchers) this.#notify(watcher, change);
  }

  #answer(response: ServerResponse, status: number, body: JsonObject): void {
    response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
  }

  #refuse(response: ServerResponse, status: number, reason: string, place: Place): void {
    const details = { name: place.name ?? "", kind: place.collection };
    const message = `${place.collection} "${place.name}": ${reason}`;
    this.#answer(response, status, {
      kind: "Status",
      apiVersion: "v1",
      status: "Failure",
      code: status,
      reason,
      message,
      details,
    });
  }
}

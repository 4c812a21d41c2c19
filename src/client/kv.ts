// Secrets of KV engines by their logical path ("secret/team/db"), whichever version the mount has: the mount and its
// version are asked for at sys/internal/ui/mounts/<path>, as every KV command line does, and kept for the client's life.
import { isJsonObject, type JsonObject, type JsonValue } from "#common/json.ts";
import { jsonObject, object, optional, string } from "#common/schema.ts";
import type { ApiClient, CallOptions } from "./api-client.ts";
import { ApiError, hasStatus } from "./api-error.ts";
import { requireData } from "./envelope.ts";

/** A mount that a path lies on; `kvVersion` is undefined when it is no KV engine. */
export interface Mount {
  /** With the slash at its end: "secret/". */
  readonly path: string;
  readonly type: string;
  readonly kvVersion: 1 | 2 | undefined;
}

export interface KvSecret {
  readonly data: JsonObject;
  /** Version, times and custom metadata; only of KV v2. */
  readonly metadata: JsonObject | undefined;
}

export interface KvWriteOptions extends CallOptions {
  /** Version that must be the current one; 0 means there must be none. KV v2 only. */
  readonly cas?: number | undefined;
}

export interface Kv {
  /** The mount of a path. Throws ApiError 403 when nothing is mounted there for this token. */
  mountOf(path: string, options?: CallOptions): Promise<Mount>;
  /** Where the API keeps a secret's data: "secret/data/team/db" for "secret/team/db" on a KV v2 mount. */
  locate(path: string, options?: CallOptions): Promise<string>;
  /** Throws ApiError 404 when there is no such secret or its version is deleted. `version` 0 is the latest. */
  read(path: string, options?: CallOptions & { readonly version?: number | undefined }): Promise<KvSecret>;
  /** Gives the new version's metadata (KV v2) or undefined (KV v1). */
  write(path: string, data: JsonObject, options?: KvWriteOptions): Promise<JsonObject | undefined>;
  /** Merges into the current version; KV v2 only. */
  patch(path: string, data: JsonObject, options?: KvWriteOptions): Promise<JsonObject | undefined>;
  list(path: string, options?: CallOptions): Promise<readonly string[]>;
  /** Deletes the latest version, or the given ones (KV v2). */
  delete(path: string, options?: CallOptions & { readonly versions?: readonly number[] | undefined }): Promise<void>;
  undelete(path: string, versions: readonly number[], options?: CallOptions): Promise<void>;
  destroy(path: string, versions: readonly number[], options?: CallOptions): Promise<void>;
  readMetadata(path: string, options?: CallOptions): Promise<JsonObject>;
  writeMetadata(path: string, metadata: JsonObject, options?: CallOptions): Promise<void>;
  /** Removes all versions and the metadata. */
  deleteMetadata(path: string, options?: CallOptions): Promise<void>;
}

/** KV calls over a client. */
export function createKv(client: ApiClient): Kv {
  const mountOf = mountFinder(client);
  const place = async (path: string, folder: string, call: CallOptions) => {
    const mount = await mountOf(path, { signal: call.signal });
    return { mount, at: mount.kvVersion === 2 ? joinV2(mount, folder, path) : trim(path) };
  };
  const placeV2 = async (path: string, folder: string, call: CallOptions) => {
    const { mount, at } = await place(path, folder, call);
    if (mount.kvVersion !== 2) throw notVersioned(client, folder, mount);
    return at;
  };
  return {
    mountOf,
    locate: async (path, options = {}) => (await place(path, "data", options)).at,
    async read(path, options = {}) {
      const { version, ...call } = options;
      const { mount, at } = await place(path, "data", call);
      if (mount.kvVersion !== 2) return { data: requireData(await client.read(at, call), at), metadata: undefined };
      return parseSecret(requireData(await client.read(at, withVersion(call, version)), at), client, at);
    },
    async write(path, data, options = {}) {
      const { mount, at } = await place(path, "data", options);
      const body = mount.kvVersion === 2 ? versionedBody(data, options.cas) : data;
      return (await client.write(at, body, options)).data;
    },
    async patch(path, data, options = {}) {
      const at = await placeV2(path, "data", options);
      return (await client.patch(at, versionedBody(data, options.cas), options)).data;
    },
    list: async (path, options = {}) => client.list((await place(path, "metadata", options)).at, options),
    async delete(path, options = {}) {
      const { versions, ...call } = options;
      if (versions === undefined) await client.delete((await place(path, "data", call)).at, call);
      else await client.write(await placeV2(path, "delete", call), { versions }, call);
    },
    async undelete(path, versions, options = {}) {
      await client.write(await placeV2(path, "undelete", options), { versions }, options);
    },
    async destroy(path, versions, options = {}) {
      await client.write(await placeV2(path, "destroy", options), { versions }, options);
    },
    async readMetadata(path, options = {}) {
      const at = await placeV2(path, "metadata", options);
      return requireData(await client.read(at, options), at);
    },
    async writeMetadata(path, metadata, options = {}) {
      await client.write(await placeV2(path, "metadata", options), metadata, options);
    },
    async deleteMetadata(path, options = {}) {
      await client.delete(await placeV2(path, "metadata", options), options);
    },
  };
}

const mountShape = object({ path: string, type: string, options: optional(jsonObject) });

function mountFinder(client: ApiClient): Kv["mountOf"] {
  const known: Mount[] = [];
  return async (path, options = {}) => {
    const wanted = trim(path);
    const found = known.find((mount) => `${wanted}/`.startsWith(mount.path));
    if (found !== undefined) return found;
    const { path: at, type, options: settings } = await describeMount(client, wanted, options);
    const isKv = type === "kv" || type === "generic";
    const mount: Mount = { path: at, type, kvVersion: isKv ? (settings?.["version"] === "2" ? 2 : 1) : undefined };
    if (at !== "") known.push(mount);
    return mount;
  };
}

async function describeMount(client: ApiClient, path: string, call: CallOptions) {
  const at = `sys/internal/ui/mounts/${path}`;
  try {
    return mountShape.parse(requireData(await client.read(at, call), at), "the mount");
  } catch (error) {
    // Servers before Vault 0.10 have no such path; their KV has no versions.
    if (hasStatus(error, 404)) return { path: "", type: "kv", options: undefined };
    throw error;
  }
}

function trim(path: string): string {
  return path.replace(/^\/+|\/+$/g, "");
}

function joinV2(mount: Mount, folder: string, path: string): string {
  return `${mount.path}${folder}/${trim(path).slice(mount.path.length)}`.replace(/\/$/, "");
}

function withVersion(call: CallOptions, version: number | undefined): CallOptions {
  return version ? { ...call, query: { ...call.query, version } } : call;
}

function versionedBody(data: JsonObject, cas: number | undefined): JsonObject {
  return cas === undefined ? { data } : { data, options: { cas } };
}

function parseSecret(answer: JsonObject, client: ApiClient, path: string): KvSecret {
  const data: JsonValue | undefined = answer["data"];
  const metadata = answer["metadata"];
  if (!isJsonObject(data)) throw new ApiError({ ...failed(client, path), status: 404, errors: [], body: answer });
  return { data, metadata: isJsonObject(metadata) ? metadata : undefined };
}

function notVersioned(client: ApiClient, path: string, mount: Mount): ApiError {
  const errors = [`the mount "${mount.path}" is no KV version 2, which this call needs`];
  return new ApiError({ ...failed(client, path), status: 400, errors });
}

function failed(client: ApiClient, path: string) {
  return { method: "GET", path, address: client.address };
}

// Mount types and the backends they become. A backend is made once per type and options, not per mount: thousands of
// mounts cost no memory, and nothing is prepared at unseal.
import { CofferError } from "#common/errors.ts";
import type { Backend, BackendHost, BackendType } from "../framework/backend.ts";
import type { PrivilegedContext } from "../framework/context.ts";
import type { MountRecord } from "./mount-record.ts";

/** A backend with its privilege told apart: only `sys` and `token` are ever handed the whole transaction. */
export interface HostedBackend {
  readonly privileged: boolean;
  readonly backend: Backend<PrivilegedContext>;
}

export interface BackendRegistries {
  readonly engines: readonly BackendType[];
  readonly auth: readonly BackendType[];
  /** Types of which there is exactly one mount, made at initialisation. */
  readonly singletons: readonly Backend<PrivilegedContext>[];
}

/** Different sets of options of one type that are kept; beyond, they are made anew for each request. */
const BACKENDS_MAX = 256;

export class Backends {
  readonly #registries: BackendRegistries;
  readonly #host: BackendHost;
  readonly #made = new Map<string, HostedBackend>();
  /** Of a mount's record, which is the same object while its version is current: every request asks. */
  readonly #ofMounts = new WeakMap<MountRecord, HostedBackend>();
  constructor(registries: BackendRegistries, host: BackendHost) {
    this.#registries = registries;
    this.#host = host;
  }

  /** The backend of a mount. Throws `unsupported_path` for a type that this version does not have. */
  of(mount: MountRecord): HostedBackend {
    const ofMount = this.#ofMounts.get(mount);
    if (ofMount) return ofMount;
    const hosted = this.#ofOptions(mount);
    this.#ofMounts.set(mount, hosted);
    return hosted;
  }

  #ofOptions(mount: MountRecord): HostedBackend {
    const key = `${mount.path.startsWith("auth/")} ${mount.type} ${JSON.stringify(mount.options)}`;
    const known = this.#made.get(key);
    if (known) return known;
    const made = this.#make(mount);
    if (this.#made.size < BACKENDS_MAX) this.#made.set(key, made);
    return made;
  }

  #make(mount: MountRecord): HostedBackend {
    const singleton = this.#registries.singletons.find((backend) => backend.type === mount.type);
    if (singleton) return { privileged: true, backend: singleton };
    const types = mount.path.startsWith("auth/") ? this.#registries.auth : this.#registries.engines;
    const type = types.find((candidate) => candidate.type === mount.type);
    if (!type) throw new CofferError("unsupported_path", `this server has no backend of type "${mount.type}"`);
    return { privileged: false, backend: type.create(mount.options, this.#host) };
  }

  /** Checks a type and its options before a mount is made of them. */
  validate(kind: "engines" | "auth", type: string, options: Readonly<Record<string, string>>): void {
    const found = this.#registries[kind].find((candidate) => candidate.type === type);
    if (!found) throw new CofferError("invalid_request", `plugin not found in the catalog: ${type}`);
    found.create(options, this.#host);
  }

  types(kind: "engines" | "auth"): readonly string[] {
    return this.#registries[kind].map((type) => type.type);
  }

  /** Names under which the database engine knows its kinds of databases. */
  databasePlugins(): readonly string[] {
    return this.#registries.engines.flatMap((type) => type.databasePlugins ?? []);
  }

  isSingleton(type: string): boolean {
    const ofRegistry = this.#registries.engines.find((candidate) => candidate.type === type);
    return ofRegistry?.single === true || this.#registries.singletons.some((backend) => backend.type === type);
  }
}

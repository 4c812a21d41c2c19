// Who may import whom, as data. An area is a folder below src; a file belongs to the longest area that holds it.
// Calls go down only: http -> core -> mounts -> engines, auth, sys (through framework) -> barrier -> storage.
// tools/tidy.ts holds the tree to it; docs/architecture.md draws it.

interface Area {
  /** Areas (or single files) that this one may import, besides itself. An area's name does not cover those inside it. */
  readonly may: readonly string[];
  /** Each folder inside is an area of its own: it sees this area and what this area may see, but not its siblings. */
  readonly plugins?: true;
}

/** Services of the server: each owns one kind of record; they know each other and the table of mounts. */
const SERVICES = [
  "server/tokens",
  "server/policy",
  "server/leases",
  "server/journal",
  "server/lockout",
  "server/events",
  "server/approval",
  "server/identity",
  "server/audit",
  "server/quotas",
  "server/wrapping",
  "server/namespaces",
  "server/passwords",
];
const BELOW_MOUNTS = ["common", "server/framework", "server/barrier", "server/storage"];
const BELOW_SERVICES = [...BELOW_MOUNTS, "server/mounts"];
const BELOW_CORE = [...BELOW_SERVICES, ...SERVICES, "server/seal"];
const REGISTRIES = ["server/engines", "server/auth"];
/** What a context hands to a handler: its storage and the kinds of record in it. */
const BELOW_BACKENDS = ["common", "server/framework", "server/barrier/transaction.ts"];

const AREAS: Readonly<Record<string, Area>> = {
  common: { may: [] },
  client: { may: ["common"] },
  kube: { may: ["common"] },
  /** Templates of Kubernetes Secrets are the agent's, and what an event says. */
  operator: {
    may: [
      ...["common", "client", "kube", "operator/api"],
      ...["agent/values.ts", "agent/template/template.ts", "agent/template/values.ts", "agent/events/changed-path.ts"],
    ],
  },
  /** The custom resources' schemas, which the injector reads too. */
  "operator/api": { may: ["common", "kube"] },
  injector: { may: ["common", "client", "kube", "operator/api"] },
  agent: { may: ["common", "client"] },
  cli: { may: ["common", "client"] },
  /** The composition root sees every part. */
  server: {
    may: [
      "server/http",
      "server/core",
      "server/sys",
      "server/ceremony",
      "server/snapshot",
      "server/seal-wrap",
      "server/recovery",
      "server/config",
      "server/workers",
      "server/auth/token",
      ...REGISTRIES,
      ...BELOW_CORE,
    ],
  },
  /** The configuration's shape: data for whoever is configured by it. */
  "server/config": { may: ["common"] },
  "server/http": { may: ["server/core", "server/config", ...BELOW_SERVICES, ...SERVICES] },
  "server/core": { may: BELOW_CORE },
  "server/mounts": { may: BELOW_MOUNTS },
  /** Several processes as one server: keeps for all of them what core and the services ask for. */
  "server/workers": { may: ["server/core", "server/config", ...BELOW_CORE] },
  /** Is given the node to seal and unseal, so it sees core; core sees sys only as a backend among others. */
  "server/sys": { may: ["server/core", "server/ceremony", "server/snapshot", "server/seal-wrap", ...BELOW_CORE] },
  /** The seal's layer on critical values: sees the set of seals, and is seen by the barrier through a seam alone. */
  "server/seal-wrap": { may: ["server/core", ...BELOW_CORE] },
  /** What several people do together to the node's keys, for sys. */
  "server/ceremony": { may: ["server/core", ...BELOW_CORE] },
  /** Replaces all that the node serves, so it stops and opens the node. */
  "server/snapshot": { may: ["server/core", "server/config", ...BELOW_CORE] },
  /** A server of its own, made of the few parts that repairs need. */
  "server/recovery": {
    may: [
      "server/http",
      "server/config",
      "server/core",
      "server/sys",
      "server/ceremony",
      "server/seal-wrap",
      ...BELOW_CORE,
    ],
  },
  "server/engines": { may: BELOW_BACKENDS, plugins: true },
  "server/auth": { may: [...BELOW_BACKENDS, "server/auth/token"], plugins: true },
  /** The face of the token service: privileged as sys is, so no plugin like the others. */
  "server/auth/token": { may: BELOW_CORE },
  ...Object.fromEntries(SERVICES.map((name) => [name, { may: ["server/config", ...BELOW_SERVICES, ...SERVICES] }])),
  /** Contexts and paths hand a transaction and a page to the engines; the types come from below. */
  "server/framework": { may: ["common", "server/barrier", "server/storage"] },
  "server/barrier": { may: ["common", "server/storage", "server/seal"] },
  /** The transit seal is a client of another server; the client sees common alone, so nothing comes back around. */
  "server/seal": { may: ["common", "client"], plugins: true },
  "server/storage": { may: ["common"], plugins: true },
};

/** The CLI starts the programs, and only when asked to: the agent's memory must not hold the server. */
const STARTED_BY_CLI = ["server", "operator", "injector", "agent"];

export type ImportKind = "static" | "dynamic";

interface Place {
  readonly area: string;
  /** The folder of a plugin inside its area: "kv" of server/engines/kv. */
  readonly plugin: string | undefined;
}

/** The place of a file below src ("server/http/codec.ts"), or `undefined` when no area holds it. */
export function placeOf(file: string): Place | undefined {
  const folders = file.split("/").slice(0, -1);
  for (let depth = folders.length; depth > 0; depth--) {
    const area = folders.slice(0, depth).join("/");
    const found = AREAS[area];
    if (found) return { area, plugin: found.plugins ? folders[depth] : undefined };
  }
  return undefined;
}

/** Why `from` may not import `to` (both below src), or `undefined` when it may. */
export function layerBreach(from: string, to: string, kind: ImportKind): string | undefined {
  const source = placeOf(from);
  const target = placeOf(to);
  if (!source) return `${from} lies in no area: add its folder to tools/layers.ts`;
  if (!target) return `${to} lies in no area: add its folder to tools/layers.ts`;
  if (source.area === "cli" && kind === "dynamic" && STARTED_BY_CLI.includes(target.area)) return undefined;
  if (source.area !== target.area) {
    if (target.plugin !== undefined) return `${target.area}/${target.plugin} is known to its registry alone`;
    const may = AREAS[source.area]?.may ?? [];
    if (may.includes(target.area) || may.includes(to)) return undefined;
    return `${source.area} may not import ${target.area}`;
  }
  // Only the registry knows the plugins; a plugin knows itself and what they all share.
  const isOwn = target.plugin === undefined || target.plugin === source.plugin;
  const isRegistry = source.plugin === undefined && from.endsWith("/registry.ts");
  return isOwn || isRegistry ? undefined : `${from} may not import the plugin ${target.plugin}: only registry.ts may`;
}

/** Which files or folders below src may import a package. The reasons are in docs/adr/0002-dependencies.md. */
const PACKAGES: Readonly<Record<string, readonly string[]>> = {
  "@aws-sdk/client-cloudhsm-v2": ["server/seal/pkcs11"],
  "@aws-sdk/client-kms": ["server/seal/awskms"],
  "@aws-sdk/client-s3": ["server/snapshot/s3-destination.ts"],
  "@aws-sdk/lib-storage": ["server/snapshot/s3-destination.ts"],
  "@aws-sdk/credential-providers": ["server/seal/aws-identity.ts", "server/storage/postgres", "agent/auth/aws"],
  "@kubernetes/client-node": ["kube/kube-endpoint.ts"],
  "@peculiar/x509": ["common/x509.ts"],
  express: ["injector", "kube", "operator", "server/http"],
  bcryptjs: ["server/auth/userpass"],
  jose: ["server/auth", "server/identity/oidc", "server/wrapping/wrapping-jwt.ts"],
  lmdb: ["server/storage/lmdb"],
  openpgp: ["server/ceremony/pgp.ts"],
  pg: ["server/storage/postgres"],
  pkcs11js: ["server/seal/pkcs11"],
  "reflect-metadata": ["common/x509.ts"],
  ws: ["client/messages.ts", "server/http/web-sockets.ts"],
  yaml: ["agent", "cli", "kube", "operator", "server"],
};

/** Why `from` (below src) may not import the package, or `undefined` when it may. Node's own modules always may be. */
export function packageBreach(from: string, specifier: string): string | undefined {
  if (specifier.startsWith("node:")) return undefined;
  const name = specifier
    .split("/")
    .slice(0, specifier.startsWith("@") ? 2 : 1)
    .join("/");
  const allowed = PACKAGES[name];
  if (!allowed) return `${name} is no package of the program: see docs/adr/0002-dependencies.md`;
  if (allowed.some((place) => from === place || from.startsWith(`${place}/`))) return undefined;
  return `${name} is for ${allowed.join(", ")} alone`;
}

// A server's configuration from its files, typed and checked. What settings there are is config-schema.ts; the types
// of storage, seals and audit devices check their own members.
import { CofferError } from "#common/errors.ts";
import { readFields } from "#common/hcl/config-fields.ts";
import { parseHcl } from "#common/hcl/parser.ts";
import { blocksOf, type HclBlock, type HclObject, hclError, keyOf, toJson } from "#common/hcl/syntax-tree.ts";
import { isJsonObject, type JsonObject } from "#common/json.ts";
import type { LogLevel } from "#common/log.ts";
import {
  AUDIT_FIELDS,
  REQUEST_FIELDS,
  SEAL_FIELDS,
  SNAPSHOT_INTERVAL_SECONDS_MIN,
  SNAPSHOTS_FIELDS,
  STANZAS,
  TELEMETRY_FIELDS,
  TOP_FIELDS,
  USER_LOCKOUT_FIELDS,
} from "./config-schema.ts";
import { type ListenerConfig, readListener } from "./listener-config.ts";

/** A stanza whose members belong to its type. */
export interface TypedStanza {
  readonly type: string;
  readonly config: JsonObject;
}
export interface SealStanza extends TypedStanza {
  readonly name: string;
  readonly priority: number;
  readonly disabled: boolean;
}
export interface AuditStanza {
  readonly type: string;
  /** Ends in "/". */
  readonly path: string;
  readonly description: string;
  readonly options: Readonly<Record<string, string>>;
}
export interface UserLockoutStanza {
  /** An auth type, or "all". */
  readonly type: string;
  readonly threshold: number;
  readonly durationSeconds: number;
  readonly counterResetSeconds: number;
  readonly disabled: boolean;
}
export interface BootstrapRequest {
  readonly name: string;
  readonly operation: "create" | "update" | "patch" | "delete" | "read" | "list";
  readonly path: string;
  readonly data: JsonObject;
  readonly namespace: string;
}

/** When and where snapshots are kept: in a directory or in a bucket. */
export interface SnapshotsStanza {
  readonly intervalMillis: number;
  readonly retain: number;
  /** 0: never. */
  readonly verifyMillis: number;
  readonly directory: string | undefined;
  readonly bucket: string | undefined;
  readonly prefix: string;
  readonly region: string | undefined;
  readonly endpoint: string | undefined;
}

export interface ServerConfig {
  readonly storage: TypedStanza;
  readonly listeners: readonly ListenerConfig[];
  /** In the order of their priority; at least one. */
  readonly seals: readonly SealStanza[];
  readonly audits: readonly AuditStanza[];
  readonly userLockouts: readonly UserLockoutStanza[];
  readonly bootstrap: readonly BootstrapRequest[];
  readonly snapshots: SnapshotsStanza | undefined;
  readonly apiAddress: string | undefined;
  readonly clusterAddress: string | undefined;
  readonly clusterName: string;
  readonly defaultLeaseTtlSeconds: number;
  readonly maxLeaseTtlSeconds: number;
  readonly logLevel: LogLevel;
  readonly logFormat: "json" | "text";
  readonly pidFile: string | undefined;
  /** Undefined: as many as suit the machine. */
  readonly workers: number | undefined;
  readonly unauthenticatedMetrics: boolean;
  /** Whether sys/raw is there. */
  readonly fips: boolean;
  readonly rawStorage: boolean;
  /** Whether sys/internal/inspect is there. */
  readonly introspection: boolean;
  /** One sentence for each setting that is accepted and has no effect. */
  readonly warnings: readonly string[];
}

export interface ConfigFile {
  /** For messages. */
  readonly name: string;
  readonly text: string;
}

/** More bootstrap requests than this are a program, not a configuration. */
export const BOOTSTRAP_REQUESTS_MAX = 500;

/**
 * Reads one configuration from its files: stanzas of all files together, single settings from the last file that has
 * them. Throws `invalid_request` naming the file, the position and what would be right.
 */
export function parseServerConfig(files: readonly ConfigFile[]): ServerConfig {
  const document = joinFiles(files);
  const warnings: string[] = [];
  const stanzas = STANZAS.map((stanza) => stanza.name);
  const top = readFields(document, TOP_FIELDS, { where: "the configuration", alsoKnown: stanzas, warnings });
  if (top.ui) warnings.push("ui has no effect: there is no web interface");
  if (top.default_lease_ttl > top.max_lease_ttl) throw invalid("default_lease_ttl must not be above max_lease_ttl");
  const telemetry = blocksOf(document, "telemetry", 0).map((block) =>
    readFields(block.body, TELEMETRY_FIELDS, { where: "telemetry", warnings }),
  );
  return {
    storage: readStorage(document),
    listeners: blocksOf(document, "listener", 1).map((block) =>
      readListener(block, top.default_max_request_duration, warnings),
    ),
    seals: readSeals(document, warnings),
    audits: readAudits(document, warnings),
    userLockouts: readUserLockouts(document, warnings),
    bootstrap: readBootstrap(document, warnings),
    snapshots: readSnapshots(document, warnings),
    apiAddress: top.api_addr,
    clusterAddress: top.cluster_addr,
    clusterName: top.cluster_name,
    defaultLeaseTtlSeconds: top.default_lease_ttl,
    maxLeaseTtlSeconds: top.max_lease_ttl,
    logLevel: LOG_LEVELS[top.log_level],
    logFormat: top.log_format === "json" ? "json" : "text",
    pidFile: top.pid_file,
    workers: top.workers,
    fips: top.fips,
    rawStorage: top.raw_storage_endpoint,
    introspection: top.introspection_endpoint,
    unauthenticatedMetrics: telemetry.some((each) => each.unauthenticated_metrics_access),
    warnings,
  };
}

/** The storage stanza alone: of a server's whole configuration, or of a file that has nothing else. */
export function parseStorageStanza(files: readonly ConfigFile[]): TypedStanza {
  return readStorage(joinFiles(files));
}

/** The words that files use, as our log knows them. */
const LOG_LEVELS: Readonly<Record<"trace" | "debug" | "info" | "warn" | "warning" | "error" | "err", LogLevel>> = {
  trace: "debug",
  debug: "debug",
  info: "info",
  warn: "warn",
  warning: "warn",
  error: "error",
  err: "error",
};

/** One document; of a single setting only what the last file says. */
function joinFiles(files: readonly ConfigFile[]): HclObject {
  const documents = files.map((file) => parseHcl(file.text, file.name));
  const lastFile = new Map(
    documents.flatMap((document, index) => document.items.map((item) => [keyOf(item).text, index] as const)),
  );
  const items = documents.flatMap((document, index) =>
    document.items.filter((item) => {
      const name = keyOf(item).text;
      return !Object.hasOwn(TOP_FIELDS, name) || lastFile.get(name) === index;
    }),
  );
  return { kind: "object", items, position: { line: 1, column: 1 } };
}

function readStorage(document: HclObject): TypedStanza {
  const [storage, second] = [...blocksOf(document, "storage", 1), ...blocksOf(document, "backend", 1)];
  if (!storage) throw invalid('a storage stanza is missing; write storage "lmdb" { path = "/var/lib/coffer" }');
  if (second) throw hclError(second.position, "there is a second storage stanza; leave one out");
  return typedStanza(storage);
}

function typedStanza(block: HclBlock): TypedStanza {
  const config = toJson(block.body);
  return { type: labelOf(block, 0), config: isJsonObject(config) ? config : {} };
}

function labelOf(block: HclBlock, index: number): string {
  const label = block.labels[index]?.text ?? "";
  if (label === "") throw hclError(block.position, "a label is empty");
  return label;
}

function readSeals(document: HclObject, warnings: string[]): readonly SealStanza[] {
  const seals: SealStanza[] = [];
  for (const block of blocksOf(document, "seal", 1)) {
    const stanza = typedStanza(block);
    const own = Object.keys(stanza.config).filter((name) => !Object.hasOwn(SEAL_FIELDS, name));
    const common = readFields(block.body, SEAL_FIELDS, { where: `seal "${stanza.type}"`, alsoKnown: own, warnings });
    const name = common.name ?? stanza.type;
    if (seals.some((seal) => seal.name === name))
      throw hclError(block.position, `there are two seals named ${name}; give one another name`);
    seals.push({ ...stanza, name, priority: common.priority, disabled: common.disabled });
  }
  if (seals.length === 0) return [{ type: "shamir", name: "shamir", priority: 1, disabled: false, config: {} }];
  if (seals.every((seal) => seal.disabled))
    throw invalid("every seal is disabled; one must be left to wrap the root key");
  return seals.sort((a, b) => a.priority - b.priority);
}

function readAudits(document: HclObject, warnings: string[]): readonly AuditStanza[] {
  const audits: AuditStanza[] = [];
  for (const block of blocksOf(document, "audit", 2)) {
    const type = labelOf(block, 0);
    const path = `${labelOf(block, 1).replace(/^\/+|\/+$/g, "")}/`;
    if (audits.some((audit) => audit.path === path))
      throw hclError(block.position, `there are two audit devices at ${path}`);
    const { description, options } = readFields(block.body, AUDIT_FIELDS, { where: `audit "${type}"`, warnings });
    audits.push({ type, path, description, options });
  }
  return audits;
}

function readUserLockouts(document: HclObject, warnings: string[]): readonly UserLockoutStanza[] {
  return blocksOf(document, "user_lockout", 1).map((block) => {
    const type = labelOf(block, 0);
    const values = readFields(block.body, USER_LOCKOUT_FIELDS, { where: `user_lockout "${type}"`, warnings });
    return {
      type,
      threshold: values.lockout_threshold,
      durationSeconds: values.lockout_duration,
      counterResetSeconds: values.lockout_counter_reset,
      disabled: values.disable_lockout,
    };
  });
}

function readSnapshots(document: HclObject, warnings: string[]): SnapshotsStanza | undefined {
  const [block, second] = blocksOf(document, "snapshots", 0);
  if (block === undefined) return undefined;
  if (second) throw hclError(second.position, "there are two snapshots stanzas; write one");
  const values = readFields(block.body, SNAPSHOTS_FIELDS, { where: "snapshots", warnings });
  if ((values.directory === undefined) === (values.s3_bucket === undefined))
    throw hclError(block.position, "snapshots must have either a directory or an s3_bucket");
  if (values.interval < SNAPSHOT_INTERVAL_SECONDS_MIN)
    throw hclError(block.position, `snapshots.interval must be at least ${SNAPSHOT_INTERVAL_SECONDS_MIN}s`);
  if (values.s3_endpoint !== undefined && !URL.canParse(values.s3_endpoint))
    throw hclError(block.position, "snapshots.s3_endpoint must be a URL such as https://minio:9000");
  return {
    intervalMillis: values.interval * 1000,
    retain: values.retain,
    verifyMillis: values.verify_interval * 1000,
    directory: values.directory,
    bucket: values.s3_bucket,
    prefix: values.s3_prefix,
    region: values.s3_region,
    endpoint: values.s3_endpoint,
  };
}

function readBootstrap(document: HclObject, warnings: string[]): readonly BootstrapRequest[] {
  const blocks = blocksOf(document, "bootstrap", 0).flatMap((block) => {
    readFields(block.body, {}, { where: "bootstrap", alsoKnown: ["request"], warnings });
    return blocksOf(block.body, "request", 1);
  });
  const tooMany = blocks[BOOTSTRAP_REQUESTS_MAX];
  if (tooMany) throw hclError(tooMany.position, `bootstrap has more than ${BOOTSTRAP_REQUESTS_MAX} requests`);
  return blocks.map((block) => readRequest(block, warnings));
}

function readRequest(block: HclBlock, warnings: string[]): BootstrapRequest {
  const name = labelOf(block, 0);
  const values = readFields(block.body, REQUEST_FIELDS, { where: `request "${name}"`, warnings });
  const path = values.path.replace(/^\/?(?:v1\/)?/, "");
  if (path === "") throw hclError(block.position, `request "${name}" has no path; write path = "sys/…"`);
  return { name, operation: values.operation, path, data: values.data ?? {}, namespace: values.namespace };
}

function invalid(message: string): CofferError {
  return new CofferError("invalid_request", message);
}

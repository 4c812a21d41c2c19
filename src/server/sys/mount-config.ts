// What clients say about a mount (config, tune) and how a mount is shown. One place for both directions.

import { parseDurationSeconds } from "#common/duration.ts";
import { CofferError } from "#common/errors.ts";
import { isJsonObject, type JsonObject, type JsonValue } from "#common/json.ts";
import type { NamespaceName } from "../framework/context.ts";
import { field, LABEL_BYTES_MAX, policyNames } from "../framework/fields.ts";
import { normalizePolicyNames } from "../framework/token-parameters.ts";
import { LOCKOUT_DEFAULTS } from "../lockout/lockout.ts";
import { mountInfo, type TtlDefaults } from "../mounts/mount-info.ts";
import { isAuthMount, type MountConfig, type MountRecord } from "../mounts/mount-record.ts";
import { SYSTEM_MOUNTS } from "../mounts/system-mounts.ts";

const optionsField = field.pairs("", { bytesMax: LABEL_BYTES_MAX, itemsMax: 100 });
const TOKEN_TYPES = ["default-service", "default-batch", "service", "batch"];

/** Lays the members of a client's config over what was. Throws `invalid_request` naming the member. */
export function mergeMountConfig(
  sent: JsonObject,
  before: MountConfig,
  isAuth: boolean,
  durationError: (text: string, which: string) => string,
): MountConfig {
  const ttl = (name: "default_lease_ttl" | "max_lease_ttl", current: number, which: string) => {
    const value = sent[name];
    if (value === undefined || value === null || value === "") return current;
    if (value === "system") return 0;
    const seconds = parseDurationSeconds(textOf(value));
    if (seconds === undefined || seconds < 0)
      throw new CofferError("invalid_request", durationError(textOf(value), which));
    return seconds;
  };
  return {
    ...before,
    defaultLeaseTtlSeconds: ttl("default_lease_ttl", before.defaultLeaseTtlSeconds, "default"),
    maxLeaseTtlSeconds: ttl("max_lease_ttl", before.maxLeaseTtlSeconds, "max"),
    forceNoCache: flag(sent, "force_no_cache", before.forceNoCache),
    ...(isAuth && tokenTypeOf(sent, before)),
    ...visibilityOf(sent, before),
    auditNonHmacRequestKeys: names(sent, "audit_non_hmac_request_keys", before.auditNonHmacRequestKeys),
    auditNonHmacResponseKeys: names(sent, "audit_non_hmac_response_keys", before.auditNonHmacResponseKeys),
    passthroughRequestHeaders: names(sent, "passthrough_request_headers", before.passthroughRequestHeaders),
    allowedResponseHeaders: names(sent, "allowed_response_headers", before.allowedResponseHeaders),
    boundaryPolicies: normalizePolicyNames(names(sent, "token_boundary_policies", before.boundaryPolicies)),
    ...lockoutConfig(sent["user_lockout_config"], before),
  };
}

/** String() throws for objects that a client has given members of their own named toString. */
function textOf(value: JsonValue | undefined): string {
  if (typeof value === "string") return value;
  return value === undefined ? "" : JSON.stringify(value);
}

function lockoutConfig(sent: JsonValue | undefined, before: MountConfig): Pick<MountConfig, "userLockout"> {
  if (sent === undefined || sent === null) return { userLockout: before.userLockout };
  if (!isJsonObject(sent)) throw new CofferError("invalid_request", "user_lockout_config must be an object");
  const current = before.userLockout ?? LOCKOUT_DEFAULTS;
  const seconds = (name: string, fallback: number) => {
    const value = sent[name];
    if (value === undefined || value === null) return fallback;
    const parsed = parseDurationSeconds(textOf(value));
    if (parsed === undefined || parsed < 0)
      throw new CofferError("invalid_request", `user_lockout_config.${name} must be a duration such as 10m`);
    return parsed;
  };
  const threshold = Number(textOf(sent["lockout_threshold"] ?? current.threshold));
  if (!Number.isInteger(threshold) || threshold < 1)
    throw new CofferError("invalid_request", "user_lockout_config.lockout_threshold must be a whole number above 0");
  return {
    userLockout: {
      threshold,
      durationSeconds: seconds("lockout_duration", current.durationSeconds),
      counterResetSeconds: seconds("lockout_counter_reset_duration", current.counterResetSeconds),
      disabled: flag(sent, "lockout_disable", current.disabled),
    },
  };
}

/** Throws `invalid_request` for what is neither true nor false. */
function flag(sent: JsonObject, name: string, before: boolean): boolean {
  const value = sent[name] ?? null;
  return value === null ? before : field.flag("").convert(value, name);
}

/** Throws `invalid_request` for what is no list: taken for an empty one it would end a boundary. */
function names(sent: JsonObject, name: string, before: readonly string[]): readonly string[] {
  const value = sent[name] ?? null;
  return value === null ? before : field.list("", policyNames).convert(value, name);
}

function tokenTypeOf(sent: JsonObject, before: MountConfig): { tokenType?: string } {
  const value = sent["token_type"];
  if (value === undefined || value === null || value === "")
    return before.tokenType === undefined ? { tokenType: "default-service" } : {};
  if (typeof value !== "string" || !TOKEN_TYPES.includes(value))
    throw new CofferError("invalid_request", "invalid value for 'token_type'");
  return { tokenType: value };
}

function visibilityOf(sent: JsonObject, before: MountConfig): Pick<MountConfig, "listingVisibility"> {
  const value = sent["listing_visibility"];
  if (value === undefined || value === null) return { listingVisibility: before.listingVisibility };
  if (value === "") return { listingVisibility: undefined };
  if (value === "hidden" || value === "unauth") return { listingVisibility: value };
  throw new CofferError("invalid_request", `invalid listing_visibility ${textOf(value)}`);
}

/** Options as text pairs; numbers count as text, null as not sent. Throws `invalid_request` for what is no pairs. */
export function mountOptions(sent: JsonValue | undefined): Readonly<Record<string, string>> {
  if (sent === undefined || sent === null) return {};
  const given = isJsonObject(sent)
    ? Object.fromEntries(Object.entries(sent).filter(([, value]) => value !== null))
    : sent;
  return optionsField.convert(given, "options");
}

/** The members that are shown only when they are set. */
function optionalConfig(config: MountConfig): JsonObject {
  return {
    ...(config.listingVisibility !== undefined && { listing_visibility: config.listingVisibility }),
    ...(config.auditNonHmacRequestKeys.length > 0 && { audit_non_hmac_request_keys: config.auditNonHmacRequestKeys }),
    ...(config.auditNonHmacResponseKeys.length > 0 && {
      audit_non_hmac_response_keys: config.auditNonHmacResponseKeys,
    }),
    ...(config.passthroughRequestHeaders.length > 0 && {
      passthrough_request_headers: config.passthroughRequestHeaders,
    }),
    ...(config.allowedResponseHeaders.length > 0 && { allowed_response_headers: config.allowedResponseHeaders }),
    ...(config.boundaryPolicies.length > 0 && { token_boundary_policies: config.boundaryPolicies }),
    ...(config.userLockout && {
      user_lockout_threshold: config.userLockout.threshold,
      user_lockout_duration: config.userLockout.durationSeconds,
      user_lockout_counter_reset_duration: config.userLockout.counterResetSeconds,
      user_lockout_disable: config.userLockout.disabled,
    }),
  };
}

/** `scope`: the namespace that it is shown in; what each has one of is named as such in those below the root. */
export function shownMount(mount: MountRecord, scope: NamespaceName): JsonObject {
  const { config } = mount;
  return {
    accessor: mount.accessor,
    config: {
      default_lease_ttl: config.defaultLeaseTtlSeconds,
      force_no_cache: config.forceNoCache,
      max_lease_ttl: config.maxLeaseTtlSeconds,
      ...(isAuthMount(mount) && { token_type: config.tokenType ?? "default-service" }),
      ...optionalConfig(config),
    },
    deprecation_status: "supported",
    description: mount.description,
    external_entropy_access: false,
    local: mount.local,
    options: Object.keys(mount.options).length > 0 ? mount.options : null,
    plugin_version: "",
    running_plugin_version: "",
    running_sha256: "",
    seal_wrap: mount.sealWrap,
    type: shownType(mount, scope),
    uuid: mount.uuid,
  };
}

function shownType({ path, type }: MountRecord, { id }: NamespaceName): string {
  return id !== "" && SYSTEM_MOUNTS.some((mount) => mount.path === path) ? `ns_${type}` : type;
}

/** What tune shows: the same with time limits resolved. */
export function shownTuning(mount: MountRecord, ttl: TtlDefaults): JsonObject {
  const info = mountInfo(mount, ttl);
  return {
    default_lease_ttl: info.defaultTtlSeconds,
    description: mount.description,
    force_no_cache: mount.config.forceNoCache,
    max_lease_ttl: info.maxTtlSeconds,
    ...(isAuthMount(mount) && { token_type: mount.config.tokenType ?? "default-service" }),
    ...optionalConfig(mount.config),
    ...(Object.keys(mount.options).length > 0 && { options: mount.options }),
  };
}

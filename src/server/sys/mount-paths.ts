// sys/mounts and sys/auth: enable, disable, tune. The two are the same thing for the two classes of mounts.
import { CofferError, messageOf } from "#common/errors.ts";
import type { JsonObject } from "#common/json.ts";
import type { Transaction } from "../barrier/transaction.ts";
import type { PrivilegedContext } from "../framework/context.ts";
import { field, LABEL_BYTES_MAX, withDefault } from "../framework/fields.ts";
import { permissionDenied } from "../framework/multi-error.ts";
import { definePrivilegedPath } from "../framework/path.ts";
import { noContent, type Reply } from "../framework/reply.ts";
import { isAuthMount, type MountRecord, mountStoragePrefix, noMountConfig, shownPath } from "../mounts/mount-record.ts";
import { createMount, listAuthMounts, listMounts, readMount, writeMount } from "../mounts/mount-table.ts";
import { markWrappedMount, mountStorage } from "../mounts/wrapped-mount.ts";
import { assertNoNamespace } from "../namespaces/namespace-store.ts";
import { mergeMountConfig, mountOptions, shownMount, shownTuning } from "./mount-config.ts";
import { resolveMountType } from "./mount-type.ts";
import type { SysServices } from "./services.ts";

interface MountClass {
  readonly isAuth: boolean;
  /** "mounts" or "auth". */
  readonly root: string;
  readonly noun: string;
}
const SECRETS: MountClass = { isAuth: false, root: "mounts", noun: "secret engine" };
const AUTH: MountClass = { isAuth: true, root: "auth", noun: "auth engine" };
const RESERVED = ["sys/", "auth/", "cubbyhole/", "identity/"];

const mountFields = {
  type: withDefault(field.text("Type of the backend; kv-v1 and kv-v2 are kv with that version."), ""),
  description: withDefault(field.text("For people.", { bytesMax: LABEL_BYTES_MAX }), ""),
  config: withDefault(field.object("Time limits, visibility, audit of this mount."), {}),
  options: field.json("Options of the backend, such as KV's version."),
  local: withDefault(field.flag("Not replicated."), false),
  seal_wrap: withDefault(field.flag("Wrap what is critical by the seal as well."), false),
  external_entropy_access: withDefault(field.flag("Kept for clients."), false),
  plugin_name: withDefault(field.text("The backend's type when type is plugin."), ""),
  plugin_version: withDefault(field.text("Kept for clients."), ""),
} as const;

const tuneFields = {
  default_lease_ttl: field.json("Default TTL, or system."),
  max_lease_ttl: field.json("Maximum TTL, or system."),
  description: field.text("For people.", { bytesMax: LABEL_BYTES_MAX }),
  force_no_cache: field.flag("Kept for clients."),
  options: field.json("Options of the backend."),
  listing_visibility: field.json("unauth or hidden."),
  audit_non_hmac_request_keys: field.json("Request fields that audit shows in clear."),
  audit_non_hmac_response_keys: field.json("Response fields that audit shows in clear."),
  passthrough_request_headers: field.json("Headers that the backend sees."),
  allowed_response_headers: field.json("Headers that the backend may set."),
  token_type: field.json("Kind of tokens (auth methods)."),
  token_boundary_policies: field.json("Permission boundary of all tokens of this auth method."),
  seal_wrap: field.flag("Wrap what is critical by the seal as well; what is there is brought to that form."),
  plugin_version: field.text("Kept for clients."),
  user_lockout_config: field.json("Kept for clients."),
} as const;

export function mountPaths(services: SysServices) {
  return [SECRETS, AUTH].flatMap((kind) => [
    definePrivilegedPath(kind.root, {
      summary: `All ${kind.noun}s.`,
      access: kind.isAuth ? "sudo" : "token",
      operations: { read: { summary: "Show them.", handler: (context) => showAll(context, kind) } },
    }),
    definePrivilegedPath(`${kind.root}/:path*/tune`, {
      summary: "Settings of a mount.",
      access: kind.isAuth ? "sudo" : "token",
      fields: tuneFields,
      operations: {
        read: {
          summary: "Show them.",
          handler: (context, { path }) => showTuning(context, services, fullPath(kind, path)),
        },
        update: {
          summary: "Change them.",
          handler: (context, { path, seal_wrap }) => tune(context, services, fullPath(kind, path), seal_wrap),
        },
      },
    }),
    definePrivilegedPath(`${kind.root}/:path*`, {
      summary: `${kind.isAuth ? "An" : "A"} ${kind.noun}.`,
      access: kind.isAuth ? "sudo" : "token",
      fields: mountFields,
      operations: {
        read: { summary: "Show it.", handler: (context, { path }) => showOne(context, kind, path) },
        update: {
          summary: "Enable it.",
          handler: (context, values) => enable(context, services, kind, values.path, values),
        },
        delete: { summary: "Disable it.", handler: (context, { path }) => disable(context, services, kind, path) },
      },
    }),
  ]);
}

function withSlash(path: string): string {
  return path.endsWith("/") ? path : `${path}/`;
}

function fullPath(kind: MountClass, path: string): string {
  return kind.isAuth ? `auth/${withSlash(path)}` : withSlash(path);
}

async function showAll(context: PrivilegedContext, kind: MountClass): Promise<Reply> {
  const { transaction } = context;
  const mounts = kind.isAuth
    ? await listAuthMounts(transaction)
    : (await listMounts(transaction)).filter((mount) => !isAuthMount(mount));
  return {
    data: Object.fromEntries(mounts.map((mount) => [shownPath(mount), shownMount(mount, context.scope)])),
    repeatAtTop: true,
  };
}

async function showOne(context: PrivilegedContext, kind: MountClass, path: string): Promise<Reply> {
  const mount = await readMount(context.transaction, fullPath(kind, path));
  if (!mount)
    throw new CofferError("invalid_request", `No ${kind.noun} ${kind.isAuth ? "" : "mount "}at ${withSlash(path)}`);
  return { data: shownMount(mount, context.scope), repeatAtTop: true };
}

type MountValues = {
  type: string;
  plugin_name: string;
  description: string;
  config: JsonObject;
  options?: unknown;
  local: boolean;
  seal_wrap: boolean;
};

async function enable(
  context: PrivilegedContext,
  services: SysServices,
  kind: MountClass,
  path: string,
  values: MountValues,
): Promise<Reply> {
  const full = fullPath(kind, path);
  const { type, options } = resolveMountType(
    { type: values.type, pluginName: values.plugin_name, options: mountOptions(context.data["options"]) },
    kind.isAuth,
  );
  assertMountable(services, kind, path, type);
  services.backends().validate(kind.isAuth ? "auth" : "engines", type, options);
  const config = mergeMountConfig(
    values.config,
    noMountConfig,
    kind.isAuth,
    (text, which) => `unable to parse ${which} TTL of ${text}: time: invalid duration ${JSON.stringify(text)}`,
  );
  if (config.maxLeaseTtlSeconds > 0 && config.defaultLeaseTtlSeconds > config.maxLeaseTtlSeconds) {
    throw new CofferError("invalid_request", "given default lease TTL greater than given max lease TTL");
  }
  await assertNoNamespace(context.transaction, context.scope, full);
  const mount = await createMount(context.transaction, {
    path: full,
    type,
    description: values.description,
    options,
    config,
    local: values.local,
    sealWrap: values.seal_wrap,
  });
  if (!mount.sealWrap) return noContent;
  markWrappedMount(context.transaction, mount, services.backends());
  const warnings = await sealWrapNotes(context.transaction, services, mount);
  return warnings.length === 0 ? noContent : { warnings };
}

function assertMountable(services: SysServices, kind: MountClass, path: string, type: string): void {
  if (kind.isAuth && type === "token")
    throw new CofferError("invalid_request", "token credential backend cannot be instantiated");
  if (!kind.isAuth && services.backends().isSingleton(type)) {
    throw new CofferError("invalid_request", `mount type of ${JSON.stringify(type)} is not mountable`);
  }
  assertMountPath(kind.isAuth, path);
}

/** Throws `invalid_request` for a path that no mount may have. */
export function assertMountPath(isAuth: boolean, path: string): void {
  if (/[\p{Cc}]/u.test(path) || path.split("/").includes(".."))
    throw new CofferError("invalid_request", "path has characters that a mount's path may not have");
  if (!isAuth && RESERVED.some((reserved) => withSlash(path).startsWith(reserved))) {
    throw new CofferError("invalid_request", `cannot mount ${JSON.stringify(withSlash(path))}`);
  }
}

async function disable(
  context: PrivilegedContext,
  services: SysServices,
  kind: MountClass,
  path: string,
): Promise<Reply> {
  const full = fullPath(kind, path);
  if (full === "auth/token/") throw new CofferError("invalid_request", "token credential backend cannot be disabled");
  if (RESERVED.includes(full)) throw new CofferError("invalid_request", `cannot unmount ${JSON.stringify(full)}`);
  const { transaction: tx } = context;
  const mount = await readMount(tx, full);
  if (!mount) return noContent;
  await services.expiration.endMount(tx, mount);
  return noContent;
}

async function showTuning(context: PrivilegedContext, services: SysServices, full: string): Promise<Reply> {
  const mount = await readMount(context.transaction, full);
  if (!mount) throw new CofferError("invalid_request", `cannot fetch sysview for path ${JSON.stringify(full)}`);
  return { data: shownTuning(mount, services.ttl), repeatAtTop: true };
}

async function tune(
  context: PrivilegedContext,
  services: SysServices,
  full: string,
  sealWrap: boolean | undefined,
): Promise<Reply> {
  // sys/mounts/auth/… reaches auth methods too; their boundaries must not be had more cheaply than by sys/auth.
  if (full.startsWith("auth/") && !context.hasSudo) throw permissionDenied();
  const mount = await readMount(context.transaction, full);
  if (!mount)
    throw new CofferError("invalid_request", `tune of path ${JSON.stringify(full)} failed: no mount entry found`);
  const { data } = context;
  const config = mergeMountConfig(
    data,
    mount.config,
    isAuthMount(mount),
    (text) => `time: invalid duration ${JSON.stringify(text)}`,
  );
  const { defaultLeaseTtlSeconds: initial, maxLeaseTtlSeconds: max } = config;
  if (max > 0 && initial > max) {
    throw new CofferError(
      "invalid_request",
      `backend max lease TTL of ${max} would be less than backend default lease TTL of ${initial}`,
    );
  }
  const options = { ...mount.options, ...mountOptions(data["options"]) };
  const description = typeof data["description"] === "string" ? data["description"] : mount.description;
  const after: MountRecord = { ...mount, config, options, description, sealWrap: sealWrap ?? mount.sealWrap };
  writeMount(context.transaction, after);
  const notes = await tuneSealWrap(context, services, mount, after);
  const done: Reply = notes.length === 0 ? noContent : { warnings: notes };
  if (JSON.stringify(mount.options) === JSON.stringify(after.options)) return done;
  const warnings = [...notes, ...(await changeOptions(context, services, mount, after))];
  if (warnings.length === 0) return done;
  return { warnings, afterwards: () => void takeLatecomers(context, services, mount, after) };
}

/** What is critical may be another part of the mount with other options, so the mark is written whenever it counts. */
async function tuneSealWrap(
  { transaction }: PrivilegedContext,
  services: SysServices,
  before: MountRecord,
  after: MountRecord,
): Promise<readonly string[]> {
  if (before.sealWrap || after.sealWrap) markWrappedMount(transaction, after, services.backends());
  if (before.sealWrap === after.sealWrap) return [];
  await services.sealWrap.startBelow(transaction, mountStoragePrefix(after));
  return after.sealWrap ? sealWrapNotes(transaction, services, after) : [];
}

/** Why a mount that asks for the seal's layer does not get it now; nothing when it does. */
async function sealWrapNotes(
  transaction: Transaction,
  services: SysServices,
  mount: MountRecord,
): Promise<readonly string[]> {
  const nothing = services.backends().of(mount).backend.sealWrapped?.length
    ? ""
    : `a ${mount.type} mount has nothing critical`;
  const reason = nothing || (await services.sealWrap.whyNot(transaction));
  return reason ? [`seal_wrap is set and has no effect now: ${reason}`] : [];
}

/** A backend whose options change may have to convert its data (KV version 1 to 2). */
async function changeOptions(
  { transaction, log }: Pick<PrivilegedContext, "transaction" | "log">,
  services: SysServices,
  before: MountRecord,
  after: MountRecord,
): Promise<readonly string[]> {
  services.backends().validate(isAuthMount(after) ? "auth" : "engines", after.type, after.options);
  const { backend } = services.backends().of(after);
  if (!backend.upgrade) return [];
  const storage = mountStorage(transaction, after, services.backends());
  return backend.upgrade({ storage, clock: services.clock, log }, before.options);
}

/** What others committed between this conversion's reads and its commit. From then on they see the new options. */
async function takeLatecomers(
  { log }: PrivilegedContext,
  services: SysServices,
  before: MountRecord,
  after: MountRecord,
): Promise<void> {
  try {
    const tx = services.barrier.begin();
    await changeOptions({ transaction: tx, log }, services, before, after);
    if ((await tx.commit()) === "conflict") throw new CofferError("conflict", "they were being changed");
  } catch (error) {
    log.warn("what was written during the change of a mount's options may still be in its old form", {
      mount: after.path,
      error: messageOf(error),
    });
  }
}

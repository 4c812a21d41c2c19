// sys/internal: what user interfaces and CLIs ask to find their way; the OpenAPI document.
import { CofferError } from "#common/errors.ts";
import type { JsonObject } from "#common/json.ts";
import { OpenApiDocument, type OpenApiMount } from "../core/openapi.ts";
import type { PrivilegedContext } from "../framework/context.ts";
import { field, withDefault } from "../framework/fields.ts";
import { invalidToken } from "../framework/multi-error.ts";
import { definePrivilegedPath, openedPath } from "../framework/path.ts";
import { dataReply, listReply, type Reply } from "../framework/reply.ts";
import { isAuthMount, type MountRecord, shownPath } from "../mounts/mount-record.ts";
import { findMount, listMounts } from "../mounts/mount-table.ts";
import { listChildren } from "../namespaces/namespace-store.ts";
import { aclIn, entityOf } from "../namespaces/rights.ts";
import type { Acl } from "../policy/acl.ts";
import { findToken } from "../tokens/reachable-token.ts";
import { mayComeFrom } from "../tokens/token-address.ts";
import { shownMount } from "./mount-config.ts";
import type { SysServices } from "./services.ts";

export function internalPaths(services: SysServices) {
  return [
    definePrivilegedPath("internal/ui/mounts", {
      summary: "The mounts that the caller may use.",
      access: "public",
      operations: { read: { summary: "Show them.", handler: (context) => visibleMounts(context, services) } },
    }),
    definePrivilegedPath("internal/ui/mounts/:path*", {
      summary: "The mount of a path: how CLIs learn KV's version.",
      access: "public",
      operations: { read: { summary: "Show it.", handler: (context, { path }) => mountOf(context, services, path) } },
    }),
    definePrivilegedPath("internal/ui/namespaces", {
      summary: "The namespaces right below that the caller may use.",
      access: "public",
      operations: { read: { summary: "Show them.", handler: (context) => visibleNamespaces(context, services) } },
    }),
    definePrivilegedPath("internal/ui/resultant-acl", {
      summary: "All that the caller's policies come to.",
      operations: {
        read: {
          summary: "Show it.",
          handler: async (context) => dataReply({ ...(await requireAcl(context, services)).resultant() }),
        },
      },
    }),
    definePrivilegedPath("internal/specs/openapi", {
      summary: "The API as an OpenAPI 3.0.2 document.",
      access: "public",
      fields: {
        generic_mount_paths: withDefault(field.flag("Mounts as parameters, such as {kv_mount_path}."), false),
        context: field.text("Kept for clients."),
      },
      operations: {
        read: {
          summary: "Show it.",
          handler: (context, values) => openApi(context, services, values.generic_mount_paths),
        },
        update: {
          summary: "Show it.",
          handler: (context, values) => openApi(context, services, values.generic_mount_paths),
        },
      },
    }),
    definePrivilegedPath("config/state/sanitized", {
      summary: "The configuration without its secrets.",
      operations: { read: { summary: "Show it.", handler: () => dataReply(services.sanitizedConfig) } },
    }),
  ];
}

async function aclOf(context: PrivilegedContext, services: SysServices): Promise<Acl | undefined> {
  const { transaction: tx, clientToken } = context;
  const token = clientToken === "" ? undefined : await findToken(context, services.tokens, clientToken);
  if (!token || !mayComeFrom(token, context.remoteAddress)) return undefined;
  const entity = await entityOf(tx, services, token);
  if (entity?.disabled) return undefined;
  return aclIn(context.scope, tx, services, token, entity);
}

async function requireAcl(context: PrivilegedContext, services: SysServices): Promise<Acl> {
  const acl = await aclOf(context, services);
  if (!acl) throw invalidToken();
  return acl;
}

async function visibleMounts(context: PrivilegedContext, services: SysServices): Promise<Reply> {
  const acl = await aclOf(context, services);
  const mounts = await listMounts(context.transaction);
  const visible = mounts.filter((mount) => mount.config.listingVisibility === "unauth" || acl?.grantsBelow(mount.path));
  const shown = (auth: boolean) =>
    Object.fromEntries(
      visible
        .filter((mount) => isAuthMount(mount) === auth)
        .map((mount) => [shownPath(mount), acl ? shownMount(mount, context.scope) : briefMount(mount)]),
    );
  return dataReply({ secret: shown(false), auth: shown(true) });
}

async function visibleNamespaces(context: PrivilegedContext, services: SysServices): Promise<Reply | undefined> {
  const acl = await requireAcl(context, services);
  const names = await listChildren(context.transaction, context.scope.path, context.page);
  return listReply(names.filter((name) => acl.grantsBelow(name)));
}

function briefMount(mount: MountRecord): JsonObject {
  return {
    type: mount.type,
    description: mount.description,
    options: Object.keys(mount.options).length > 0 ? mount.options : null,
  };
}

async function mountOf(context: PrivilegedContext, services: SysServices, path: string): Promise<Reply> {
  const acl = await requireAcl(context, services);
  const mount = await findMount(context.transaction, path);
  if (!mount || !acl.grantsBelow(mount.path)) {
    const asked = path.endsWith("/") ? path : `${path}/`;
    throw new CofferError(
      "permission_denied",
      `preflight capability check returned 403, please ensure client's policies grant access to path ${JSON.stringify(asked)}`,
    );
  }
  return dataReply({ ...shownMount(mount, context.scope), path: shownPath(mount) });
}

/** The mounts that the caller may use; without a token the system's own paths alone. */
async function openApi(context: PrivilegedContext, services: SysServices, isGeneric: boolean): Promise<Reply> {
  const acl = await aclOf(context, services);
  const mounts = (await listMounts(context.transaction)).filter(
    (mount) => acl?.grantsBelow(mount.path) ?? mount.path === "sys/",
  );
  const document = new OpenApiDocument();
  for (const mount of mounts) {
    const { backend } = services.backends().of(mount);
    const shown = isGeneric ? genericMount(mount) : literalMount(mount);
    for (const path of backend.paths) document.add(shown, openedPath(path, context.openForms));
  }
  return { bare: document.toJson({ version: services.version }) };
}

function literalMount(mount: MountRecord): OpenApiMount {
  return { prefix: mount.path, tag: tagOf(mount) };
}

/** Mounts that there can be several of stand as a parameter, so that one document describes every server. */
function genericMount(mount: MountRecord): OpenApiMount {
  if (ONE_OF_A_KIND.includes(mount.type)) return literalMount(mount);
  const name = `${mount.type}_mount_path`;
  const schema = { type: "string", default: mount.path.replace(/^auth\//, "").replace(/\/$/, "") };
  return {
    prefix: `${isAuthMount(mount) ? "auth/" : ""}{${name}}/`,
    parameters: [{ name, in: "path", required: true, description: "Path of the mount.", schema }],
    tag: tagOf(mount),
  };
}

const ONE_OF_A_KIND = ["system", "token", "identity", "cubbyhole"];

function tagOf(mount: MountRecord): string {
  if (isAuthMount(mount)) return "auth";
  return ONE_OF_A_KIND.includes(mount.type) ? mount.type : "secrets";
}

// Step "resolve": which mount and path a request is for, and what its handler will see.

import { CofferError } from "#common/errors.ts";
import type { Transaction } from "../../barrier/transaction.ts";
import type { Context, PrivilegedContext } from "../../framework/context.ts";
import { openedPath } from "../../framework/path.ts";
import { mountInfo } from "../../mounts/mount-info.ts";
import { type MountRecord, noMountConfig } from "../../mounts/mount-record.ts";
import { mountStorage } from "../../mounts/wrapped-mount.ts";
import { passwordByPolicy as readPassword } from "../../passwords/password-policy-store.ts";
import type { Request } from "../request.ts";
import type { CoreServices, RequestState, Route } from "../request-state.ts";
import { routeWithin } from "../route.ts";

export function resolve(state: RequestState, services: CoreServices): undefined {
  const { tx, request } = state;
  const { backends } = services;
  const mount = tx ? state.mount : mountWhileSealed(request.path);
  if (!mount) return;
  const found = routeWithin(mount, backends, request.path);
  const route = { ...found, definition: found.definition && openedPath(found.definition, request.openForms) };
  if (route.definition?.rootOnly && !isInRoot(request)) throw unavailableHere();
  state.route = route;
  state.context = buildContext(state, services, route, tx ?? sealedTransaction);
}

/** While sealed the mount table cannot be read; the system mount is where it always is. */
function mountWhileSealed(path: string): MountRecord | undefined {
  return path.startsWith(SYSTEM_MOUNT.path) ? SYSTEM_MOUNT : undefined;
}

function isInRoot({ namespace }: Request): boolean {
  return namespace === "" || namespace === "root";
}

function unavailableHere(): CofferError {
  return new CofferError("invalid_request", "operation unavailable in namespaces");
}

const SYSTEM_MOUNT: MountRecord = {
  path: "sys/",
  type: "system",
  accessor: "",
  uuid: "sealed",
  description: "",
  local: false,
  sealWrap: false,
  options: {},
  config: noMountConfig,
};

function sealed(): never {
  throw new CofferError("sealed", "Vault is sealed");
}

/** What paths that answer while sealed would find if they asked for storage. */
export const sealedTransaction: Transaction = {
  dirty: false,
  isCurrent: sealed,
  get: sealed,
  prefetch: sealed,
  put: sealed,
  delete: sealed,
  list: sealed,
  scan: sealed,
  read: sealed,
  write: sealed,
  changeKeys: sealed,
  commit: sealed,
};

function buildContext(state: RequestState, services: CoreServices, route: Route, tx: Transaction): PrivilegedContext {
  const { request } = state;
  return {
    operation: state.operation,
    path: route.path,
    mount: mountInfo(route.mount, services.ttl),
    storage: mountStorage(tx, route.mount, services.backends),
    clock: services.clock,
    log: services.log,
    caller: undefined,
    remoteAddress: request.remoteAddress,
    data: request.data,
    page: request.page,
    passwordByPolicy: (name) => readPassword(tx, name),
    emit: (event) => services.events.note(tx, event, route.mount, request.namespace),
    outside: services.journal.lend(tx, route.mount),
    transaction: tx,
    clientToken: request.clientToken,
    wrapTtlSeconds: request.wrapTtlSeconds,
    hasSudo: false,
    namespace: request.namespace,
    scope: state.scope,
    query: request.query,
    bodyStream: request.bodyStream,
    upgrade: request.upgrade,
    ...(request.openForms && { openForms: request.openForms }),
    ...(request.headers && { headers: request.headers }),
  };
}

/** The part of the context that an ordinary backend may see. */
export function ordinaryContext(context: PrivilegedContext): Context {
  const { operation, path, mount, storage, clock, log, caller, remoteAddress, data, page } = context;
  const { passwordByPolicy, emit, outside } = context;
  const who = { caller, remoteAddress };
  return { operation, path, mount, storage, clock, log, ...who, data, page, passwordByPolicy, emit, outside };
}

// Step "resolve": which mount and path a request is for, and what its handler will see.
import { storageView } from "../../barrier/storage-view.ts";
import type { Transaction } from "../../barrier/transaction.ts";
import type { Context, PrivilegedContext } from "../../framework/context.ts";
import { mountInfo } from "../../mounts/mount-info.ts";
import { mountStoragePrefix } from "../../mounts/mount-record.ts";
import type { CoreServices, RequestState, Route } from "../request-state.ts";
import { findRoute } from "../route.ts";

export async function resolve(state: RequestState, services: CoreServices): Promise<void> {
  const { tx, request } = state;
  if (!tx) return;
  const route = await findRoute(tx, services.backends, request);
  if (!route) return;
  state.route = route;
  state.context = buildContext(state, services, route, tx);
}

function buildContext(state: RequestState, services: CoreServices, route: Route, tx: Transaction): PrivilegedContext {
  const { request } = state;
  return {
    operation: state.operation,
    path: route.path,
    mount: mountInfo(route.mount, services.ttl),
    storage: storageView(tx, mountStoragePrefix(route.mount)),
    clock: services.clock,
    log: services.log,
    caller: undefined,
    remoteAddress: request.remoteAddress,
    data: request.data,
    page: request.page,
    transaction: tx,
    clientToken: request.clientToken,
    wrapTtlSeconds: request.wrapTtlSeconds,
    hasSudo: false,
    namespace: request.namespace,
    query: request.query,
  };
}

/** The part of the context that an ordinary backend may see. */
export function ordinaryContext(context: PrivilegedContext): Context {
  const { operation, path, mount, storage, clock, log, caller, remoteAddress, data, page } = context;
  return { operation, path, mount, storage, clock, log, caller, remoteAddress, data, page };
}

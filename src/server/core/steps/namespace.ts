// Step "namespace": in which namespace a request is. From here on its path is the one below the namespace, and its
// transaction is the namespace's part of the storage.

import { findNamespace } from "../../namespaces/find-namespace.ts";
import { namespaceView } from "../../namespaces/namespace-transaction.ts";
import type { CoreServices, RequestState } from "../request-state.ts";
import { foresee } from "./foresee.ts";

/** Throws `not_found` when the header names no namespace, `unavailable` when one on the way to it is locked. */
export async function namespace(state: RequestState, services: CoreServices): Promise<void> {
  const { tx, request } = state;
  // While sealed only the header can tell, and what is answered then is not in namespaces.
  if (!tx) return;
  await foresee(tx, request, services.tokens);
  const { scope, path, mount } = await findNamespace(tx, request.namespace, request.path);
  state.scope = scope;
  state.mount = mount;
  state.tx = namespaceView(tx, scope.id);
  const named = scope.path.slice(0, -1);
  if (path !== request.path || named !== request.namespace) state.request = { ...request, path, namespace: named };
}

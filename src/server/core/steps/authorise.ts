// Step "authorise": may this token do this. A write to something that does not exist is a create; only the path's own
// definition can tell.
import type { Operation } from "../../framework/context.ts";
import { permissionDenied } from "../../framework/multi-error.ts";
import type { CoreServices, RequestState } from "../request-state.ts";
import { ordinaryContext } from "./resolve.ts";

export async function authorise(state: RequestState, _services: CoreServices): Promise<void> {
  const { request, route, acl } = state;
  state.operation = await effectiveOperation(state);
  if (!acl) return;
  const decision = acl.check({
    operation: state.operation,
    path: request.path,
    data: request.data,
    wrapTtlSeconds: request.wrapTtlSeconds,
  });
  state.decision = decision;
  const needsSudo = route?.definition?.access === "sudo";
  if (!decision.allowed || (needsSudo && !decision.sudo)) throw permissionDenied();
  if (state.context) state.context = { ...state.context, operation: state.operation, hasSudo: decision.sudo };
}

async function effectiveOperation({ request, route, context }: RequestState): Promise<Operation> {
  const definition = route?.definition;
  if (request.operation !== "update" || !definition?.exists || !context) return request.operation;
  const seen = route?.hosted.privileged ? context : ordinaryContext(context);
  return (await definition.exists({ ...context, ...seen }, route?.parameters ?? {})) ? "update" : "create";
}

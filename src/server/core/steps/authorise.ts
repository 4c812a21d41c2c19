// Step "authorise": may this token do this. A write to something that does not exist is a create; only the path's own
// definition can tell.
import type { Operation } from "../../framework/context.ts";
import { permissionDenied } from "../../framework/multi-error.ts";
import type { Acl } from "../../policy/acl.ts";
import { unitedControl } from "../../policy/control-group.ts";
import type { Decision } from "../../policy/permissions.ts";
import type { CoreServices, RequestState } from "../request-state.ts";
import { ordinaryContext } from "./resolve.ts";

export async function authorise(state: RequestState, _services: CoreServices): Promise<void> {
  const { route, acl } = state;
  state.operation = await effectiveOperation(state);
  if (!acl) return;
  const decision = decide(acl, state);
  state.decision = decision;
  const needsSudo = route?.definition?.access === "sudo";
  if (!decision.allowed || (needsSudo && !decision.sudo)) throw permissionDenied();
  if (state.context) state.context = { ...state.context, operation: state.operation, hasSudo: decision.sudo };
}

function decide(acl: Acl, { request, operation, route }: RequestState): Decision {
  const { path, data, wrapTtlSeconds } = request;
  const orCapability = route?.definition?.orCapability;
  const decision = acl.check({ operation, path, data, wrapTtlSeconds, orCapability });
  if (!decision.allowed || !route?.definition?.caseless) return decision;
  const lower = acl.check({ operation, path: lowerBelow(route.mount.path, path), data, wrapTtlSeconds });
  if (lower.refusal === "denied" || lower.refusal === "boundary") return lower;
  return { ...decision, controlGroup: unitedControl([decision.controlGroup, lower.controlGroup]) };
}

function lowerBelow(mountPath: string, path: string): string {
  return mountPath + path.slice(mountPath.length).toLowerCase();
}

async function effectiveOperation({ request, route, context }: RequestState): Promise<Operation> {
  const definition = route?.definition;
  if (request.operation !== "update" || !definition?.exists || !context) return request.operation;
  const seen = route?.hosted.privileged ? context : ordinaryContext(context);
  return (await definition.exists({ ...context, ...seen }, route?.parameters ?? {})) ? "update" : "create";
}

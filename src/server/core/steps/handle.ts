// Step "handle": the path's own handler, and the warnings about what the client sent in vain.
import { CofferError } from "#common/errors.ts";
import { isJsonArray, isJsonObject } from "#common/json.ts";
import { VERSION } from "#common/version.ts";
import type { PrivilegedContext } from "../../framework/context.ts";
import type { Path } from "../../framework/path.ts";
import type { Reply } from "../../framework/reply.ts";
import { visibleKeys } from "../../policy/list-filter.ts";
import { describeMount, describePath } from "../help.ts";
import type { CoreServices, RequestState } from "../request-state.ts";
import { definitionFor } from "../route.ts";
import { ordinaryContext } from "./resolve.ts";

export async function handle(state: RequestState, _services: CoreServices): Promise<void> {
  const { request, route, context } = state;
  if (state.isHeld) return;
  if (request.operation === "help" && route?.path === "") {
    state.reply = { bare: describeMount(route.hosted.backend, route.mount.path, VERSION) };
    return;
  }
  const definition = definitionFor(route, request);
  if (!route || !context) throw new Error("a definition without its route");
  if (request.operation === "help") {
    state.reply = { bare: describePath(definition, route.mount.path, VERSION) };
    return;
  }
  assertWritable(request.operation, request.path);
  const seen = route.hosted.privileged ? context : withoutPrivilege(context);
  state.reply = filtered(state, await definition.handle(state.operation, seen, route.parameters));
  state.warnings.push(...(state.reply?.warnings ?? []));
  if (hasContent(state.reply)) state.warnings.push(...fieldWarnings(definition, state));
}

/** A list without the keys that the caller's policies want hidden. Throws where its form gives no way to hide them. */
function filtered({ operation, request, decision, acl }: RequestState, reply: Reply | undefined): Reply | undefined {
  const filters = decision?.listFilters ?? [];
  if (filters.length === 0 || !acl || !reply || (operation !== "list" && operation !== "scan")) return reply;
  const { keys, key_info: info, ...rest } = reply.data ?? {};
  const isPlain = isJsonArray(keys) && keys.every((key) => typeof key === "string") && Object.keys(rest).length === 0;
  if (!isPlain || reply.repeatAtTop || reply.bare !== undefined || reply.raw)
    throw new CofferError("permission_denied", "a policy filters this list, which has no form that can be filtered");
  const shown = visibleKeys(acl, filters, request.path, keys);
  if (shown.length === 0) return undefined;
  const infos = isJsonObject(info) && Object.entries(info).filter(([key]) => shown.includes(key));
  return { ...reply, data: { keys: shown, ...(infos && { key_info: Object.fromEntries(infos) }) } };
}

/** What an ordinary backend is called with at run time has no privileged member, whatever its type says. */
function withoutPrivilege(context: PrivilegedContext): PrivilegedContext {
  return ordinaryContext(context) as PrivilegedContext; // handlers of ordinary backends are typed by Context alone
}

function assertWritable(operation: string, path: string): void {
  if ((operation === "update" || operation === "patch") && path.endsWith("/")) {
    throw new CofferError("invalid_request", "cannot write to a path ending in '/'");
  }
}

/** An answer without content stays one: hvac sends names twice, in path and body, and hands a 204 out as it comes. */
function hasContent(reply: Reply | undefined): boolean {
  if (!reply) return false;
  const { data, lease, renewedLease, grant, auth, warnings = [] } = reply;
  return data !== undefined || warnings.length > 0 || [lease, renewedLease, grant, auth].some((each) => each);
}

function fieldWarnings(definition: Path<PrivilegedContext>, { request, route, operation }: RequestState): string[] {
  if (definition.freeForm || (operation !== "update" && operation !== "create" && operation !== "patch")) return [];
  const parameters = route?.parameters ?? {};
  const sent = Object.keys(request.data);
  const unknown = sent
    .filter((name) => !Object.hasOwn(definition.fields, name) && !Object.hasOwn(parameters, name))
    .sort();
  const replaced = sent.filter((name) => Object.hasOwn(parameters, name)).sort();
  const warnings: string[] = [];
  if (unknown.length > 0) warnings.push(`Endpoint ignored these unrecognized parameters: [${unknown.join(" ")}]`);
  if (replaced.length > 0) {
    warnings.push(
      `Endpoint replaced the value of these parameters with the values captured from the endpoint's path: [${replaced.join(" ")}]`,
    );
  }
  return warnings;
}

// From a request path to mount, backend and path definition. Knows nothing of tokens.
import { CofferError } from "#common/errors.ts";
import type { PrivilegedContext } from "../framework/context.ts";
import { multiError } from "../framework/multi-error.ts";
import type { Path } from "../framework/path.ts";
import type { Backends } from "../mounts/backends.ts";
import type { MountRecord } from "../mounts/mount-record.ts";
import type { Request } from "./request.ts";
import type { Route } from "./request-state.ts";

/** The route of a request in a mount. */
export function routeWithin(mount: MountRecord, backends: Backends, requestPath: string): Route {
  const hosted = backends.of(mount);
  const path = requestPath.slice(mount.path.length);
  for (const candidate of path.length > 1 && path.endsWith("/") ? [path, path.slice(0, -1)] : [path]) {
    for (const definition of hosted.backend.paths) {
      const parameters = definition.match(candidate);
      if (parameters) return { mount, hosted, path, definition, parameters };
    }
  }
  return { mount, hosted, path, definition: undefined, parameters: {} };
}

/** The definition that a request needs, or the error that clients expect. */
export function definitionFor(route: Route | undefined, request: Request): Path<PrivilegedContext> {
  if (!route)
    throw new CofferError("not_found", `no handler for route "${shownPath(request)}". route entry not found.`);
  const { definition } = route;
  if (!definition) throw multiError("unsupported_path", "unsupported path");
  const { operation } = request;
  if (operation === "help" || definition.operations.has(operation)) return definition;
  // The paths that answer while sealed are outside the logical API and answer as bare HTTP does.
  if (definition.when === "always") throw new CofferError("unsupported_operation", "");
  throw multiError("unsupported_operation", "unsupported operation");
}

/** A list is of a folder, which ends in "/". */
function shownPath({ operation, path }: Request): string {
  const isFolder = operation === "list" || operation === "scan";
  return isFolder && !path.endsWith("/") ? `${path}/` : path;
}

// sys/capabilities, -self and -accessor: what a token may do on paths. The three differ in how the token is named.
import { CofferError } from "#common/errors.ts";
import type { JsonObject } from "#common/json.ts";
import type { PrivilegedContext } from "../framework/context.ts";
import { field, withDefault } from "../framework/fields.ts";
import { multiError } from "../framework/multi-error.ts";
import { definePrivilegedPath } from "../framework/path.ts";
import type { Reply } from "../framework/reply.ts";
import { aclSeenFrom, entityOf } from "../namespaces/rights.ts";
import { findToken, findTokenByAccessor } from "../tokens/reachable-token.ts";
import type { TokenRecord } from "../tokens/token-record.ts";
import type { SysServices } from "./services.ts";

/** Any token may ask, and each path is looked for in all of its rules. */
const PATHS_MAX = 1_000;

const fields = {
  path: field.list("One path (old form).", { itemsMax: PATHS_MAX }),
  paths: field.list("The paths to ask about.", { itemsMax: PATHS_MAX }),
  token: withDefault(field.text("The token, for sys/capabilities."), ""),
  accessor: withDefault(field.text("The token's accessor, for sys/capabilities-accessor."), ""),
} as const;

type FindToken = (
  context: PrivilegedContext,
  named: { readonly token: string; readonly accessor: string },
) => Promise<TokenRecord | undefined>;

export function capabilityPaths(services: SysServices) {
  const path = (pattern: string, summary: string, find: FindToken) =>
    definePrivilegedPath(pattern, {
      summary,
      fields,
      operations: {
        update: {
          summary: "Show it.",
          handler: async (context, values) => {
            const paths = values.paths?.length ? values.paths : (values.path ?? []);
            if (paths.length === 0) throw new CofferError("invalid_request", "paths must be supplied");
            const found = await find(context, values);
            if (found) return capabilities(context, services, found, paths);
            throw notFound(pattern, values);
          },
        },
      },
    });
  return [
    path("capabilities-self", "What the caller's token may do on paths.", (context) =>
      findToken(context, services.tokens, context.clientToken),
    ),
    path("capabilities", "What a token may do on paths.", (context, { token }) =>
      findToken(context, services.tokens, token),
    ),
    path("capabilities-accessor", "What a token may do on paths, by its accessor.", (context, { accessor }) =>
      findTokenByAccessor(context, accessor),
    ),
  ];
}

function notFound(pattern: string, named: Parameters<FindToken>[1]): CofferError {
  if (!pattern.endsWith("-accessor"))
    return multiError("invalid_request", named.token === "" ? "missing token" : "invalid token");
  if (named.accessor === "") return new CofferError("invalid_request", "missing accessor");
  return multiError("invalid_request", "invalid accessor");
}

async function capabilities(
  context: PrivilegedContext,
  services: SysServices,
  token: TokenRecord,
  paths: readonly string[],
): Promise<Reply> {
  const { transaction: tx } = context;
  const acl = await aclSeenFrom(context.scope, tx, services, token, await entityOf(tx, services, token));
  const found: Record<string, readonly string[]> = Object.fromEntries(
    paths.map((path) => [path, acl.capabilities(path)]),
  );
  const [only] = paths;
  const data: JsonObject =
    paths.length === 1 && only !== undefined ? { ...found, capabilities: found[only] ?? [] } : found;
  return { data, repeatAtTop: true };
}

// sys/policies/explain: why a token may or may not do something, and what a refused request's decision id says.
import { CofferError } from "#common/errors.ts";
import type { JsonObject } from "#common/json.ts";
import type { Operation, PrivilegedContext } from "../framework/context.ts";
import { field, withDefault } from "../framework/fields.ts";
import { multiError } from "../framework/multi-error.ts";
import { definePrivilegedPath } from "../framework/path.ts";
import { dataReply, type Reply } from "../framework/reply.ts";
import { findMount } from "../mounts/mount-table.ts";
import { aclPartsSeenFrom, entityOf } from "../namespaces/rights.ts";
import { explain } from "../policy/explanation.ts";
import { findToken, findTokenByAccessor } from "../tokens/reachable-token.ts";
import type { TokenRecord } from "../tokens/token-record.ts";
import type { SysServices } from "./services.ts";

/** Capabilities and methods that a person may write, and the operation they are. */
const OPERATIONS: Readonly<Record<string, Operation>> = {
  read: "read",
  get: "read",
  list: "list",
  scan: "scan",
  create: "create",
  update: "update",
  write: "update",
  post: "update",
  put: "update",
  patch: "patch",
  delete: "delete",
};

const explainFields = {
  path: withDefault(field.text("The request's path, as secret/data/db."), ""),
  operation: withDefault(field.lowerText("read, list, create, update, patch, delete, or a method."), "read"),
  token: withDefault(field.text("The token; the caller's own by default."), ""),
  accessor: withDefault(field.text("The token's accessor, instead of the token."), ""),
  data: withDefault(field.object("The request's parameters, for rules about them."), {}),
  wrap_ttl: field.seconds("The wrapping TTL that would be asked for."),
  decision_id: withDefault(field.text("The X-Coffer-Decision of a refused request, instead of all others."), ""),
} as const;

type ExplainValues = {
  path: string;
  operation: string;
  token: string;
  accessor: string;
  data: JsonObject;
  wrap_ttl: number | undefined;
  decision_id: string;
};

export function explainPaths(services: SysServices) {
  return [
    definePrivilegedPath("policies/explain", {
      summary: "Which rule of which policy at which line decides about a request.",
      fields: explainFields,
      operations: { update: { summary: "Explain.", handler: (context, values) => answer(context, services, values) } },
    }),
  ];
}

async function answer(context: PrivilegedContext, services: SysServices, values: ExplainValues): Promise<Reply> {
  if (values.decision_id !== "") return explainRefused(context, services, values.decision_id);
  if (values.path === "") throw new CofferError("invalid_request", "path must be given, or decision_id");
  const operation = OPERATIONS[values.operation];
  if (!operation)
    throw new CofferError("invalid_request", `operation must be one of ${Object.keys(OPERATIONS).join(", ")}`);
  const request = {
    operation,
    path: values.path.replace(/^\//, ""),
    data: values.data,
    wrapTtlSeconds: values.wrap_ttl,
  };
  const token = await tokenOf(context, services, values);
  return dataReply(await explainFor(context, services, token, request));
}

async function tokenOf(context: PrivilegedContext, services: SysServices, values: ExplainValues): Promise<TokenRecord> {
  const found =
    values.accessor === ""
      ? await findToken(context, services.tokens, values.token || context.clientToken)
      : await findTokenByAccessor(context, values.accessor);
  if (!found) throw multiError("invalid_request", values.accessor === "" ? "invalid token" : "invalid accessor");
  return found;
}

async function explainFor(
  context: PrivilegedContext,
  services: SysServices,
  token: TokenRecord,
  request: { operation: Operation; path: string; data: JsonObject; wrapTtlSeconds: number | undefined },
): Promise<JsonObject> {
  const { transaction: tx } = context;
  const entity = await entityOf(tx, services, token);
  const parts = await aclPartsSeenFrom(context.scope, tx, services, token, entity);
  const explanation = explain(parts, request, await needsSudo(context, services, request.path));
  return {
    allowed: explanation.allowed,
    reason: explanation.reason,
    operation: request.operation,
    path: request.path,
    rule: explanation.rule,
    sources: explanation.sources.map(({ policy, line, path, capabilities }) => ({ policy, line, path, capabilities })),
    needed: explanation.needed.map(({ path, capability }) => ({ path, capability })),
    policies: [...token.policies, ...(entity?.policies ?? [])],
    boundaries: token.boundaries,
  };
}

/** Whether the path's own definition asks for sudo. */
async function needsSudo({ transaction }: PrivilegedContext, services: SysServices, path: string): Promise<boolean> {
  const mount = await findMount(transaction, path);
  if (!mount) return false;
  const below = path.slice(mount.path.length);
  const definition = services
    .backends()
    .of(mount)
    .backend.paths.find((candidate) => candidate.match(below) !== undefined);
  return definition?.access === "sudo";
}

async function explainRefused(context: PrivilegedContext, services: SysServices, id: string): Promise<Reply> {
  const { transaction: tx } = context;
  const refused = await services.decisions.open(tx, id);
  if (!refused)
    throw new CofferError(
      "invalid_request",
      "decision_id is not one of this store's; copy the whole X-Coffer-Decision header",
    );
  const token = await findTokenByAccessor(context, refused.accessor);
  const operation = OPERATIONS[refused.operation] ?? "read";
  const now =
    token &&
    (await explainFor(context, services, token, {
      operation,
      path: refused.path,
      data: {},
      wrapTtlSeconds: undefined,
    }));
  return dataReply({
    refused: {
      time: new Date(refused.timeMillis).toISOString(),
      accessor: refused.accessor,
      policies: refused.policies,
      operation: refused.operation,
      path: refused.path,
      refusal: refused.refusal,
      rule: refused.rule,
    },
    /** What would be decided now; null when the token is gone. */
    now: now ?? null,
  });
}

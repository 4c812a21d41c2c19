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
import type { Acl } from "../policy/acl.ts";
import { type Explanation, explain } from "../policy/explanation.ts";
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

/** Whether these are a create or an update depends on what is there. */
const ANY_WRITE = ["write", "post", "put"];

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
  if (!Object.hasOwn(OPERATIONS, values.operation))
    throw new CofferError("invalid_request", `operation must be one of ${Object.keys(OPERATIONS).join(", ")}`);
  const request = {
    operation: OPERATIONS[values.operation] ?? "read",
    isAnyWrite: ANY_WRITE.includes(values.operation),
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

interface Asked {
  readonly operation: Operation;
  readonly path: string;
  readonly data: JsonObject;
  readonly wrapTtlSeconds: number | undefined;
  /** It may turn out to be a create, too: both must be allowed. */
  readonly isAnyWrite?: boolean;
}

async function explainFor(
  context: PrivilegedContext,
  services: SysServices,
  token: TokenRecord,
  request: Asked,
): Promise<JsonObject> {
  const { transaction: tx } = context;
  const entity = await entityOf(tx, services, token);
  const parts = await aclPartsSeenFrom(context.scope, tx, services, token, entity);
  const definition = await definitionOf(context, services, request.path);
  const explanation = entity?.disabled ? DISABLED : explainAll(parts, request, definition);
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

const DISABLED: Explanation = {
  allowed: false,
  reason: "refused whatever the policies say: the token's entity is disabled or deleted",
  rule: "",
  sources: [],
  needed: [],
};

/** What the path's own definition says of access to it. */
interface Definition {
  readonly mountPath: string;
  readonly needsSudo: boolean;
  readonly isCaseless: boolean;
  readonly orCapability: "subscribe" | undefined;
  readonly tellsCreates: boolean;
}

async function definitionOf(
  { transaction }: PrivilegedContext,
  services: SysServices,
  path: string,
): Promise<Definition | undefined> {
  const mount = await findMount(transaction, path);
  if (!mount) return undefined;
  const below = path.slice(mount.path.length);
  const definition = services
    .backends()
    .of(mount)
    .backend.paths.find((candidate) => candidate.match(below) !== undefined);
  return (
    definition && {
      mountPath: mount.path,
      needsSudo: definition.access === "sudo",
      isCaseless: definition.caseless,
      orCapability: definition.orCapability,
      tellsCreates: definition.exists !== undefined,
    }
  );
}

/** The first of all that must be allowed which is not, as the step "authorise" asks for them; else the request itself. */
function explainAll(parts: readonly Acl[], asked: Asked, definition: Definition | undefined): Explanation {
  const { isAnyWrite = false, ...request } = asked;
  const {
    needsSudo = false,
    isCaseless = false,
    tellsCreates = false,
    mountPath = "",
    orCapability,
  } = definition ?? {};
  const own = explain(parts, { ...request, orCapability }, needsSudo);
  if (!own.allowed) return own;
  if (isAnyWrite && tellsCreates) {
    const create = explain(parts, { ...request, operation: "create" }, needsSudo);
    if (!create.allowed) return { ...create, reason: `${create.reason}; a write to what is not there yet is a create` };
  }
  if (!isCaseless) return own;
  const lower = mountPath + request.path.slice(mountPath.length).toLowerCase();
  const named = explain(parts, { ...request, path: lower }, false);
  const isBarred = !named.allowed && (named.refusal === "denied" || named.isBoundary === true);
  return isBarred ? { ...named, reason: `${named.reason}; the case of letters makes no difference here` } : own;
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

// Inline authentication: a request that brings its login along in headers and acts in the same breath. The login's path
// runs in the request's own transaction, audited as a request of its own; the token that comes of it lives as long as
// the request and is stored nowhere. Headers, as clients of OpenBao know them:
//
//   X-Vault-Inline-Auth-Path          the login's path
//   X-Vault-Inline-Auth-Operation     its operation; update by default
//   X-Vault-Inline-Auth-Namespace     its namespace; the request's by default
//   X-Vault-Inline-Auth-Parameter-*   base64url of {"key": …, "value": …}, a header for each field
import { randomUUID } from "node:crypto";
import { CofferError } from "#common/errors.ts";
import { isJsonObject, type JsonObject, type JsonValue, parseJson } from "#common/json.ts";
import type { Transaction } from "../../barrier/transaction.ts";
import type { Operation } from "../../framework/context.ts";
import type { Grant } from "../../framework/reply.ts";
import { headerCredentials } from "../../identity/mfa/credentials.ts";
import { isAuthMount, type MountRecord } from "../../mounts/mount-record.ts";
import type { TokenRecord } from "../../tokens/token-record.ts";
import type { Request } from "../request.ts";
import type { CoreServices, RequestState, Route } from "../request-state.ts";
import { auditRequest, auditResponse } from "./audit.ts";
import { authorise } from "./authorise.ts";
import { handle } from "./handle.ts";
import { entityOfGrant, grantTo, type Login, tokenOfGrant } from "./login.ts";
import { namespace } from "./namespace.ts";
import { quotas } from "./quotas.ts";
import { resolve } from "./resolve.ts";

const PREFIX = "x-vault-inline-auth-";
const PARAMETER_PREFIX = `${PREFIX}parameter-`;
const OPERATIONS: Readonly<Record<string, Operation>> = {
  "": "update",
  create: "update",
  update: "update",
  read: "read",
  patch: "patch",
  delete: "delete",
};

/** A login that failed, with what is known of it: it is answered and audited in place of the request. */
export class InlineLoginFailed extends Error {
  readonly login: RequestState;
  constructor(login: RequestState, cause: unknown) {
    super("the inline login failed", { cause });
    this.name = "InlineLoginFailed";
    this.login = login;
  }
}

/** The token of a request's own login; undefined when it brings none. Throws `InlineLoginFailed`. */
export async function inlineToken(state: RequestState, services: CoreServices): Promise<TokenRecord | undefined> {
  const { tx, request, inline } = state;
  const asked = loginOf(request);
  if (!asked || !tx || !inline) return undefined;
  const { scope } = state;
  const login: RequestState = {
    request: asked,
    tx,
    scope,
    operation: asked.operation,
    warnings: [],
    inline,
    ...inline,
  };
  try {
    const token = await logIn(login, services);
    state.isLoginWritten = tx.dirty;
    return token;
  } catch (error) {
    throw new InlineLoginFailed(login, error);
  }
}

/**
 * Does the login of a request again, for what it uses up and for nothing else, because the request came to nothing and
 * with it what its login wrote: a code or a secret id that is good once must not be good again for having been shown
 * with a request that is refused. The transaction is the caller's to commit. No token, no line of audit, no count.
 */
export async function repeatLogin(state: RequestState, services: CoreServices, tx: Transaction): Promise<void> {
  const asked = loginOf(state.request);
  if (!asked) return;
  const { scope } = state;
  const audited = { request: true };
  const login: RequestState = { request: asked, tx, scope, operation: asked.operation, warnings: [], audited };
  const { route } = await enter(login, services);
  await authorise(login, services);
  await handle(login, services);
  await vouch(login, services, route.mount, true);
}

async function logIn(login: RequestState, services: CoreServices): Promise<TokenRecord> {
  const { route, tx } = await enter(login, services);
  await quotas(login, services);
  await authorise(login, services);
  await auditRequest(login, services);
  await handle(login, services);
  const { where, grant, entityId } = await vouch(login, services, route.mount, false);
  if (!login.inline?.audited.response) await auditResponse(login, services, tx);
  if (login.inline) login.inline.audited.response = true;
  const { wanted } = tokenOfGrant(services, where, grant, entityId);
  return unstored({ ...wanted, namespace: login.scope.id }, services.tokens.nowSeconds());
}

async function enter(
  login: RequestState,
  services: CoreServices,
): Promise<{ readonly route: Route; readonly tx: Transaction }> {
  await namespace(login, services);
  await resolve(login, services);
  const { route, tx } = login;
  if (!tx || !route || !isAuthMount(route.mount) || route.definition?.access !== "public")
    throw new CofferError("invalid_request", "the header X-Vault-Inline-Auth-Path names no path of a login");
  return { route, tx };
}

/** Who it is that the handler has let in, with the second factor where there must be one. */
async function vouch(
  { tx, reply, request }: RequestState,
  services: CoreServices,
  mount: MountRecord,
  isRepeated: boolean,
): Promise<{ readonly where: Login; readonly grant: Grant; readonly entityId: string }> {
  if (!tx || !reply?.grant)
    throw new CofferError("invalid_request", "the path of X-Vault-Inline-Auth-Path has not logged in anyone");
  const grant = grantTo(reply.grant, request.remoteAddress);
  const where = { mount, path: request.path };
  const entityId = await entityOfGrant(services, tx, where, grant);
  await showFactors(request, services, tx, { mount, entityId, isRepeated });
  return { where, grant, entityId };
}

interface Shown {
  readonly mount: MountRecord;
  readonly entityId: string;
  readonly isRepeated: boolean;
}

/** A login in one request cannot come back with a code, so it must bring it. */
async function showFactors(
  { headers }: Request,
  { loginMfa }: CoreServices,
  tx: Transaction,
  { mount, entityId, isRepeated }: Shown,
): Promise<void> {
  const subject = { mountAccessor: mount.accessor, mountType: mount.type, entityId };
  const demands = await loginMfa.demandsOn(tx, subject);
  if (demands.length === 0) return;
  await loginMfa.check(tx, entityId, demands, headerCredentials(headers) ?? new Map(), isRepeated);
}

/** It has no hash, no accessor and no cubbyhole, as batch tokens have none, and a single use. */
function unstored(
  wanted: Omit<TokenRecord, "hash" | "accessor" | "cubbyholeId" | "issuedAtSeconds" | "expiresAtSeconds">,
  nowSeconds: number,
): TokenRecord {
  return {
    ...wanted,
    ...{ type: "batch", hash: "", accessor: "", cubbyholeId: "", numUses: 0, renewable: false },
    issuedAtSeconds: nowSeconds,
    expiresAtSeconds: nowSeconds + wanted.ttlSeconds,
  };
}

/** The login that a request brings. Throws `invalid_request` for headers that make none. */
function loginOf(request: Request): Request | undefined {
  const { headers = {} } = request;
  const path = textOf(headers[`${PREFIX}path`]);
  if (path === "") return undefined;
  if (request.clientToken !== "")
    throw new CofferError("invalid_request", "cannot layer inline authentication with token authentication; send one");
  const operation = OPERATIONS[textOf(headers[`${PREFIX}operation`]).toLowerCase()];
  if (!operation)
    throw new CofferError(
      "invalid_request",
      "the header X-Vault-Inline-Auth-Operation wants create, read, update, patch or delete",
    );
  const data = parametersOf(headers);
  return {
    ...request,
    id: randomUUID(),
    operation,
    path: loginPath(path),
    namespace: textOf(headers[`${PREFIX}namespace`]).replace(/^\/+|\/+$/g, "") || request.namespace,
    headers: Object.fromEntries(Object.entries(headers).filter(([name]) => !name.startsWith(PREFIX))),
    data,
    query: operation === "read" || operation === "delete" ? data : {},
    wrapTtlSeconds: undefined,
  };
}

/** "userpass/login/ann" is below "auth/" as "auth/userpass/login/ann" is, within a namespace too. */
function loginPath(sent: string): string {
  const path = sent.replace(/^\/+/, "");
  return /(^|\/)auth\//.test(path) ? path : `auth/${path}`;
}

function parametersOf(headers: NonNullable<Request["headers"]>): JsonObject {
  const parameters = new Map<string, JsonValue>();
  for (const [name, sent] of Object.entries(headers)) {
    if (!name.startsWith(PARAMETER_PREFIX)) continue;
    const parameter = parameterOf(textOf(sent));
    const key = isJsonObject(parameter) ? parameter["key"] : undefined;
    const isPair = isJsonObject(parameter) && Object.keys(parameter).length === 2 && parameter["value"] !== undefined;
    if (!isPair || typeof key !== "string" || parameters.has(key))
      throw new CofferError(
        "invalid_request",
        `the header ${name} wants base64url of {"key": …, "value": …}, each key once`,
      );
    parameters.set(key, parameter["value"] ?? null);
  }
  return Object.fromEntries(parameters);
}

/** Undefined for what cannot be read; a header that comes twice has a comma in it, and so is none. */
function parameterOf(sent: string): JsonValue | undefined {
  if (!/^[A-Za-z0-9_-]+={0,2}$/.test(sent)) return undefined;
  try {
    return parseJson(Buffer.from(sent, "base64url").toString("utf8"));
  } catch {
    return undefined;
  }
}

function textOf(value: string | readonly string[] | undefined): string {
  return typeof value === "string" ? value : (value?.[0] ?? "");
}

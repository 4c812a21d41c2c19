// The lines of the audit log. Everything a client sent or got that could be secret appears as an HMAC: all strings in
// data, tokens and accessors. Numbers, booleans, names of fields and paths stand in clear (invariant I3).
//
// An entry is one JSON object: { time, type: "request" | "response" | "system", auth, request, response?, error? }. A
// "system" entry tells what the server did by itself; there is no response to it. The line it becomes: open-device.ts.
import { createHmac, type KeyObject } from "node:crypto";
import { isJsonArray, isJsonObject, isNumberLiteral, type JsonObject, type JsonValue } from "#common/json.ts";
import type { NamespaceName, Operation } from "../framework/context.ts";
import { shownId } from "../namespaces/namespace-scope.ts";
import type { AuditedHeaders } from "./audit-record.ts";

/** What the server does by itself. */
export type SystemOperation = "revoke" | "rotate";

export interface AuditedAuth {
  /** The same object for as long as the token's record is the same: what is computed of its texts is kept by it. */
  readonly record: object;
  readonly accessor: string;
  readonly clientToken: string;
  readonly displayName: string;
  readonly policies: readonly string[];
  readonly metadata: Readonly<Record<string, string>> | undefined;
  readonly entityId: string;
  readonly tokenType: string;
  /** 0: it does not end. */
  readonly tokenTtlSeconds: number;
  readonly tokenIssuedAtSeconds: number;
  readonly grantingPolicies: readonly string[];
  readonly allowed: boolean;
}

export interface AuditedRequest {
  readonly id: string;
  readonly operation: Operation | SystemOperation;
  readonly path: string;
  readonly data: JsonObject;
  readonly clientToken: string;
  readonly remoteAddress: string;
  readonly remotePort: number;
  readonly namespace: NamespaceName;
  readonly wrapTtlSeconds: number | undefined;
  /** All that came; lines show those that are configured. */
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
  readonly mountPath: string;
  readonly mountType: string;
  readonly mountAccessor: string;
  /** Top-level fields that the mount declares as no secret. */
  readonly nonHmacKeys: readonly string[];
}

export interface AuditedResponse {
  readonly data: JsonValue;
  readonly auth: JsonValue;
  readonly wrapInfo: JsonValue;
  /** Of the secret that the answer holds; "" for none. */
  readonly leaseId: string;
  readonly nonHmacKeys: readonly string[];
}

export interface AuditFormat {
  readonly key: KeyObject;
  /** The device writes what it is given, for devices whose readers are trusted. */
  readonly raw: boolean;
  readonly hmacAccessor: boolean;
  readonly elideListResponses: boolean;
  /** HMACs of a token's own texts: they stand in every line of that token and are four of nine (measured). */
  readonly ofTokens: WeakMap<object, TokenHmacs>;
}

interface TokenHmacs {
  readonly accessor: string;
  readonly clientToken: string;
  readonly issueTime: string;
}

/** How a value appears in this device's lines; what `sys/audit-hash` answers. */
export function auditHmac(key: KeyObject, text: string): string {
  return `hmac-sha256:${createHmac("sha256", key).update(text).digest("hex")}`;
}

export interface AuditEntry {
  readonly timeMillis: number;
  readonly type: "request" | "response" | "system";
  readonly auth: AuditedAuth | undefined;
  readonly request: AuditedRequest;
  readonly response?: AuditedResponse;
  readonly error?: string;
}

/** The entry as a device with this format shows it. */
export function formatEntry(format: AuditFormat, entry: AuditEntry, headers: AuditedHeaders = {}): JsonObject {
  const { request, auth, error } = entry;
  return {
    time: new Date(entry.timeMillis).toISOString(),
    type: entry.type,
    ...(error !== undefined && { error: hideWithin(format, error, request) }),
    auth: auth ? authOf(format, auth) : {},
    request: requestOf(format, request, auth, headers),
    ...(entry.response && { response: responseOf(format, request, entry.response) }),
  };
}

/** Shorter pieces than this are too common to be looked for: "a" is in every message. */
const SEARCHED_CHARACTERS_MIN = 4;
/** Beyond, a message is hidden whole: looking for its words in a large body would cost more than the request. */
const SEARCHED_CHARACTERS_MAX = 256 * 1024;
const WORD = /[^\s\\'"`()[\]{},;:<>]{4,}/g;

/**
 * Messages repeat what was wrong, whole or in part ("key 'abc' expected ="); what the client sent stays hidden there too.
 * A word of the message itself that the client happened to send as well is hidden with it, which does no harm.
 */
function hideWithin(format: AuditFormat, message: string, { data, clientToken }: AuditedRequest): string {
  if (format.raw) return message;
  const texts = [clientToken, ...textsOf(data)].filter((text) => text.length >= SEARCHED_CHARACTERS_MIN);
  if (texts.reduce((sum, text) => sum + text.length, 0) > SEARCHED_CHARACTERS_MAX) return hide(format, message);
  // The longest first: one text can be a part of another.
  const whole = texts.filter((text) => message.includes(text)).sort((a, b) => b.length - a.length);
  const shown = whole.reduce((rest, text) => rest.replaceAll(text, () => auditHmac(format.key, text)), message);
  return shown.replaceAll(WORD, (word) =>
    texts.some((text) => text.includes(word)) ? auditHmac(format.key, word) : word,
  );
}

function textsOf(value: JsonValue): readonly string[] {
  if (typeof value === "string") return [value];
  if (value === null || typeof value !== "object" || isNumberLiteral(value)) return [];
  return (isJsonArray(value) ? value : Object.values(value)).flatMap(textsOf);
}

function hide(format: AuditFormat, text: string): string {
  return format.raw || text === "" ? text : auditHmac(format.key, text);
}

function tokenHmacs(format: AuditFormat, auth: AuditedAuth): TokenHmacs {
  const known = format.ofTokens.get(auth.record);
  if (known) return known;
  const made = {
    accessor: format.hmacAccessor ? hide(format, auth.accessor) : auth.accessor,
    clientToken: hide(format, auth.clientToken),
    issueTime: auth.tokenIssuedAtSeconds === 0 ? "" : new Date(auth.tokenIssuedAtSeconds * 1000).toISOString(),
  };
  format.ofTokens.set(auth.record, made);
  return made;
}

function authOf(format: AuditFormat, auth: AuditedAuth): JsonObject {
  const { accessor, clientToken, issueTime } = tokenHmacs(format, auth);
  return {
    accessor,
    client_token: clientToken,
    display_name: auth.displayName,
    entity_id: auth.entityId,
    metadata: auth.metadata ?? null,
    policies: auth.policies,
    policy_results: {
      allowed: auth.allowed,
      granting_policies: auth.grantingPolicies.map((name) => ({ name, type: "acl" })),
    },
    token_policies: auth.policies,
    token_type: auth.tokenType,
    token_ttl: auth.tokenTtlSeconds,
    token_issue_time: issueTime,
  };
}

function requestOf(
  format: AuditFormat,
  request: AuditedRequest,
  auth: AuditedAuth | undefined,
  headers: AuditedHeaders,
): JsonObject {
  const shown = headersOf(format, request, headers);
  const token = auth && tokenHmacs(format, auth);
  return {
    id: request.id,
    client_id: auth?.entityId ?? "",
    operation: request.operation,
    path: request.path,
    data: hideData(format, request.data, request.nonHmacKeys),
    client_token: token?.clientToken ?? hide(format, request.clientToken),
    client_token_accessor: token?.accessor ?? "",
    ...mountOf(request),
    namespace: { id: shownId(request.namespace.id), path: request.namespace.path },
    remote_address: request.remoteAddress,
    remote_port: request.remotePort,
    ...(shown && { headers: shown }),
    ...(request.wrapTtlSeconds !== undefined && { wrap_ttl: request.wrapTtlSeconds }),
  };
}

function headersOf(format: AuditFormat, request: AuditedRequest, headers: AuditedHeaders): JsonObject | undefined {
  const shown: Record<string, readonly string[]> = {};
  for (const [name, { hmac }] of Object.entries(headers)) {
    const sent = request.headers[name];
    if (sent === undefined) continue;
    const values = typeof sent === "string" ? [sent] : sent;
    shown[name] = hmac ? values.map((value) => hide(format, value)) : values;
  }
  return Object.keys(shown).length > 0 ? shown : undefined;
}

function responseOf(format: AuditFormat, request: AuditedRequest, response: AuditedResponse): JsonObject {
  const elide = format.elideListResponses && request.operation === "list";
  return {
    auth: hideData(format, response.auth, [
      "policies",
      "token_policies",
      "token_type",
      ...(format.hmacAccessor ? [] : ["accessor"]),
    ]),
    data: elide ? elided(response.data) : hideData(format, response.data, response.nonHmacKeys),
    ...(response.leaseId !== "" && { secret: { lease_id: response.leaseId } }),
    wrap_info: hideData(format, response.wrapInfo, [
      "creation_path",
      "creation_time",
      ...(format.hmacAccessor ? [] : ["accessor"]),
    ]),
    ...mountOf(request),
  };
}

function mountOf({ mountAccessor, mountPath, mountType }: AuditedRequest): JsonObject {
  const place = { mount_accessor: mountAccessor, mount_point: mountPath, mount_type: mountType };
  return mountPath === "" ? place : { ...place, mount_class: mountPath.startsWith("auth/") ? "auth" : "secret" };
}

/** How many names a list answered, in place of the names. */
function elided(data: JsonValue): JsonValue {
  if (!isJsonObject(data)) return null;
  const count = (value: JsonValue) =>
    isJsonArray(value) ? value.length : isJsonObject(value) ? Object.keys(value).length : 0;
  return Object.fromEntries(Object.entries(data).map(([key, value]) => [key, count(value)]));
}

function hideData(format: AuditFormat, data: JsonValue, clearKeys: readonly string[]): JsonValue {
  if (format.raw || !isJsonObject(data)) return hideValue(format, data);
  return Object.fromEntries(
    Object.entries(data).map(([key, value]) => [key, clearKeys.includes(key) ? value : hideValue(format, value)]),
  );
}

function hideValue(format: AuditFormat, value: JsonValue): JsonValue {
  if (format.raw) return value;
  if (typeof value === "string") return auditHmac(format.key, value);
  if (value === null || typeof value !== "object" || isNumberLiteral(value)) return value;
  if (isJsonArray(value)) return value.map((item) => hideValue(format, item));
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, hideValue(format, member)]));
}

// The answer of a logical call as clients of Vault know it: lease, data, wrap_info, warnings and auth. Wire names live
// here and nowhere else in the client.
import { isJsonObject, type JsonObject, type JsonValue } from "#common/json.ts";
import {
  boolean,
  type Infer,
  jsonObject,
  list,
  map,
  number,
  object,
  optional,
  string,
  withDefault,
} from "#common/schema.ts";

const auth = object({
  client_token: string,
  accessor: withDefault(string, ""),
  policies: withDefault(list(string), []),
  token_policies: withDefault(list(string), []),
  identity_policies: withDefault(list(string), []),
  metadata: withDefault(map(string), {}),
  lease_duration: withDefault(number, 0),
  renewable: withDefault(boolean, false),
  entity_id: withDefault(string, ""),
  token_type: withDefault(string, "service"),
  orphan: withDefault(boolean, false),
});

const wrapInfo = object({
  token: string,
  accessor: withDefault(string, ""),
  ttl: number,
  creation_time: withDefault(string, ""),
  creation_path: withDefault(string, ""),
  wrapped_accessor: optional(string),
});

const envelope = object({
  request_id: withDefault(string, ""),
  lease_id: withDefault(string, ""),
  renewable: withDefault(boolean, false),
  lease_duration: withDefault(number, 0),
  data: optional(jsonObject),
  wrap_info: optional(wrapInfo),
  warnings: withDefault(list(string), []),
  auth: optional(auth),
});

/** The auth block of a login, a token's creation or renewal. */
export type Auth = Infer<typeof auth>;
export type WrapInfo = Infer<typeof wrapInfo>;
/** A logical answer. `lease_duration` is in seconds. */
export type Envelope = Infer<typeof envelope> & {
  /** The whole answer as it was sent; undefined when it had no body. */
  readonly body: JsonValue | undefined;
};

/**
 * Reads an answer's JSON. A bare answer, which has no envelope (sys/health, sys/seal-status), becomes its own `data`.
 * Throws `invalid_request` when a member has the wrong type.
 */
export function parseEnvelope(body: JsonValue | undefined): Envelope {
  if (body === undefined) return { ...envelope.parse({}), body };
  if (isJsonObject(body) && !("request_id" in body) && !("data" in body) && !("auth" in body)) {
    return { ...envelope.parse({}), data: body, body };
  }
  return { ...envelope.parse(body), body };
}

/** The `errors` lines of a refusal; none when there are none. */
export function errorLines(body: JsonValue | undefined): readonly string[] {
  if (!isJsonObject(body) || !Array.isArray(body["errors"])) return [];
  return body["errors"].filter((line) => typeof line === "string");
}

/** A member of an answer's data that must be there and be an object. */
export function requireData(answer: Envelope, path: string): JsonObject {
  return jsonObject.parse(answer.data, `the data of ${path}`);
}

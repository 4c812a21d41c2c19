// The codec of admission webhooks: AdmissionReview v1 in, AdmissionReview v1 out. Pure, decides nothing.
// Format: Kubernetes, "Dynamic Admission Control"; admission.k8s.io/v1.
import { CofferError } from "#common/errors.ts";
import { isJsonObject, type JsonArray, type JsonObject, type JsonValue, parseJson } from "#common/json.ts";
import { boolean, jsonObject, list, object, oneOf, optional, string, withDefault } from "#common/schema.ts";

export interface AdmissionRequest {
  readonly uid: string;
  readonly kind: { readonly group: string; readonly version: string; readonly kind: string };
  readonly resource: { readonly group: string; readonly version: string; readonly resource: string };
  readonly subResource?: string | undefined;
  /** Empty for an object whose name the API server will generate. */
  readonly name: string;
  /** Empty for cluster-wide kinds. */
  readonly namespace: string;
  readonly operation: "CREATE" | "UPDATE" | "DELETE" | "CONNECT";
  readonly userInfo: { readonly username: string; readonly groups: readonly string[] };
  /** Absent for DELETE. */
  readonly object?: JsonObject | undefined;
  /** Present for UPDATE and DELETE. */
  readonly oldObject?: JsonObject | undefined;
  readonly dryRun: boolean;
}

/** RFC 6902. */
export type JsonPatchOperation =
  | { readonly op: "add" | "replace" | "test"; readonly path: string; readonly value: JsonValue }
  | { readonly op: "remove"; readonly path: string }
  | { readonly op: "move" | "copy"; readonly from: string; readonly path: string };

export interface AdmissionResponse {
  readonly uid: string;
  readonly allowed: boolean;
  /** What the user reads when denied. */
  readonly message?: string | undefined;
  /** HTTP status of a denial; 403 when absent. */
  readonly status?: number | undefined;
  /** Shown by kubectl although allowed; long ones are cut. */
  readonly warnings?: readonly string[] | undefined;
  /** Ignored when not allowed. */
  readonly patch?: readonly JsonPatchOperation[] | undefined;
}

/** The API server takes requests up to 3 MiB; a review of an update holds the object twice, and the user's extras. */
export const ADMISSION_BODY_BYTES_MAX = 8 * 1024 * 1024;
/** The API server cuts warnings beyond 256 characters when there are many, 4096 in all. */
export const WARNING_CHARACTERS_MAX = 256;
export const WARNINGS_MAX = 16;
/** A reason for people, not a dump. */
const MESSAGE_CHARACTERS_MAX = 2048;
const API_VERSION = "admission.k8s.io/v1";

const request = object({
  uid: string,
  kind: object({ group: withDefault(string, ""), version: string, kind: string }),
  resource: object({ group: withDefault(string, ""), version: string, resource: string }),
  subResource: optional(string),
  name: withDefault(string, ""),
  namespace: withDefault(string, ""),
  operation: oneOf("CREATE", "UPDATE", "DELETE", "CONNECT"),
  userInfo: withDefault(object({ username: withDefault(string, ""), groups: withDefault(list(string), []) }), {
    username: "",
    groups: [],
  }),
  object: optional(jsonObject),
  oldObject: optional(jsonObject),
  dryRun: withDefault(boolean, false),
});

/** Reads a review. Throws `too_large` or `invalid_request`, naming the member. */
export function parseAdmissionReview(body: Uint8Array | string): AdmissionRequest {
  if (body.length > ADMISSION_BODY_BYTES_MAX)
    throw new CofferError("too_large", `the admission review is larger than ${ADMISSION_BODY_BYTES_MAX} bytes`);
  const review = parseJson(typeof body === "string" ? body : Buffer.from(body).toString("utf8"));
  if (!isJsonObject(review) || review["apiVersion"] !== API_VERSION || review["kind"] !== "AdmissionReview")
    throw new CofferError("invalid_request", `the body must be an AdmissionReview of ${API_VERSION}`);
  return request.parse(review["request"], "request");
}

/** Writes the review that answers a request. */
export function encodeAdmissionReview(response: AdmissionResponse): string {
  const { uid, allowed, warnings = [], patch = [] } = response;
  const cut = warnings.slice(0, WARNINGS_MAX).map((warning) => warning.slice(0, WARNING_CHARACTERS_MAX));
  const answer: JsonObject = {
    uid,
    allowed,
    ...(allowed ? {} : { status: denial(response) }),
    ...(cut.length === 0 ? {} : { warnings: cut }),
    ...(allowed && patch.length > 0 ? { patchType: "JSONPatch", patch: encodePatch(patch) } : {}),
  };
  return JSON.stringify({ apiVersion: API_VERSION, kind: "AdmissionReview", response: answer });
}

function denial({ status = 403, message = "denied" }: AdmissionResponse): JsonObject {
  return {
    status: "Failure",
    code: status,
    reason: status === 403 ? "Forbidden" : "Invalid",
    message: message.slice(0, MESSAGE_CHARACTERS_MAX),
  };
}

function encodePatch(patch: readonly JsonPatchOperation[]): string {
  const operations: JsonArray = patch.map((operation) => ({ ...operation }));
  return Buffer.from(JSON.stringify(operations)).toString("base64");
}

/** A JSON pointer (RFC 6901) from its steps. */
export function jsonPointer(...steps: readonly (string | number)[]): string {
  return steps.map((step) => `/${String(step).replaceAll("~", "~0").replaceAll("/", "~1")}`).join("");
}

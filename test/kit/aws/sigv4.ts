// Verifies Signature Version 4 from the request as it arrived (AWS IAM User Guide, "Create a signed AWS API request").
// Strict where AWS is: the scope must name today, this region and the service, the host, the date and all x-amz-*
// headers must be signed, the date must be within five minutes, and the body must be what was signed.
import { createHash, createHmac } from "node:crypto";
import { constantTimeEqual } from "#common/secret-bytes.ts";
import { AuthError } from "./aws-error.ts";

/** "the request must reach AWS within five minutes of the time stamp" */
export const SKEW_MILLIS_MAX = 5 * 60 * 1000;
const ALGORITHM = "AWS4-HMAC-SHA256";

export interface SignedRequest {
  readonly method: string;
  /** Path and query. */
  readonly target: string;
  /** Lower-case names; several values of one name in order. */
  readonly headers: Readonly<Record<string, readonly string[] | undefined>>;
  readonly body: Uint8Array;
}

/** A pair of keys, with the session token that has to come with temporary ones. */
export interface Credentials {
  readonly secretAccessKey: string;
  readonly sessionToken?: string | undefined;
  /** Milliseconds since the epoch. */
  readonly expires?: number | undefined;
}

export interface Verification<C extends Credentials> {
  readonly region: string;
  readonly service: string;
  readonly now: number;
  find(accessKeyId: string): C | undefined;
}

/** Whose signature it is. Throws AuthError. */
export function verifySignature<C extends Credentials>(request: SignedRequest, check: Verification<C>): C {
  const authorization = parseAuthorization(header(request, "authorization"));
  const credentials = check.find(authorization.accessKeyId);
  if (credentials === undefined)
    throw new AuthError("unknownKey", "The security token included in the request is invalid.");
  assertScope(authorization, check);
  const stamp = assertDate(request, authorization, check.now);
  assertSessionToken(request, credentials, check.now);
  assertSignedHeaders(request, authorization.signedHeaders);
  const toSign = [ALGORITHM, stamp, authorization.scope, sha256(canonicalRequest(request, authorization))].join("\n");
  const expected = createHmac("sha256", signingKey(credentials.secretAccessKey, authorization.scope)).update(toSign);
  if (!constantTimeEqual(expected.digest(), Buffer.from(authorization.signature, "hex")))
    throw new AuthError(
      "badSignature",
      "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details.",
    );
  return credentials;
}

interface Authorization {
  readonly accessKeyId: string;
  readonly scope: string;
  readonly signedHeaders: readonly string[];
  readonly signature: string;
}

const AUTHORIZATION =
  /^AWS4-HMAC-SHA256 +Credential=([A-Za-z0-9]{16,128})\/(\d{8}\/[a-z0-9-]+\/[a-z0-9-]+\/aws4_request), *SignedHeaders=([a-z0-9;-]+), *Signature=([0-9a-f]{64})$/;

function parseAuthorization(value: string | undefined): Authorization {
  if (value === undefined) throw new AuthError("missing", "Request is missing Authentication Token");
  const [, accessKeyId, scope, signedHeaders, signature] = AUTHORIZATION.exec(value) ?? [];
  if (accessKeyId === undefined || scope === undefined || signedHeaders === undefined || signature === undefined)
    throw new AuthError("incomplete", "Authorization header requires Credential, SignedHeaders and Signature.");
  return { accessKeyId, scope, signedHeaders: signedHeaders.split(";"), signature };
}

function assertScope({ scope }: Authorization, { region, service }: { region: string; service: string }): void {
  const [, scopeRegion, scopeService] = scope.split("/");
  if (scopeRegion !== region)
    throw new AuthError(
      "badSignature",
      `Credential should be scoped to a valid region, not '${scopeRegion}'. Expected '${region}'.`,
    );
  if (scopeService !== service)
    throw new AuthError("badSignature", `Credential should be scoped to correct service: '${service}'.`);
}

/** The time stamp as signed. */
function assertDate(request: SignedRequest, { scope }: Authorization, now: number): string {
  const stamp = header(request, "x-amz-date") ?? "";
  const [, year, month, day, hour, minute, second] = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(stamp) ?? [];
  const at = Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`);
  if (Number.isNaN(at)) throw new AuthError("incomplete", "Date must be in ISO-8601 'basic format'.");
  if (at < now - SKEW_MILLIS_MAX)
    throw new AuthError("badSignature", `Signature expired: ${stamp} is now earlier than the current time - 5 min.`);
  if (at > now + SKEW_MILLIS_MAX)
    throw new AuthError("badSignature", `Signature not yet current: ${stamp} is later than the current time + 5 min.`);
  if (!scope.startsWith(stamp.slice(0, 8)))
    throw new AuthError(
      "badSignature",
      "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date.",
    );
  return stamp;
}

function assertSessionToken(request: SignedRequest, credentials: Credentials, now: number): void {
  if (header(request, "x-amz-security-token") !== credentials.sessionToken)
    throw new AuthError("unknownKey", "The security token included in the request is invalid.");
  if (credentials.expires !== undefined && credentials.expires <= now)
    throw new AuthError("expiredToken", "The security token included in the request is expired");
}

function assertSignedHeaders(request: SignedRequest, signed: readonly string[]): void {
  const present = Object.keys(request.headers).filter((name) => name === "host" || name.startsWith("x-amz-"));
  const unsigned = [...new Set(["host", "x-amz-date", ...present])].filter((name) => !signed.includes(name));
  if (unsigned.length > 0)
    throw new AuthError(
      "badSignature",
      `'${unsigned.join("', '")}' must be a 'SignedHeader' in the AWS Authorization.`,
    );
  if (signed.some((name, i) => i > 0 && name <= (signed[i - 1] ?? "")))
    throw new AuthError("incomplete", "SignedHeaders must be sorted and unique.");
}

function canonicalRequest(request: SignedRequest, { signedHeaders }: Authorization): string {
  const [path = "/", query = ""] = request.target.split("?");
  const headers = signedHeaders.map((name) => `${name}:${canonicalValue(request.headers[name])}\n`);
  // The hash is always made from the body that came, so a body that was changed on the way fails.
  return [
    request.method,
    path.split("/").map(encode).join("/"),
    canonicalQuery(query),
    headers.join(""),
    signedHeaders.join(";"),
    sha256(request.body),
  ].join("\n");
}

function canonicalValue(values: readonly string[] | undefined): string {
  return (values ?? []).map((value) => value.trim().replace(/ +/g, " ")).join(",");
}

function canonicalQuery(query: string): string {
  const pairs = [...new URLSearchParams(query)].map(([name, value]) => `${encode(name)}=${encode(value)}`);
  return pairs.sort().join("&");
}

/** RFC 3986: everything but unreserved characters. */
function encode(text: string): string {
  return encodeURIComponent(text).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);
}

function signingKey(secretAccessKey: string, scope: string): Buffer {
  let key = Buffer.from(`AWS4${secretAccessKey}`, "utf8");
  for (const part of scope.split("/")) key = createHmac("sha256", key).update(part).digest();
  return key;
}

function sha256(data: string | Uint8Array): string {
  return createHash("sha256").update(data).digest("hex");
}

function header(request: SignedRequest, name: string): string | undefined {
  const values = request.headers[name];
  return values === undefined || values.length === 0 ? undefined : values.join(",");
}

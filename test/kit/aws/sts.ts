// STS over the Query protocol: form in, XML out (STS API reference). Web identity tokens are JWTs whose RS256 or ES256
// signature, issuer, audience, subject and times are checked against the given identity providers.
import { createPublicKey, type JsonWebKey, verify } from "node:crypto";
import { isJsonArray, isJsonObject, type JsonObject, type JsonValue, parseJson } from "#common/json.ts";
import { type AccessControl, type Caller, matches, type Role } from "./access.ts";
import { AuthError, AwsError } from "./aws-error.ts";

/** An OIDC issuer, such as a Kubernetes cluster, with its public keys. */
export interface IdentityProvider {
  readonly issuer: string;
  /** Default: "sts.amazonaws.com", as IRSA's tokens have it. */
  readonly audience?: string;
  readonly keys: readonly (JsonWebKey & { readonly kid?: string })[];
}

export interface StsOptions {
  readonly account: string;
  readonly access: AccessControl;
  readonly identityProviders: readonly IdentityProvider[];
  readonly now: () => number;
}

/** Operations that anybody may call, because the token in them is the proof. */
export const UNSIGNED_STS_OPERATIONS: readonly string[] = ["AssumeRoleWithWebIdentity"];

/** Members of the result element, ready for XML. */
export type StsResult = Readonly<Record<string, string | Readonly<Record<string, string>>>>;

/** Performs one operation; `caller` is undefined for the unsigned ones. Throws AwsError or AuthError. */
export function performSts(form: URLSearchParams, caller: Caller | undefined, options: StsOptions): StsResult {
  const action = form.get("Action") ?? "";
  if (action === "AssumeRoleWithWebIdentity") return assumeWithWebIdentity(form, options);
  if (caller === undefined) throw new AuthError("missing", "Request is missing Authentication Token");
  if (action === "GetCallerIdentity") return { Arn: caller.arn, UserId: caller.userId, Account: options.account };
  if (action === "AssumeRole") return assume(form, caller, options);
  throw new AwsError("InvalidAction", `Could not find operation ${action} for version 2011-06-15`);
}

/** An answer in the form of the Query protocol. */
export function stsXml(action: string, result: StsResult, requestId: string): string {
  const body = Object.entries(result).map(([name, value]) =>
    typeof value === "string" ? element(name, escapeXml(value)) : element(name, members(value)),
  );
  const metadata = element("ResponseMetadata", element("RequestId", requestId));
  return `<${action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/">${element(`${action}Result`, body.join(""))}${metadata}</${action}Response>`;
}

export function stsErrorXml(error: AwsError, requestId: string): string {
  const fields = members({ Type: "Sender", Code: error.code, Message: error.message });
  return `<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">${element("Error", fields)}${element("RequestId", requestId)}</ErrorResponse>`;
}

function members(values: Readonly<Record<string, string>>): string {
  return Object.entries(values)
    .map(([name, value]) => element(name, escapeXml(value)))
    .join("");
}

function element(name: string, content: string): string {
  return `<${name}>${content}</${name}>`;
}

function escapeXml(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

function assume(form: URLSearchParams, caller: Caller, { access, now }: StsOptions): StsResult {
  const arn = required(form, "RoleArn");
  access.authorize(caller, "sts:AssumeRole", arn);
  const role = access.findRole(arn);
  // AWS does not tell a role that is missing from one that does not trust the caller.
  if (role === undefined || !(role.trustedPrincipals ?? []).some((pattern) => matches(pattern, caller.arn)))
    throw new AuthError(
      "denied",
      `User: ${caller.arn} is not authorized to perform: sts:AssumeRole on resource: ${arn}`,
    );
  // A role that asks for an external id is assumed with it alone: the way out of the confused deputy (IAM User Guide).
  if (role.externalId !== undefined && form.get("ExternalId") !== role.externalId)
    throw new AuthError(
      "denied",
      `User: ${caller.arn} is not authorized to perform: sts:AssumeRole on resource: ${arn}`,
    );
  return session(form, role, access, now());
}

function session(form: URLSearchParams, role: Role, access: AccessControl, now: number): StsResult {
  const name = required(form, "RoleSessionName");
  if (!/^[\w+=,.@-]{2,64}$/.test(name)) throw new AwsError("ValidationError", "RoleSessionName is not valid");
  const seconds = Number(form.get("DurationSeconds") ?? "3600");
  if (!Number.isInteger(seconds) || seconds < 900 || seconds > 43_200)
    throw new AwsError("ValidationError", "DurationSeconds must be between 900 and 43200");
  const opened = access.openSession(role, name, now + seconds * 1000);
  return {
    AssumedRoleUser: { AssumedRoleId: opened.userId, Arn: opened.arn },
    Credentials: {
      AccessKeyId: opened.accessKeyId,
      SecretAccessKey: opened.secretAccessKey,
      SessionToken: opened.sessionToken,
      Expiration: new Date(opened.expires).toISOString(),
    },
  };
}

function required(form: URLSearchParams, name: string): string {
  const value = form.get(name);
  if (value !== null && value !== "") return value;
  throw new AwsError(
    "ValidationError",
    `Value null at '${name}' failed to satisfy constraint: Member must not be null`,
  );
}

function assumeWithWebIdentity(form: URLSearchParams, options: StsOptions): StsResult {
  const claims = verifyToken(required(form, "WebIdentityToken"), options);
  const role = options.access.findRole(required(form, "RoleArn"));
  const trust = role?.webIdentity;
  const subject = String(claims["sub"]);
  const trusted = trust !== undefined && trust.issuer === claims["iss"];
  if (role === undefined || !trusted || !trust.subjects.some((pattern) => matches(pattern, subject)))
    throw new AuthError("denied", "Not authorized to perform sts:AssumeRoleWithWebIdentity");
  const result = session(form, role, options.access, options.now());
  return { ...result, SubjectFromWebIdentityToken: subject, Provider: String(claims["iss"]) };
}

const DIGESTS: Readonly<Record<string, { hash: string; dsaEncoding?: "ieee-p1363" }>> = {
  RS256: { hash: "sha256" },
  ES256: { hash: "sha256", dsaEncoding: "ieee-p1363" },
};

function verifyToken(token: string, { identityProviders, now }: StsOptions): JsonObject {
  const invalid = (why: string) => new AwsError("InvalidIdentityToken", why);
  const [head = "", payload = "", signature = ""] = token.split(".");
  const header = decodePart(head);
  const claims = decodePart(payload);
  const provider = identityProviders.find(({ issuer }) => issuer === claims["iss"]);
  if (provider === undefined) throw invalid("No OpenIDConnect provider found in your account for this issuer");
  const digest = DIGESTS[String(header["alg"])];
  const candidates = provider.keys.filter(({ kid }) => kid === undefined || kid === header["kid"]);
  const signed = Buffer.from(`${head}.${payload}`, "ascii");
  const good = candidates.some((jwk) => {
    if (digest === undefined) return false;
    const key = {
      key: createPublicKey({ key: jwk, format: "jwk" }),
      dsaEncoding: digest.dsaEncoding ?? "der",
    } as const;
    return verify(digest.hash, signed, key, Buffer.from(signature, "base64url"));
  });
  if (!good) throw invalid("Couldn't retrieve verification key from your identity provider");
  if (!audiences(claims["aud"]).includes(provider.audience ?? "sts.amazonaws.com"))
    throw invalid("Incorrect token audience");
  if (typeof claims["exp"] !== "number" || claims["exp"] * 1000 <= now())
    throw new AwsError("ExpiredTokenException", "Token expired");
  return claims;
}

function audiences(claim: JsonValue | undefined): readonly JsonValue[] {
  return isJsonArray(claim) ? claim : claim === undefined ? [] : [claim];
}

function decodePart(part: string): JsonObject {
  try {
    const value = parseJson(Buffer.from(part, "base64url").toString("utf8"));
    if (isJsonObject(value)) return value;
  } catch {
    // Falls through to the refusal: what is no JSON is no token either.
  }
  throw new AwsError("InvalidIdentityToken", "The ID Token provided is not a valid JWT.");
}

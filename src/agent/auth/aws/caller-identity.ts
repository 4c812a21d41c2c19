// A request for STS GetCallerIdentity, signed by Signature Version 4 (AWS IAM User Guide, "Create a signed AWS API
// request"), in the form in which servers take it at auth/aws/login: method, URL, headers and body, the latter three in
// base64. Purely: it calls nobody.
import { createHash, createHmac } from "node:crypto";
import type { Millis } from "#common/clock.ts";
import type { JsonObject } from "#common/json.ts";

export interface AwsKeys {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string | undefined;
}

const BODY = "Action=GetCallerIdentity&Version=2011-06-15";
const ALGORITHM = "AWS4-HMAC-SHA256";
/** What the header is called that binds the request to one server. */
const SERVER_ID_HEADER = "X-Vault-AWS-IAM-Server-ID";

export function signedCallerIdentity(wanted: {
  readonly credentials: AwsKeys;
  readonly endpoint: URL;
  readonly region: string;
  readonly serverId: string | undefined;
  readonly now: Millis;
}): JsonObject {
  const { credentials, endpoint, region, serverId, now } = wanted;
  const stamp = new Date(now).toISOString().replace(/[-:]|\.\d{3}/g, "");
  const headers: Record<string, string> = {
    "Content-Length": String(BODY.length),
    "Content-Type": "application/x-www-form-urlencoded; charset=utf-8",
    "X-Amz-Date": stamp,
    ...(credentials.sessionToken === undefined ? {} : { "X-Amz-Security-Token": credentials.sessionToken }),
    ...(serverId === undefined ? {} : { [SERVER_ID_HEADER]: serverId }),
  };
  const scope = `${stamp.slice(0, 8)}/${region}/sts/aws4_request`;
  const all = [...Object.entries(headers), ["Host", endpoint.host] as const]
    .map(([name, value]) => [name.toLowerCase(), value] as const)
    .sort(([a], [b]) => (a < b ? -1 : 1));
  const names = all.map(([name]) => name).join(";");
  const lines = all.map(([name, value]) => `${name}:${value.trim().replace(/ +/g, " ")}\n`).join("");
  const canonical = ["POST", endpoint.pathname, "", lines, names, sha256(BODY)].join("\n");
  const toSign = [ALGORITHM, stamp, scope, sha256(canonical)].join("\n");
  const signature = createHmac("sha256", signingKey(credentials.secretAccessKey, scope)).update(toSign).digest("hex");
  const authorization = `${ALGORITHM} Credential=${credentials.accessKeyId}/${scope}, SignedHeaders=${names}, Signature=${signature}`;
  const sent = Object.entries({ ...headers, Authorization: authorization }).map(([name, value]) => [name, [value]]);
  return {
    iam_http_request_method: "POST",
    iam_request_url: base64(endpoint.href),
    iam_request_headers: base64(JSON.stringify(Object.fromEntries(sent))),
    iam_request_body: base64(BODY),
  };
}

function signingKey(secret: string, scope: string): Buffer {
  return scope
    .split("/")
    .reduce<Buffer>((key, part) => createHmac("sha256", key).update(part).digest(), Buffer.from(`AWS4${secret}`));
}

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

function base64(text: string): string {
  return Buffer.from(text, "utf8").toString("base64");
}

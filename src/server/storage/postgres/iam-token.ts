// The password of an AWS identity for RDS and Aurora: a request `connect` that is signed and not sent (AWS: "IAM database
// authentication for MariaDB, MySQL, and PostgreSQL"; "Signature Version 4: query parameters"). Whoever has it may
// connect for 15 minutes; a connection that is made lives on. Pure: credentials come from password-source.ts.
import { createHash, createHmac } from "node:crypto";
import type { Millis } from "#common/clock.ts";

export interface AwsCredentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string | undefined;
}

export interface TokenRequest {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly region: string;
  readonly credentials: AwsCredentials;
  readonly now: Millis;
}

const ALGORITHM = "AWS4-HMAC-SHA256";
const SERVICE = "rds-db";
/** The longest that RDS takes. */
const LIFE_SECONDS = 900;

/** A new token: host and port as they are connected to, a question mark, the signed parameters. */
export function iamToken({ host, port, user, region, credentials, now }: TokenRequest): string {
  const stamp = new Date(now).toISOString().replace(/[-:]|\.\d{3}/g, "");
  const scope = `${stamp.slice(0, 8)}/${region}/${SERVICE}/aws4_request`;
  const parameters: Record<string, string> = {
    Action: "connect",
    DBUser: user,
    "X-Amz-Algorithm": ALGORITHM,
    "X-Amz-Credential": `${credentials.accessKeyId}/${scope}`,
    "X-Amz-Date": stamp,
    "X-Amz-Expires": String(LIFE_SECONDS),
    ...(credentials.sessionToken !== undefined && { "X-Amz-Security-Token": credentials.sessionToken }),
    "X-Amz-SignedHeaders": "host",
  };
  // They stand in the order of their names.
  const query = Object.entries(parameters).map(([name, value]) => `${encoded(name)}=${encoded(value)}`);
  const address = `${host}:${port}`;
  const canonical = ["GET", "/", query.join("&"), `host:${address}`, "", "host", sha256("")].join("\n");
  const toSign = [ALGORITHM, stamp, scope, sha256(canonical)].join("\n");
  let key: Buffer = Buffer.from(`AWS4${credentials.secretAccessKey}`);
  for (const part of [...scope.split("/"), toSign]) key = createHmac("sha256", key).update(part).digest();
  return `${address}/?${query.join("&")}&X-Amz-Signature=${key.toString("hex")}`;
}

/** RFC 3986: also what encodeURIComponent leaves alone. */
const encoded = (text: string) =>
  encodeURIComponent(text).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);

const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");

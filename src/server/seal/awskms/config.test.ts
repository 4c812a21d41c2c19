// The awskms stanza: Vault's settings and variables, ours, and what is refused.
import { describe, expect, it } from "vitest";
import type { JsonObject } from "#common/json.ts";
import { parseAwsKmsConfig } from "./config.ts";

const parse = (config: JsonObject, variables: Record<string, string> = {}) =>
  parseAwsKmsConfig(config, { clusterName: "main", environment: (name) => variables[name] });
const least = { region: "eu-central-1", kms_key_id: "alias/coffer" };

describe("awskms stanza", () => {
  it("needs a region and a key only", () => {
    expect(parse(least)).toEqual({
      name: "awskms",
      region: "eu-central-1",
      keyId: "alias/coffer",
      credentials: { kind: "ambient" },
      encryptionContext: { "coffer:cluster": "main" },
      grantTokens: [],
      timeoutMillis: 5000,
      endpoint: undefined,
      stsEndpoint: undefined,
      role: undefined,
    });
  });

  it("takes Vault's environment variables, the stanza wins", () => {
    const variables = {
      AWS_REGION: "us-east-1",
      VAULT_AWSKMS_SEAL_KEY_ID: "alias/env",
      AWS_KMS_ENDPOINT: "https://vpce.example",
    };
    expect(parse({}, variables)).toMatchObject({
      region: "us-east-1",
      keyId: "alias/env",
      endpoint: "https://vpce.example",
    });
    expect(parse(least, variables)).toMatchObject({ region: "eu-central-1", keyId: "alias/coffer" });
    expect(parse({ kms_key_id: "k" }, { AWS_DEFAULT_REGION: "eu-west-3" })).toMatchObject({ region: "eu-west-3" });
  });

  it("takes credentials, a role, a context, a timeout and a name", () => {
    const config = parse({
      ...least,
      name: "kms-eu",
      access_key: "AKIA",
      secret_key: "s",
      session_token: "t",
      role_arn: "arn:aws:iam::1:role/r",
      web_identity_token_file: "/token",
      grant_tokens: Array.from({ length: 10 }, () => "dG9rZW4="),
      encryption_context: { team: "a" },
      timeout: "750ms",
      endpoint: "http://localhost:1",
      priority: "1",
      disabled: "false",
    });
    expect(config).toMatchObject({
      name: "kms-eu",
      credentials: { kind: "fixed", accessKeyId: "AKIA", secretAccessKey: "s", sessionToken: "t" },
      role: { arn: "arn:aws:iam::1:role/r", sessionName: "coffer", tokenFile: "/token" },
      encryptionContext: { team: "a", "coffer:cluster": "main" },
      timeoutMillis: 750,
    });
  });

  it.each<[JsonObject, string]>([
    [{ kms_key_id: "k" }, "region is missing: set it, or AWS_REGION"],
    [{ region: "r" }, "kms_key_id is missing"],
    [{ ...least, access_key: "a" }, "access_key and secret_key belong together"],
    [{ ...least, session_token: "a" }, "access_key and secret_key belong together"],
    [{ ...least, role_session_name: "a" }, "web_identity_token_file and external_id want a role_arn"],
    [{ ...least, external_id: "ab" }, "web_identity_token_file and external_id want a role_arn"],
    [{ ...least, role_arn: "r", external_id: "a" }, "external_id must be 2 to 1224"],
    [{ ...least, role_arn: "r", external_id: "a".repeat(1225) }, "external_id must be 2 to 1224"],
    [{ ...least, role_arn: "r", external_id: "ab", web_identity_token_file: "/t" }, "leave it out"],
    [{ ...least, grant_tokens: Array.from({ length: 11 }, () => "dG9rZW4=") }, "grant_tokens must be at most 10"],
    [{ ...least, grant_tokens: ["not a token"] }, "grant_tokens must be at most 10"],
    [{ ...least, endpoint: "kms.example" }, "endpoint must be a URL"],
    [{ ...least, encryption_context: { "coffer:purpose": "x" } }, "encryption_context must not have coffer:purpose"],
    [{ ...least, encryption_context: { a: 1 } }, "seal awskms.encryption_context.a must be a string"],
    [{ ...least, encryption_context: { a: "x".repeat(8000) } }, "must not be larger than 7168 bytes"],
    [{ ...least, timeout: "soon" }, 'timeout must be a duration such as "5s" or "500ms"'],
    [{ ...least, timeout: 0 }, "timeout must be a duration"],
    [{ ...least, colour: "red" }, "colour is not a setting of this seal; it knows"],
  ])("refuses %j", (config, message) => {
    expect(() => parse(config)).toThrow(message);
  });
});

// The awskms seal against the strict stand-in: wrapping, every way to credentials, every fault told apart; and the good
// path once against moto.
import { generateKeyPairSync, randomBytes, randomUUID, sign } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as kms from "@aws-sdk/client-kms";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { FakeClock, systemClock } from "#common/clock.ts";
import type { JsonObject } from "#common/json.ts";
import { SecretBytes } from "#common/secret-bytes.ts";
import { createCertificateAuthority, issueServerCertificate } from "#common/x509.ts";
import { findSealType } from "#server/seal/registry.ts";
import { retryTransient } from "#server/seal/retry.ts";
import type { AutoSeal, SealFault } from "#server/seal/seal.ts";
import { type AwsResponder, startAwsResponder } from "#test/kit/aws/responder.ts";
import { type Moto, startMoto } from "#test/kit/moto.ts";

const HOUR_MILLIS = 3_600_000;
const ROLE = "arn:aws:iam::111122223333:role/unseal";
const ISSUER = "https://kubernetes.default.svc";
const SUBJECT = "system:serviceaccount:coffer:main";
const issuerKeys = generateKeyPairSync("ec", { namedCurve: "P-256" });
let aws: AwsResponder;
let key: { keyId: string; arn: string };
let folder: string;
const seals: AutoSeal[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "coffer-awskms-"));
  aws = await startAwsResponder({
    roles: [
      {
        name: "unseal",
        trustedPrincipals: ["arn:aws:iam::111122223333:user/*"],
        webIdentity: { issuer: ISSUER, subjects: ["system:serviceaccount:coffer:*"] },
      },
    ],
    identityProviders: [{ issuer: ISSUER, keys: [issuerKeys.publicKey.export({ format: "jwk" })] }],
  });
});
afterAll(async () => {
  await aws.close();
  await rm(folder, { recursive: true });
});
beforeEach(() => {
  key = aws.createKey({ alias: "alias/coffer" });
});
afterEach(async () => {
  aws.faults.clear();
  vi.unstubAllEnvs();
  await Promise.all(seals.splice(0).map((seal) => seal.close()));
});

/** A seal with the stand-in's credentials, unless the stanza says otherwise (null takes a member away). */
async function open(stanza: JsonObject = {}, clusterName = "main", clock = systemClock): Promise<AutoSeal> {
  const seal = await findSealType("awskms").parse(
    {
      region: aws.region,
      kms_key_id: "alias/coffer",
      endpoint: aws.endpoint,
      sts_endpoint: aws.endpoint,
      access_key: aws.credentials.accessKeyId,
      secret_key: aws.credentials.secretAccessKey,
      ...stanza,
    },
    {
      clusterName,
      clock,
      environment: () => undefined,
      readFile: () => Promise.reject(new Error("the seal reads no file")),
    },
  );
  if (seal.kind !== "auto") throw new Error("awskms must be automatic");
  seals.push(seal);
  return seal;
}

/** The seal without credentials in its stanza. */
const ambient = (stanza: JsonObject = {}) => open({ access_key: null, secret_key: null, ...stanza });

describe("wrapping", () => {
  it("opens what it wrapped, under the key's ARN", async () => {
    const seal = await open({ name: "kms-eu" });
    using root = SecretBytes.random(32);
    const wrapped = await seal.wrap(root, "root-key");
    expect(wrapped).toEqual({
      seal: "kms-eu",
      keyId: key.arn,
      ciphertext: expect.stringMatching(/^[A-Za-z0-9+/]+=*$/),
    });
    expect((await seal.unwrap(wrapped, "root-key")).equals(root)).toBe(true);
    expect(Buffer.from(wrapped.ciphertext, "base64").includes(root.expose())).toBe(false);
    await expect(seal.probe()).resolves.toEqual({ keyId: key.arn, latencyMillis: expect.any(Number) });
  });

  it("binds the ciphertext to cluster, purpose and the context of the stanza", async () => {
    const seal = await open({ encryption_context: { team: "payments" } });
    const wrapped = await seal.wrap(SecretBytes.random(32), "root-key");
    const refused = { fault: "InvalidCiphertext", transient: false };
    await expect(seal.unwrap(wrapped, "recovery-key")).rejects.toMatchObject(refused);
    await expect((await open()).unwrap(wrapped, "root-key")).rejects.toMatchObject(refused);
    const other = await open({ encryption_context: { team: "payments" } }, "other");
    await expect(other.unwrap(wrapped, "root-key")).rejects.toMatchObject(refused);
    const client = new kms.KMSClient({ endpoint: aws.endpoint, region: aws.region, credentials: aws.credentials });
    const direct = await client.send(
      new kms.DecryptCommand({
        CiphertextBlob: Buffer.from(wrapped.ciphertext, "base64"),
        EncryptionContext: { team: "payments", "coffer:cluster": "main", "coffer:purpose": "root-key" },
      }),
    );
    expect(direct.KeyId).toBe(key.arn);
    client.destroy();
  });

  it("opens old wrappings after a rotation and after the alias has moved, and tells the move by the key id", async () => {
    const seal = await open();
    using root = SecretBytes.random(32);
    const wrapped = await seal.wrap(root, "root-key");
    aws.rotateKey(key.keyId);
    expect((await seal.unwrap(wrapped, "root-key")).equals(root)).toBe(true);
    const next = aws.createKey({ alias: "alias/coffer" });
    expect((await seal.unwrap(wrapped, "root-key")).equals(root)).toBe(true);
    expect((await seal.wrap(root, "root-key")).keyId).toBe(next.arn);
    expect((await seal.probe()).keyId).toBe(next.arn);
  });
});

describe("credentials", () => {
  it("takes those of the environment", async () => {
    vi.stubEnv("AWS_ACCESS_KEY_ID", aws.credentials.accessKeyId);
    vi.stubEnv("AWS_SECRET_ACCESS_KEY", aws.credentials.secretAccessKey);
    await expect((await ambient()).probe()).resolves.toMatchObject({ keyId: key.arn });
  });

  it("assumes a role with its own credentials", async () => {
    const before = aws.requests().get("AssumeRole") ?? 0;
    const seal = await open({ role_arn: ROLE, role_session_name: "main-0" });
    await seal.probe();
    await seal.probe();
    expect(aws.requests().get("AssumeRole")).toBe(before + 1);
  });

  it("assumes a role of somebody else's account with the external id that it asks for", async () => {
    const trusted = ["arn:aws:iam::111122223333:user/*"];
    aws.addRole({ name: "foreign", trustedPrincipals: trusted, externalId: "coffer-42" });
    const role = { role_arn: "arn:aws:iam::111122223333:role/foreign" };
    await expect((await open({ ...role, external_id: "coffer-42" })).probe()).resolves.toMatchObject({
      keyId: key.arn,
    });
    const denied = { fault: "AccessDenied", message: expect.stringContaining("external_id") };
    await expect((await open({ ...role, external_id: "coffer-43" })).probe()).rejects.toMatchObject(denied);
    await expect((await open(role)).probe()).rejects.toMatchObject(denied);
  });

  it("assumes a role with a web identity token of the stanza", async () => {
    const tokenFile = await tokenOf({ sub: SUBJECT });
    const seal = await ambient({ role_arn: ROLE, web_identity_token_file: tokenFile });
    await expect(seal.probe()).resolves.toMatchObject({ keyId: key.arn });
  });

  it("takes a ServiceAccount's role as IRSA gives it", async () => {
    vi.stubEnv("AWS_ROLE_ARN", ROLE);
    vi.stubEnv("AWS_WEB_IDENTITY_TOKEN_FILE", await tokenOf({ sub: SUBJECT }));
    await expect((await ambient()).probe()).resolves.toMatchObject({ keyId: key.arn });
  });

  it("takes a ServiceAccount's role as EKS Pod Identity gives it", async () => {
    const agent = createServer((request, response) => {
      const good = request.headers.authorization === "pod-token";
      response.writeHead(good ? 200 : 403, { "content-type": "application/json" });
      const { accessKeyId, secretAccessKey, sessionToken } = aws.openSession("unseal", systemClock.now() + HOUR_MILLIS);
      const credentials = {
        AccessKeyId: accessKeyId,
        SecretAccessKey: secretAccessKey,
        Token: sessionToken,
        Expiration: new Date(systemClock.now() + HOUR_MILLIS).toISOString(),
      };
      response.end(JSON.stringify(good ? credentials : {}));
    });
    await new Promise<void>((resolve) => agent.listen(0, "127.0.0.1", resolve));
    const address = agent.address();
    if (address === null || typeof address === "string") throw new Error("no port");
    const token = join(folder, "pod-token");
    await writeFile(token, "pod-token");
    vi.stubEnv("AWS_CONTAINER_CREDENTIALS_FULL_URI", `http://127.0.0.1:${address.port}/v1/credentials`);
    vi.stubEnv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", token);
    await expect((await ambient()).probe()).resolves.toMatchObject({ keyId: key.arn });
    agent.close();
  });
});

/** A file with a ServiceAccount's token. */
async function tokenOf(claims: { sub: string; iss?: string; aud?: string; exp?: number }): Promise<string> {
  const exp = Math.floor(systemClock.now() / 1000) + 600;
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const signed = `${part({ alg: "ES256" })}.${part({ iss: ISSUER, aud: ["sts.amazonaws.com"], exp, ...claims })}`;
  const signature = sign("sha256", Buffer.from(signed), { key: issuerKeys.privateKey, dsaEncoding: "ieee-p1363" });
  const path = join(folder, randomUUID());
  await writeFile(path, `${signed}.${signature.toString("base64url")}`);
  return path;
}

interface FaultCase {
  readonly fault: SealFault;
  readonly transient: boolean;
  readonly says: string;
  readonly stanza?: JsonObject;
  readonly ambient?: boolean;
  readonly prepare?: () => unknown;
  /** More of the stanza that takes time to make. */
  readonly later?: () => Promise<JsonObject>;
}

const CASES: Readonly<Record<string, FaultCase>> = {
  "a disabled key": {
    fault: "KeyDisabled",
    transient: false,
    says: "KMS key alias/coffer is disabled: enable it",
    prepare: () => aws.disableKey(key.keyId),
  },
  "a key pending deletion": {
    fault: "KeyPendingDeletion",
    transient: false,
    says: "is scheduled for deletion: cancel the deletion and enable the key",
    prepare: () => aws.scheduleKeyDeletion(key.keyId),
  },
  "no such key": {
    fault: "KeyNotFound",
    transient: false,
    says: "there is no KMS key alias/missing in eu-central-1: check kms_key_id",
    stanza: { kms_key_id: "alias/missing" },
  },
  "no permission": {
    fault: "AccessDenied",
    transient: false,
    says: "allow kms:Encrypt and kms:Decrypt on it",
    stanza: { access_key: "AKIANOTHINGNOTHING00", secret_key: "s" },
    prepare: () => aws.addPrincipal({ accessKeyId: "AKIANOTHINGNOTHING00", secretAccessKey: "s", policy: [] }),
  },
  "no permission to assume the role": {
    fault: "AccessDenied",
    transient: false,
    says: "AWS denies the role arn:aws:iam::111122223333:role/none: check role_arn, and that its trust policy",
    stanza: { role_arn: "arn:aws:iam::111122223333:role/none" },
  },
  "a token of another ServiceAccount": {
    fault: "AccessDenied",
    transient: false,
    says: "AWS denies the role",
    ambient: true,
    later: async () => ({
      role_arn: ROLE,
      web_identity_token_file: await tokenOf({ sub: "system:serviceaccount:x:y" }),
    }),
  },
  "an expired token": {
    fault: "CredentialsInvalid",
    transient: false,
    says: "AWS does not accept the credentials (ExpiredTokenException)",
    ambient: true,
    later: async () => ({ role_arn: ROLE, web_identity_token_file: await tokenOf({ sub: SUBJECT, exp: 1 }) }),
  },
  "no token file": {
    fault: "CredentialsInvalid",
    transient: false,
    says: "check web_identity_token_file",
    ambient: true,
    stanza: { role_arn: ROLE, web_identity_token_file: "/nowhere/token" },
  },
  "an unknown access key": {
    fault: "CredentialsInvalid",
    transient: false,
    says: "(UnrecognizedClientException): renew access_key and secret_key",
    stanza: { access_key: "AKIAUNKNOWNUNKNOWN00" },
  },
  "a wrong secret key": {
    fault: "CredentialsInvalid",
    transient: false,
    says: "check the secret key, the region eu-central-1 and this machine's clock",
    stanza: { secret_key: "wrong" },
  },
  "another region": {
    fault: "CredentialsInvalid",
    transient: false,
    says: "check the secret key, the region us-east-1",
    stanza: { region: "us-east-1" },
  },
  "credentials that have expired": {
    fault: "CredentialsInvalid",
    transient: false,
    says: "AWS does not accept the credentials (ExpiredTokenException): renew",
    later: async () => {
      const { accessKeyId, secretAccessKey, sessionToken } = aws.openSession("unseal", systemClock.now() - 1);
      return { access_key: accessKeyId, secret_key: secretAccessKey, session_token: sessionToken };
    },
  },
  throttling: {
    fault: "Throttled",
    transient: true,
    says: "KMS throttles requests in eu-central-1",
    prepare: () => aws.faults.throttle(3),
  },
  "errors of the service": {
    fault: "Unreachable",
    transient: true,
    says: "answers with errors of its own (KMSInternalException)",
    prepare: () => aws.faults.fail(3),
  },
  "a broken proxy": {
    fault: "Unreachable",
    transient: true,
    says: "answers with errors of its own (Whatever)",
    prepare: () => aws.faults.fail(3, { status: 502, code: "Whatever" }),
  },
  "cut connections": {
    fault: "Unreachable",
    transient: true,
    says: "cannot be reached (ECONNRESET)",
    prepare: () => {
      aws.faults.down = true;
    },
  },
  "nobody there": {
    fault: "Unreachable",
    transient: true,
    says: "KMS at http://127.0.0.1:1 cannot be reached (ECONNREFUSED): check the network, DNS and the endpoint",
    stanza: { endpoint: "http://127.0.0.1:1" },
  },
  "an unknown name": {
    fault: "Unreachable",
    transient: true,
    says: "cannot be reached (E",
    stanza: { endpoint: "http://kms.invalid" },
  },
  silence: {
    fault: "Unreachable",
    transient: true,
    says: "cannot be reached (no answer within 0.3 s)",
    stanza: { timeout: "300ms" },
    prepare: () => {
      aws.faults.hang = true;
    },
  },
  "slowness of STS": {
    fault: "Unreachable",
    transient: true,
    says: "no answer within 0.3 s",
    stanza: { timeout: "300ms", role_arn: ROLE },
    prepare: () => {
      aws.faults.hang = true;
    },
  },
};

describe("faults", () => {
  it.each(Object.entries(CASES))("%s", async (_, { fault, transient, says, stanza, prepare, later, ...how }) => {
    prepare?.();
    const more = (await later?.()) ?? {};
    const seal = await (how.ambient === true ? ambient : open)({ timeout: "4s", ...stanza, ...more });
    await expect(seal.probe()).rejects.toMatchObject({
      name: "SealError",
      fault,
      transient,
      message: expect.stringContaining(says),
    });
  });

  it("tells a certificate that is not trusted", async () => {
    const life = { days: 1, clock: systemClock };
    const authority = await createCertificateAuthority({ commonName: "nobody's", ...life });
    const self = await issueServerCertificate(authority, { commonName: "kms", ipAddresses: ["127.0.0.1"], ...life });
    const tls = await startAwsResponder({
      tls: { cert: self.certificatePem, key: self.privateKeyPem.expose().toString() },
    });
    const seal = await open({ endpoint: tls.endpoint });
    await expect(seal.probe()).rejects.toMatchObject({
      fault: "Misconfigured",
      message: expect.stringContaining("NODE_EXTRA_CA_CERTS"),
    });
    await tls.close();
  });

  it("tells ciphertexts of a key that is gone, foreign or damaged", async () => {
    const seal = await open();
    const wrapped = await seal.wrap(SecretBytes.random(32), "root-key");
    const other = aws.createKey();
    await expect(seal.unwrap({ ...wrapped, keyId: other.arn }, "root-key")).rejects.toMatchObject({
      fault: "InvalidCiphertext",
      message: expect.stringContaining("IncorrectKeyException"),
    });
    const damaged = Buffer.from(wrapped.ciphertext, "base64");
    damaged[50] = (damaged[50] ?? 0) ^ 1;
    const ciphertext = damaged.toString("base64");
    await expect(seal.unwrap({ ...wrapped, ciphertext }, "root-key")).rejects.toMatchObject({
      fault: "InvalidCiphertext",
      message: expect.stringContaining("wrapped with another key, cluster name or encryption_context"),
    });
    aws.disableKey(key.keyId);
    await expect(seal.unwrap(wrapped, "root-key")).rejects.toMatchObject({
      fault: "KeyDisabled",
      message: expect.stringContaining(key.arn),
    });
  });

  it("bridges a single throttling and a single failure by itself", async () => {
    const seal = await open();
    aws.faults.throttle(1);
    await seal.probe();
    aws.faults.fail(1);
    await seal.probe();
  });

  it("puts no key material and no secret into its errors", async () => {
    const secret = "a-secret-key-that-must-not-show";
    const seal = await open({ secret_key: secret });
    using root = new SecretBytes(randomBytes(32));
    const error: unknown = await seal.wrap(root, "root-key").catch((thrown: unknown) => thrown);
    const shown = error instanceof Error ? `${error.message} ${error.stack}` : "";
    expect(shown).toContain("InvalidSignatureException");
    expect(shown).not.toContain(secret);
    expect(shown).not.toContain(root.expose().toString("base64"));
  });

  it("stops when the caller gives up", async () => {
    aws.faults.hang = true;
    const stop = new AbortController();
    const probing = (await open()).probe(stop.signal);
    setImmediate(() => stop.abort(new Error("shutting down")));
    await expect(probing).rejects.toThrow("shutting down");
  });

  it("comes back by itself when KMS does, after each fault was told", async () => {
    const clock = new FakeClock();
    const seal = await open();
    aws.faults.down = true;
    const seen: string[] = [];
    const result = retryTransient((signal) => seal.probe(signal), {
      clock,
      onFault: ({ fault }, { waitMillis }) => {
        seen.push(fault);
        if (seen.length === 1) {
          aws.faults.down = false;
          aws.disableKey(key.keyId);
        } else aws.enableKey(key.keyId);
        setImmediate(() => void clock.advance(waitMillis));
      },
    });
    await expect(result).resolves.toMatchObject({ keyId: key.arn });
    expect(seen).toEqual(["Unreachable", "KeyDisabled"]);
  });
});

describe("against moto", () => {
  let moto: Moto | undefined;
  beforeAll(async () => {
    const started = await startMoto(process.env);
    if (!("unavailable" in started)) moto = started;
    else if (process.env["CI"] === "true") throw new Error(started.unavailable);
    else console.warn(`skipped: ${started.unavailable}`);
  });
  afterAll(() => moto?.close());

  it("wraps, unwraps, and is refused another purpose", async (test) => {
    if (moto === undefined) return test.skip();
    const credentials = { accessKeyId: "AKIAMOTOMOTOMOTO0000", secretAccessKey: "moto" };
    const client = new kms.KMSClient({ endpoint: moto.endpoint, region: aws.region, credentials });
    const { KeyMetadata } = await client.send(new kms.CreateKeyCommand({}));
    await client.send(new kms.CreateAliasCommand({ AliasName: "alias/moto", TargetKeyId: KeyMetadata?.KeyId }));
    client.destroy();
    const there = { endpoint: moto.endpoint, sts_endpoint: moto.endpoint, timeout: "20s" };
    const seal = await open({ ...there, kms_key_id: "alias/moto", role_arn: "arn:aws:iam::123456789012:role/unseal" });
    using root = SecretBytes.random(32);
    const wrapped = await seal.wrap(root, "root-key");
    expect(wrapped.keyId).toBe(KeyMetadata?.Arn);
    expect((await seal.unwrap(wrapped, "root-key")).equals(root)).toBe(true);
    await expect(seal.unwrap(wrapped, "other")).rejects.toMatchObject({ fault: "InvalidCiphertext" });
    await expect((await open({ ...there, kms_key_id: "alias/none" })).probe()).rejects.toMatchObject({
      fault: "KeyNotFound",
    });
  });
});

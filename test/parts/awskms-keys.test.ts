// Keys of the awskms seal against the strict stand-in: how they are named, multi-region keys, grants; and the
// way to KMS through a proxy that loses, cuts and delays.
import * as kms from "@aws-sdk/client-kms";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { FakeClock, systemClock } from "#common/clock.ts";
import type { JsonObject } from "#common/json.ts";
import { SecretBytes } from "#common/secret-bytes.ts";
import { findSealType } from "#server/seal/registry.ts";
import type { AutoSeal } from "#server/seal/seal.ts";
import { type AwsResponder, startAwsResponder } from "#test/kit/aws/responder.ts";
import { startTcpProxy, type TcpProxy } from "#test/kit/tcp-proxy.ts";

let aws: AwsResponder;
let key: { keyId: string; arn: string };
const seals: AutoSeal[] = [];

beforeAll(async () => {
  aws = await startAwsResponder();
});
afterAll(() => aws.close());
beforeEach(() => {
  key = aws.createKey({ alias: "alias/coffer" });
});
afterEach(async () => {
  await Promise.all(seals.splice(0).map((seal) => seal.close()));
});

/** A seal with the stand-in's credentials, unless the stanza says otherwise. */
async function open(stanza: JsonObject = {}, clusterName = "main"): Promise<AutoSeal> {
  const settings = {
    ...{ region: aws.region, kms_key_id: "alias/coffer", endpoint: aws.endpoint, sts_endpoint: aws.endpoint },
    ...{ access_key: aws.credentials.accessKeyId, secret_key: aws.credentials.secretAccessKey, ...stanza },
  };
  const seal = await findSealType("awskms").parse(settings, {
    ...{ clusterName, clock: systemClock, environment: () => undefined },
    readFile: () => Promise.reject(new Error("the seal reads no file")),
  });
  if (seal.kind !== "auto") throw new Error("awskms must be automatic");
  seals.push(seal);
  return seal;
}

describe("multi-region keys", () => {
  it("opens by the replica of its region what the primary wrapped, and the other way round", async () => {
    const frankfurt = aws;
    const virginia = await startAwsResponder({ region: "us-east-1" });
    const primary = frankfurt.createKey({ multiRegion: true });
    const replica = virginia.replicateKey(frankfurt, primary.keyId);
    const there = {
      ...{ region: "us-east-1", endpoint: virginia.endpoint, sts_endpoint: virginia.endpoint },
      ...{ access_key: virginia.credentials.accessKeyId, secret_key: virginia.credentials.secretAccessKey },
    };
    const [here, away] = [await open({ kms_key_id: primary.arn }), await open({ ...there, kms_key_id: replica.arn })];
    using root = SecretBytes.random(32);
    const wrapped = await here.wrap(root, "root-key");
    expect(wrapped.keyId).toBe(primary.arn);
    expect((await away.unwrap(wrapped, "root-key")).equals(root)).toBe(true);
    const back = await away.wrap(root, "root-key");
    expect(back.keyId).toBe(replica.arn);
    expect((await here.unwrap(back, "root-key")).equals(root)).toBe(true);
    // New material of the primary is the replicas' as well.
    frankfurt.rotateKey(primary.keyId);
    expect((await away.unwrap(await here.wrap(root, "root-key"), "root-key")).equals(root)).toBe(true);
    virginia.disableKey(replica.arn);
    await expect(away.unwrap(wrapped, "root-key")).rejects.toMatchObject({
      fault: "KeyDisabled",
      message: expect.stringContaining(replica.arn),
    });
    expect((await here.unwrap(wrapped, "root-key")).equals(root)).toBe(true);
    // A key of one region is looked for in that region alone.
    const single = await (await open()).wrap(root, "root-key");
    await expect(away.unwrap(single, "root-key")).rejects.toMatchObject({ fault: "KeyNotFound" });
    await virginia.close();
  });
});

describe("ways to name the key", () => {
  it.each([
    ["id", () => key.keyId],
    ["ARN", () => key.arn],
    ["alias", () => "alias/coffer"],
    ["alias ARN", () => "arn:aws:kms:eu-central-1:111122223333:alias/coffer"],
  ])("%s", async (_, name) => {
    await expect((await open({ kms_key_id: name() })).probe()).resolves.toMatchObject({ keyId: key.arn });
  });
});

describe("grants", () => {
  it("uses a new grant by its token, and needs none once the grant is known everywhere", async () => {
    const clock = new FakeClock(systemClock.now());
    const own = await startAwsResponder({ clock });
    const granted = own.createKey();
    const grantee = { accessKeyId: "AKIAGRANTEDGRANTED00", secretAccessKey: "g", userName: "pod", policy: [] };
    own.addPrincipal(grantee);
    const admin = new kms.KMSClient({ endpoint: own.endpoint, region: own.region, credentials: own.credentials });
    const { GrantToken } = await admin.send(
      new kms.CreateGrantCommand({
        KeyId: granted.keyId,
        GranteePrincipal: "arn:aws:iam::111122223333:user/pod",
        Operations: ["Encrypt", "Decrypt"],
        Constraints: { EncryptionContextSubset: { "coffer:cluster": "main" } },
      }),
    );
    admin.destroy();
    const stanza = {
      ...{ endpoint: own.endpoint, kms_key_id: granted.arn },
      ...{ access_key: grantee.accessKeyId, secret_key: grantee.secretAccessKey },
    };
    const withToken = { ...stanza, grant_tokens: [GrantToken ?? ""] };
    await expect((await open(stanza)).probe()).rejects.toMatchObject({ fault: "AccessDenied" });
    await expect((await open(withToken)).probe()).resolves.toMatchObject({ keyId: granted.arn });
    await expect((await open(withToken, "other")).probe()).rejects.toMatchObject({ fault: "AccessDenied" });
    await clock.advance(5 * 60_000);
    await expect((await open(stanza)).probe()).resolves.toMatchObject({ keyId: granted.arn });
    await own.close();
  });
});

describe("the way to KMS", () => {
  let proxy: TcpProxy;
  beforeEach(async () => {
    proxy = await startTcpProxy(aws.port);
  });
  afterEach(async () => {
    aws.faults.clear();
    await proxy.close();
  });
  /** One attempt of the SDK may be lost, or all of them. */
  const through = (timeout: string) => open({ endpoint: `http://127.0.0.1:${proxy.port}`, timeout });

  it("may be slow", async () => {
    aws.faults.latencyMillis = 150;
    await expect((await through("4s")).probe()).resolves.toMatchObject({ keyId: key.arn });
  });

  it.each(["requests", "answers", "both"] as const)(
    "may lose %s: told in time, and over when the way is mended",
    async (what) => {
      const seal = await through("400ms");
      await seal.probe();
      proxy.lose(what);
      const began = systemClock.now();
      await expect(seal.probe()).rejects.toMatchObject({
        ...{ fault: "Unreachable", transient: true },
        message: expect.stringContaining("no answer within 0.4 s"),
      });
      expect(systemClock.now() - began).toBeLessThan(3000);
      proxy.mend();
      await expect(seal.probe()).resolves.toMatchObject({ keyId: key.arn });
    },
  );

  it("may be cut between two operations and in the middle of one", async () => {
    const seal = await through("4s");
    await seal.probe();
    proxy.cut();
    await expect(seal.probe()).resolves.toMatchObject({ keyId: key.arn });
    aws.faults.latencyMillis = 300;
    const probing = seal.probe();
    await systemClock.sleep(100);
    proxy.cut();
    // The SDK's next attempt gets through.
    await expect(probing).resolves.toMatchObject({ keyId: key.arn });
  });

  it("may be gone altogether, and be there again", async () => {
    const { port } = proxy;
    const seal = await open({ endpoint: `http://127.0.0.1:${port}`, timeout: "4s" });
    using root = SecretBytes.random(32);
    const wrapped = await seal.wrap(root, "root-key");
    await proxy.close();
    await expect(seal.unwrap(wrapped, "root-key")).rejects.toMatchObject({
      ...{ fault: "Unreachable", transient: true, message: expect.stringContaining("check the network, DNS") },
    });
    proxy = await startTcpProxy(aws.port);
    const again = await open({ endpoint: `http://127.0.0.1:${proxy.port}`, timeout: "4s" });
    expect((await again.unwrap(wrapped, "root-key")).equals(root)).toBe(true);
  });
});

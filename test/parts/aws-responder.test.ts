// The AWS stand-in against the real SDK: if AWS's own client is content with it and everything wrong is refused as AWS
// refuses it, tests of the seal may lean on it.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import * as kms from "@aws-sdk/client-kms";
import { build } from "esbuild";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { FakeClock } from "#common/clock.ts";
import { type AwsResponder, startAwsResponder } from "#test/kit/aws/responder.ts";

const plaintext = Buffer.from("a key to wrap");
const context = { cluster: "main", purpose: "root-key" };
let aws: AwsResponder;
let client: kms.KMSClient;

beforeAll(async () => {
  aws = await startAwsResponder({ aliases: ["alias/coffer"] });
});
afterAll(() => aws.close());
beforeEach(() => {
  client = clientOf(aws);
});
afterEach(() => {
  client.destroy();
  aws.faults.clear();
});

function clientOf(
  of: AwsResponder,
  other: { region?: string; accessKeyId?: string; secretAccessKey?: string; sessionToken?: string } = {},
) {
  const { region = of.region, ...keys } = other;
  return new kms.KMSClient({
    endpoint: of.endpoint,
    region,
    maxAttempts: 1,
    credentials: { ...of.credentials, ...keys },
  });
}

/** Changes requests after they were signed, as somebody on the way would. */
function tamper(change: (request: { body: Uint8Array; headers: Record<string, string> }) => void): void {
  client.middlewareStack.add(
    (next) => (args) => {
      // The SDK types requests as unknown here; this protocol's have bytes as body and plain headers.
      change(args.request as { body: Uint8Array; headers: Record<string, string> });
      return next(args);
    },
    { step: "finalizeRequest", priority: "low", name: "tamper" },
  );
}

async function encrypt(KeyId = "alias/coffer", from = client) {
  return from.send(new kms.EncryptCommand({ KeyId, Plaintext: plaintext, EncryptionContext: context }));
}

describe("signatures", () => {
  it("accepts what the SDK signs", async () => {
    const { CiphertextBlob, KeyId } = await encrypt();
    const opened = await client.send(new kms.DecryptCommand({ CiphertextBlob, EncryptionContext: context }));
    expect(Buffer.from(opened.Plaintext ?? [])).toEqual(plaintext);
    expect(opened.KeyId).toBe(KeyId);
    expect(KeyId).toMatch(/^arn:aws:kms:eu-central-1:111122223333:key\/[0-9a-f-]{36}$/);
  });

  it.each([
    ["another secret", { secretAccessKey: "wrong" }, "InvalidSignatureException"],
    ["an unknown key", { accessKeyId: "AKIAUNKNOWNUNKNOWN00" }, "UnrecognizedClientException"],
    ["another region", { region: "us-east-1" }, "InvalidSignatureException"],
    ["a session token out of nowhere", { sessionToken: "x" }, "UnrecognizedClientException"],
  ])("refuses %s", async (_, other, name) => {
    const stranger = clientOf(aws, other);
    await expect(encrypt("alias/coffer", stranger)).rejects.toMatchObject({ name });
    stranger.destroy();
  });

  it.each<[string, (request: { body: Uint8Array; headers: Record<string, string> }) => void, string, string]>([
    [
      "a changed body",
      (request) => {
        request.body = Buffer.from(new TextDecoder().decode(request.body).replace("main", "niam"));
      },
      "InvalidSignatureException",
      "does not match",
    ],
    [
      "a header that was not signed",
      (request) => {
        request.headers["x-amz-extra"] = "1";
      },
      "InvalidSignatureException",
      "must be a 'SignedHeader'",
    ],
    [
      "an old signature",
      (request) => {
        request.headers["x-amz-date"] = "20200101T000000Z";
      },
      "InvalidSignatureException",
      "Signature expired",
    ],
    [
      "no signature",
      (request) => {
        delete request.headers["authorization"];
      },
      "MissingAuthenticationTokenException",
      "missing",
    ],
    [
      "half a signature",
      (request) => {
        request.headers["authorization"] = String(request.headers["authorization"]).replace(/, Signature.*/, "");
      },
      "IncompleteSignatureException",
      "requires",
    ],
  ])("refuses %s", async (_, change, name, message) => {
    tamper(change);
    await expect(encrypt()).rejects.toMatchObject({ name, message: expect.stringContaining(message) });
  });

  it("lets the client correct a clock that is wrong", async () => {
    const clock = new FakeClock(Date.UTC(2031, 0, 1));
    const future = await startAwsResponder({ aliases: ["alias/coffer"], clock });
    const late = clientOf(future);
    await expect(encrypt("alias/coffer", late)).rejects.toMatchObject({ name: "InvalidSignatureException" });
    await expect(encrypt("alias/coffer", late)).resolves.toMatchObject({ EncryptionAlgorithm: "SYMMETRIC_DEFAULT" });
    late.destroy();
    await future.close();
  });
});

describe("keys", () => {
  it("takes id, ARN, alias and alias ARN, and refuses others", async () => {
    const { keyId, arn } = aws.createKey({ alias: "alias/spellings" });
    for (const spelling of [keyId, arn, "alias/spellings", arn.replace(`key/${keyId}`, "alias/spellings")])
      await expect(encrypt(spelling)).resolves.toMatchObject({ KeyId: arn });
    for (const wrong of ["alias/none", "nonsense", keyId.replace(/./g, "0"), arn.replace("eu-central-1", "eu-west-1")])
      await expect(encrypt(wrong)).rejects.toMatchObject({ name: "NotFoundException" });
  });

  it("binds ciphertexts to context, key and every bit", async () => {
    const { CiphertextBlob: blob = new Uint8Array() } = await encrypt();
    const open = (change: Partial<kms.DecryptCommandInput>) =>
      client.send(new kms.DecryptCommand({ CiphertextBlob: blob, EncryptionContext: context, ...change }));
    const refused = { name: "InvalidCiphertextException" };
    await expect(open({ EncryptionContext: { ...context, purpose: "other" } })).rejects.toMatchObject(refused);
    await expect(open({ EncryptionContext: {} })).rejects.toMatchObject(refused);
    for (const at of [0, 3, 19, 25, 40, blob.length - 1]) {
      const damaged = Uint8Array.from(blob);
      damaged[at] = (damaged[at] ?? 0) ^ 1;
      await expect(open({ CiphertextBlob: damaged })).rejects.toMatchObject(refused);
    }
    const { keyId } = aws.createKey();
    await expect(open({ KeyId: keyId })).rejects.toMatchObject({ name: "IncorrectKeyException" });
    await expect(open({ KeyId: "alias/coffer" })).resolves.toMatchObject({ KeyId: expect.stringContaining("key/") });
  });

  it.each([
    [0, false],
    [1, true],
    [4096, true],
    [4097, false],
  ])("a plaintext of %d bytes: %s", async (length, accepted) => {
    const sent = client.send(new kms.EncryptCommand({ KeyId: "alias/coffer", Plaintext: new Uint8Array(length) }));
    if (accepted) await expect(sent).resolves.toMatchObject({ EncryptionAlgorithm: "SYMMETRIC_DEFAULT" });
    else await expect(sent).rejects.toMatchObject({ name: "ValidationException" });
  });

  it("lives: create, alias, disable, delete, cancel, rotate", async () => {
    const { KeyMetadata } = await client.send(new kms.CreateKeyCommand({ Description: "life" }));
    const KeyId = KeyMetadata?.KeyId ?? "";
    await client.send(new kms.CreateAliasCommand({ AliasName: "alias/life", TargetKeyId: KeyId }));
    const again = client.send(new kms.CreateAliasCommand({ AliasName: "alias/life", TargetKeyId: KeyId }));
    await expect(again).rejects.toMatchObject({ name: "AlreadyExistsException" });
    const { CiphertextBlob } = await encrypt("alias/life");
    const open = () => client.send(new kms.DecryptCommand({ CiphertextBlob, EncryptionContext: context }));
    await client.send(new kms.DisableKeyCommand({ KeyId }));
    await expect(encrypt(KeyId)).rejects.toMatchObject({ name: "DisabledException" });
    await expect(open()).rejects.toMatchObject({ name: "DisabledException" });
    await client.send(new kms.EnableKeyCommand({ KeyId }));
    await client.send(new kms.RotateKeyOnDemandCommand({ KeyId }));
    await expect(open()).resolves.toMatchObject({ KeyId: KeyMetadata?.Arn });
    const { Rotations } = await client.send(new kms.ListKeyRotationsCommand({ KeyId }));
    expect(Rotations).toHaveLength(1);
    const scheduled = await client.send(new kms.ScheduleKeyDeletionCommand({ KeyId, PendingWindowInDays: 7 }));
    expect(scheduled).toMatchObject({ KeyState: "PendingDeletion", DeletionDate: expect.any(Date) });
    await expect(open()).rejects.toMatchObject({ name: "KMSInvalidStateException" });
    await client.send(new kms.CancelKeyDeletionCommand({ KeyId }));
    const described = await client.send(new kms.DescribeKeyCommand({ KeyId: "alias/life" }));
    expect(described.KeyMetadata).toMatchObject({ KeyState: "Disabled", Description: "life", Enabled: false });
    const status = await client.send(new kms.GetKeyRotationStatusCommand({ KeyId }));
    expect(status.KeyRotationEnabled).toBe(false);
  });

  it("makes data keys and re-encrypts", async () => {
    const made = await client.send(new kms.GenerateDataKeyCommand({ KeyId: "alias/coffer", KeySpec: "AES_256" }));
    const { arn } = aws.createKey();
    const moved = await client.send(
      new kms.ReEncryptCommand({
        CiphertextBlob: made.CiphertextBlob,
        DestinationKeyId: arn,
        DestinationEncryptionContext: context,
      }),
    );
    const opened = await client.send(
      new kms.DecryptCommand({ CiphertextBlob: moved.CiphertextBlob, EncryptionContext: context, KeyId: arn }),
    );
    expect(opened.Plaintext).toEqual(made.Plaintext);
    expect(opened.Plaintext).toHaveLength(32);
  });
});

describe("access and faults", () => {
  it("allows what the policy allows: action, resource, context, and Deny wins", async () => {
    const { arn } = aws.createKey();
    const keys = { accessKeyId: "AKIALIMITEDLIMITED00", secretAccessKey: "limited" };
    aws.addPrincipal({
      ...keys,
      userName: "limited",
      policy: [
        { effect: "Allow", actions: ["kms:*"], resources: [arn], encryptionContext: { cluster: "main" } },
        { effect: "Deny", actions: ["kms:Decrypt"] },
      ],
    });
    const limited = clientOf(aws, keys);
    const { CiphertextBlob } = await encrypt(arn, limited);
    const denied = { name: "AccessDeniedException", message: expect.stringContaining("user/limited") };
    await expect(encrypt("alias/coffer", limited)).rejects.toMatchObject(denied);
    const bare = limited.send(new kms.EncryptCommand({ KeyId: arn, Plaintext: plaintext }));
    await expect(bare).rejects.toMatchObject(denied);
    const opening = limited.send(new kms.DecryptCommand({ CiphertextBlob, EncryptionContext: context }));
    await expect(opening).rejects.toMatchObject({ message: expect.stringContaining("explicit deny") });
    limited.destroy();
  });

  it("throttles, fails and is absent on demand", async () => {
    aws.faults.throttle(1, { operation: "Encrypt" });
    await expect(encrypt()).rejects.toMatchObject({ name: "ThrottlingException" });
    await encrypt();
    aws.faults.fail(1, { status: 503 });
    await expect(encrypt()).rejects.toMatchObject({ $metadata: { httpStatusCode: 503 } });
    aws.faults.down = true;
    await expect(encrypt()).rejects.toMatchObject({ code: "ECONNRESET" });
    aws.faults.clear();
    await encrypt();
  });

  it("has the same levers over HTTP", async () => {
    const post = (body: object) => fetch(`${aws.endpoint}/_control`, { method: "POST", body: JSON.stringify(body) });
    const created = await (await post({ createKey: { alias: "alias/http" } })).json();
    expect(created).toEqual({ createKey: { keyId: expect.any(String), arn: expect.stringContaining("arn:aws:kms") } });
    expect((await post({ disable: "alias/http", throttle: { count: 1 } })).status).toBe(200);
    await expect(encrypt("alias/http")).rejects.toMatchObject({ name: "ThrottlingException" });
    await expect(encrypt("alias/http")).rejects.toMatchObject({ name: "DisabledException" });
    await post({ down: true });
    await expect(encrypt()).rejects.toMatchObject({ code: "ECONNRESET" });
    await post({ clear: true, enable: "alias/http" });
    await encrypt("alias/http");
    const unknown = await post({ explode: true });
    expect(unknown.status).toBe(400);
    expect(await unknown.json()).toEqual({ error: expect.stringContaining("no such control: explode; known: clear") });
    const status = await (await fetch(`${aws.endpoint}/_control`)).json();
    expect(status).toMatchObject({ faults: { down: false, pending: 0 }, requests: { Encrypt: expect.any(Number) } });
  });
});

describe("as a process", () => {
  it("runs from one bundled file and keeps its keys over a restart", async () => {
    const folder = await mkdtemp(join(tmpdir(), "coffer-aws-"));
    const outfile = join(folder, "aws.mjs");
    await build({
      entryPoints: [join(import.meta.dirname, "../kit/aws/main.ts")],
      outfile,
      bundle: true,
      platform: "node",
      format: "esm",
      logLevel: "silent",
    });
    const run = async () => {
      const flags = ["-access-key=AKIAPROCESSPROCESS00", "-secret-key=s", "-alias=alias/kept"];
      const child = spawn(process.execPath, [outfile, ...flags, `-state=${join(folder, "state.json")}`]);
      const [line] = await once(createInterface({ input: child.stdout }), "line");
      const { endpoint } = JSON.parse(String(line));
      const credentials = { accessKeyId: "AKIAPROCESSPROCESS00", secretAccessKey: "s" };
      const own = new kms.KMSClient({ endpoint: String(endpoint), region: "eu-central-1", credentials });
      const stop = async () => {
        own.destroy();
        child.kill("SIGTERM");
        await once(child, "exit");
        return child.exitCode;
      };
      return { own, stop };
    };
    const first = await run();
    const { CiphertextBlob } = await encrypt("alias/kept", first.own);
    expect(await first.stop()).toBe(0);
    const second = await run();
    const opened = await second.own.send(new kms.DecryptCommand({ CiphertextBlob, EncryptionContext: context }));
    expect(Buffer.from(opened.Plaintext ?? [])).toEqual(plaintext);
    await second.stop();
    await rm(folder, { recursive: true });
  });
});

// Against a double on the wire that does what transit's encrypt and decrypt do, with real AES-GCM, versions of the key,
// associated data and context, and refuses other paths, tokens and namespaces.
import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";
import { createServer, type IncomingMessage, type Server } from "node:http";
import { afterEach, describe, expect, it } from "vitest";
import { systemClock } from "#common/clock.ts";
import { isJsonObject, type JsonObject, parseJson } from "#common/json.ts";
import { SecretBytes } from "#common/secret-bytes.ts";
import type { AutoSeal } from "../seal.ts";
import { transitSealType } from "./transit-seal.ts";

interface Double {
  readonly address: string;
  readonly keys: Buffer[];
  readonly renewals: string[];
  answer: { status: number; body: JsonObject } | undefined;
}

const servers: Server[] = [];
const seals: AutoSeal[] = [];
afterEach(async () => {
  await Promise.all(seals.splice(0).map((seal) => seal.close()));
  for (const server of servers.splice(0)) server.close();
});

async function startDouble(): Promise<Double> {
  const double = { address: "", keys: [randomBytes(32)], renewals: [], answer: undefined };
  const server = createServer(async (request, response) => {
    const { status, body } = await serve(double, request);
    response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  double.address = `http://127.0.0.1:${address.port}`;
  return double;
}

async function serve(double: Double, request: IncomingMessage): Promise<{ status: number; body: JsonObject }> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk);
  const parsed = parseJson(Buffer.concat(chunks).toString("utf8") || "{}");
  const body = isJsonObject(parsed) ? parsed : {};
  const token = request.headers["x-vault-token"];
  if (double.answer) return double.answer;
  if (token !== "t-1" || request.headers["x-vault-namespace"] !== "ops")
    return { status: 403, body: { errors: ["permission denied"] } };
  if (request.url === "/v1/auth/token/renew-self") {
    double.renewals.push(token);
    return { status: 200, body: { auth: { client_token: token } } };
  }
  const operation = /^\/v1\/seals\/transit\/(encrypt|decrypt)\/root$/.exec(request.url ?? "")?.[1];
  if (operation === undefined) return { status: 404, body: { errors: [] } };
  return operation === "encrypt" ? encrypt(double, body) : decrypt(double, body);
}

const bound = (body: JsonObject) =>
  Buffer.concat(["context", "associated_data"].map((member) => Buffer.from(String(body[member]), "base64")));

function encrypt({ keys }: Double, body: JsonObject) {
  const nonce = randomBytes(12);
  const cipher = createCipheriv("aes-256-gcm", keys.at(-1) ?? "", nonce).setAAD(bound(body));
  const text = Buffer.concat([cipher.update(String(body["plaintext"]), "base64"), cipher.final()]);
  const blob = Buffer.concat([nonce, text, cipher.getAuthTag()]).toString("base64");
  return { status: 200, body: { data: { ciphertext: `vault:v${keys.length}:${blob}`, key_version: keys.length } } };
}

function decrypt({ keys }: Double, body: JsonObject) {
  const [, version, text = ""] = /^vault:v(\d+):(.+)$/.exec(String(body["ciphertext"])) ?? [];
  const blob = Buffer.from(text, "base64");
  try {
    const decipher = createDecipheriv("aes-256-gcm", keys[Number(version) - 1] ?? "", blob.subarray(0, 12));
    decipher.setAAD(bound(body)).setAuthTag(blob.subarray(-16));
    const plaintext = Buffer.concat([decipher.update(blob.subarray(12, -16)), decipher.final()]);
    return { status: 200, body: { data: { plaintext: plaintext.toString("base64") } } };
  } catch {
    return { status: 400, body: { errors: ["cipher: message authentication failed"] } };
  }
}

async function open(address: string, stanza: JsonObject = {}, clusterName = "main"): Promise<AutoSeal> {
  const members = {
    address,
    token: "t-1",
    key_name: "root",
    mount_path: "seals/transit/",
    namespace: "ops",
    ...stanza,
  };
  const seal = await transitSealType.parse(members, {
    ...{ clusterName, clock: systemClock },
    readFile: async (path) => Buffer.from(path === "/token" ? "t-1\n" : "other"),
    environment: () => undefined,
  });
  if (seal.kind !== "auto") throw new Error("transit opens by itself");
  seals.push(seal);
  return seal;
}

describe("the transit seal", () => {
  it("opens what it wrapped, notices a rotation, and keeps its token alive", async () => {
    const double = await startDouble();
    const seal = await open(double.address);
    using root = SecretBytes.random(32);
    const wrapped = await seal.wrap(root, "root-key");
    expect(wrapped).toMatchObject({ seal: "transit", keyId: "seals/transit/root:v1" });
    double.keys.push(randomBytes(32));
    using opened = await seal.unwrap(wrapped, "root-key");
    expect(opened.equals(root)).toBe(true);
    expect(await seal.probe()).toMatchObject({ keyId: "seals/transit/root:v2" });
    expect(double.renewals).toEqual(["t-1"]);
  });

  it("binds cluster and purpose", async () => {
    const { address } = await startDouble();
    using root = SecretBytes.random(32);
    const wrapped = await (await open(address)).wrap(root, "root-key");
    const refused = { fault: "InvalidCiphertext", transient: false };
    await expect((await open(address)).unwrap(wrapped, "recovery-key")).rejects.toMatchObject(refused);
    await expect((await open(address, {}, "other")).unwrap(wrapped, "root-key")).rejects.toMatchObject(refused);
  });

  it("reads its token from a file for each call", async () => {
    const { address } = await startDouble();
    const fromFile = await open(address, { token: null, token_file: "/token", disable_renewal: true });
    expect(await fromFile.probe()).toMatchObject({ keyId: "seals/transit/root:v1" });
    await expect((await open(address, { token: null, token_file: "/old" })).probe()).rejects.toMatchObject({
      fault: "AccessDenied",
    });
  });

  it.each([
    [{ token: "t-2" }, undefined, "AccessDenied", false, "allow update on that path"],
    [{ namespace: "dev" }, undefined, "AccessDenied", false, "allow update on that path"],
    [{ key_name: "none" }, undefined, "KeyNotFound", false, "check mount_path, key_name"],
    [{}, { status: 429, body: { errors: ["slow down"] } }, "Throttled", true, "limits requests"],
    [{}, { status: 503, body: { errors: ["Vault is sealed"] } }, "Unreachable", true, "answers 503"],
    [{}, { status: 400, body: { errors: ["no such version"] } }, "Misconfigured", false, "no such version"],
    [{}, { status: 200, body: { data: { ciphertext: "what?" } } }, "Failed", false, "unknown form"],
  ] as const)("tells faults apart: %j %j", { timeout: 20_000 }, async (stanza, answer, fault, transient, says) => {
    const double = await startDouble();
    double.answer = answer;
    const seal = await open(double.address, stanza);
    const message = expect.stringContaining(says);
    await expect(seal.probe()).rejects.toMatchObject({ fault, transient, message });
  });

  it("says that nobody is there", { timeout: 20_000 }, async () => {
    const seal = await open("http://127.0.0.1:9");
    await expect(seal.probe()).rejects.toMatchObject({ fault: "Unreachable", transient: true });
  });

  it.each([
    [{ address: "vault" }, "address must be a URL"],
    [{ key_name: "a/b" }, "key_name must be"],
    [{ mount_path: "../sys" }, "mount_path must be"],
    [{ token: null }, "give token_file, token or"],
    [{ tls_client_cert: "/c" }, "tls_client_cert and tls_client_key together"],
    [{ keyname: "x" }, "keyname is not a setting"],
  ])("refuses the stanza %j", async (stanza, says) => {
    await expect(open("http://127.0.0.1:9", stanza)).rejects.toMatchObject({
      code: "invalid_request",
      message: expect.stringContaining(says),
    });
  });
});

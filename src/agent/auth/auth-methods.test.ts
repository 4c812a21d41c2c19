// Each auto-auth method as it is on the wire. Where our own server has no such method (jwt, cert, aws) the request is held
// against the documented shape, and AWS's signature against a strict STS.
import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeEach, describe, expect, it } from "vitest";
import { createApiClient } from "#client/api-client.ts";
import type { TlsOptions } from "#client/transport.ts";
import { systemClock } from "#common/clock.ts";
import { parseHcl } from "#common/hcl/parser.ts";
import { isJsonObject, type JsonObject } from "#common/json.ts";
import { type AwsResponder, startAwsResponder } from "#test/kit/aws/responder.ts";
import { authBlock, enveloped, refused, type ScriptedAnswer, startScriptedApi } from "#test/scripted-api.ts";

import { authMethods } from "./registry.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "coffer-auth-"));
  return () => rm(folder, { recursive: true, force: true });
});

const forever = new AbortController().signal;
const token = (name = "t") => enveloped(null, { auth: authBlock(name, 3600) });
const file = (name: string) => join(folder, name);

async function startLogin(type: string, config: string, script: () => ScriptedAnswer = () => token()) {
  const api = await startScriptedApi(script);
  const opened: TlsOptions[] = [];
  const open = (tls: TlsOptions = {}) => {
    opened.push(tls);
    return createApiClient({ ...tls, address: api.address, retries: 0, clock: systemClock });
  };
  const login = readMethod(
    type,
    config,
  )({
    ...{ client: open(), mountPath: `auth/${type}`, openClient: open, clock: systemClock, env: {} },
  });
  opened.length = 0;
  return { api, login, opened, body: () => bodyOf(api.seen.at(-1)?.body) };
}

function readMethod(type: string, config: string) {
  const method = authMethods.find((each) => each.type === type);
  if (method === undefined) throw new Error(`there is no method ${type}`);
  return method.read(parseHcl(config.replaceAll("FOLDER", folder)), { where: "config", warnings: [] });
}

function bodyOf(value: unknown): JsonObject {
  return isJsonObject(value as JsonObject) ? (value as JsonObject) : {};
}

it.each([
  ["kubernetes", "", "role is missing"],
  ["jwt", 'role = "r"', "path is missing"],
  ["approle", 'secret_id_file_path = "x"', "role_id_file_path is missing"],
  ["approle", 'role_id_file_path = "x"\nsecret_id_response_wrapping_path = "y"', "wants a secret_id_file_path"],
  ["cert", 'client_cert = "x"', "client_cert and client_key go together"],
  ["aws", 'role = "r"\naccess_key = "x"', "access_key and secret_key go together"],
  ["aws", 'role = "r"\ntype = "ec2"', "type must be one of iam"],
  ["token_file", "", "token_file_path is missing"],
  ["kubernetes", 'role = "r"\ntokn_path = "x"', 'did you mean "token_path"'],
])("%s with %j is refused: %s", (type, config, message) => {
  expect(() => readMethod(type, config)).toThrow(message);
});

describe("kubernetes", () => {
  it("sends the token of the ServiceAccount, read afresh", async () => {
    const { api, login, body } = await startLogin("kubernetes", 'role = "web"\ntoken_path = "FOLDER/sa"');
    await using _ = api;
    await writeFile(file("sa"), "one\n");
    await login(forever);
    expect(api.seen.at(-1)).toMatchObject({ method: "PUT", path: "auth/kubernetes/login" });
    expect(api.seen.at(-1)?.headers["x-vault-token"]).toBeUndefined();
    expect(body()).toEqual({ role: "web", jwt: "one" });
    await writeFile(file("sa"), "two");
    await login(forever);
    expect(body()).toEqual({ role: "web", jwt: "two" });
  });
});

describe("jwt", () => {
  const config = 'role = "web"\npath = "FOLDER/jwt"';
  it("removes the file after the login alone, and remembers what it held", async () => {
    let answer: ScriptedAnswer = refused(503, "not yet");
    const { api, login, body } = await startLogin("jwt", config, () => answer);
    await using _ = api;
    await writeFile(file("jwt"), "j1");
    await expect(login(forever)).rejects.toThrow("not yet");
    expect(await readFile(file("jwt"), "utf8")).toBe("j1");
    answer = token();
    await login(forever);
    await expect(stat(file("jwt"))).rejects.toThrow("ENOENT");
    await login(forever);
    expect(body()).toEqual({ role: "web", jwt: "j1" });
    await writeFile(file("jwt"), "j2");
    await login(forever);
    expect(body()).toEqual({ role: "web", jwt: "j2" });
  });

  it("keeps the file when told to", async () => {
    const { api, login } = await startLogin("jwt", `${config}\nremove_jwt_after_reading = false`);
    await using _ = api;
    await writeFile(file("jwt"), "j1");
    await login(forever);
    expect(await readFile(file("jwt"), "utf8")).toBe("j1");
    await rm(file("jwt"));
    await expect(login(forever)).rejects.toThrow("cannot read the JWT");
  });
});

describe("approle", () => {
  it("sends the role id alone where there is no secret id", async () => {
    const { api, login, body } = await startLogin("approle", 'role_id_file_path = "FOLDER/role"');
    await using _ = api;
    await writeFile(file("role"), "r1\n");
    await login(forever);
    expect(body()).toEqual({ role_id: "r1" });
  });

  it("logs in again with the secret id it once read", async () => {
    const config = 'role_id_file_path = "FOLDER/role"\nsecret_id_file_path = "FOLDER/secret"';
    const { api, login, body } = await startLogin("approle", config);
    await using _ = api;
    await writeFile(file("role"), "r1");
    await writeFile(file("secret"), "s1");
    await login(forever);
    await expect(stat(file("secret"))).rejects.toThrow("ENOENT");
    await login(forever);
    expect(body()).toEqual({ role_id: "r1", secret_id: "s1" });
  });
});

describe("cert", () => {
  it("shows its own certificate and reads it again when told to", async () => {
    const pair = 'client_cert = "FOLDER/c"\nclient_key = "FOLDER/k"';
    const { api, login, opened, body } = await startLogin("cert", `name = "web"\n${pair}\nreload = true`);
    await using _ = api;
    await writeFile(file("k"), "key");
    await writeFile(file("c"), "one");
    await login(forever);
    expect(body()).toEqual({ name: "web" });
    await writeFile(file("c"), "two");
    await login(forever);
    expect(opened.map(({ clientCertificate }) => String(clientCertificate?.cert))).toEqual(["one", "two"]);
  });

  it("takes the connection of the vault stanza without one", async () => {
    const { api, login, opened, body } = await startLogin("cert", "");
    await using _ = api;
    await login(forever);
    expect(opened).toEqual([]);
    expect(body()).toEqual({});
  });
});

describe("token_file", () => {
  it("looks the token up and gives it its ttl", async () => {
    const { api, login } = await startLogin("token_file", 'token_file_path = "FOLDER/token"', () =>
      enveloped({ id: "t0", ttl: 500, renewable: true, policies: ["p"], accessor: "a" }),
    );
    await using _ = api;
    await writeFile(file("token"), "t0\n");
    const { auth } = await login(forever);
    expect(auth).toMatchObject({ client_token: "t0", lease_duration: 500, renewable: true });
    expect(api.seen.at(-1)).toMatchObject({ path: "auth/token/lookup-self", headers: { "x-vault-token": "t0" } });
    await writeFile(file("token"), "\n");
    await expect(login(forever)).rejects.toThrow("is empty");
  });
});

describe("aws", () => {
  /** Sends the signed request on, as a server does: to its own endpoint, with the headers as they came. */
  async function replay(responder: AwsResponder, login: JsonObject): Promise<string> {
    const decoded = (name: string) => Buffer.from(String(login[name]), "base64").toString("utf8");
    const headers: Record<string, readonly string[]> = JSON.parse(decoded("iam_request_headers"));
    const flat = Object.fromEntries(Object.entries(headers).map(([name, values]) => [name, values.join(",")]));
    return new Promise((resolve, reject) => {
      const call = request(
        responder.endpoint,
        { method: String(login["iam_http_request_method"]), headers: flat },
        (answer) => {
          let text = "";
          answer.on("data", (chunk: Buffer) => (text += chunk));
          answer.on("end", () => resolve(text));
        },
      );
      call.on("error", reject);
      call.end(decoded("iam_request_body"));
    });
  }

  async function signed(responder: AwsResponder, more: string): Promise<JsonObject> {
    const config = `role = "web"\nregion = "${responder.region}"\nsts_endpoint = "${responder.endpoint}/"\n${more}`;
    const { api, login, body } = await startLogin("aws", config);
    await using _ = api;
    await login(forever);
    expect(api.seen.at(-1)?.path).toBe("auth/aws/login");
    return body();
  }

  it("signs a request by which STS knows the caller, bound to the server's id", async () => {
    const responder = await startAwsResponder();
    const { accessKeyId, secretAccessKey } = responder.credentials;
    const keys = `access_key = "${accessKeyId}"\nsecret_key = "${secretAccessKey}"`;
    const login = await signed(responder, `${keys}\nheader_value = "vault.example"`);
    expect(login).toMatchObject({ role: "web", iam_http_request_method: "POST" });
    const answer = await replay(responder, login);
    expect(answer).toContain("<GetCallerIdentityResult>");
    const headers = Buffer.from(String(login["iam_request_headers"]), "base64").toString("utf8");
    expect(JSON.parse(headers)["X-Vault-AWS-IAM-Server-ID"]).toEqual(["vault.example"]);
    expect(JSON.parse(headers)["Authorization"][0]).toContain("x-vault-aws-iam-server-id");
    const other = headers.replace("vault.example", "other.example");
    const forged = { ...login, iam_request_headers: Buffer.from(other).toString("base64") };
    expect(await replay(responder, forged)).toContain("SignatureDoesNotMatch");
    await responder.close();
  });

  it("signs with temporary credentials of a role", async () => {
    const responder = await startAwsResponder({ roles: [{ name: "pod", policy: [] }] });
    const session = responder.openSession("pod", systemClock.now() + 3_600_000);
    const keys = `access_key = "${session.accessKeyId}"\nsecret_key = "${session.secretAccessKey}"`;
    const login = await signed(responder, `${keys}\nsession_token = "${session.sessionToken}"`);
    expect(await replay(responder, login)).toContain("assumed-role/pod");
    await responder.close();
  });

  it.each([
    ["", "https://sts.amazonaws.com/", "us-east-1"],
    ['region = "eu-central-1"', "https://sts.eu-central-1.amazonaws.com/", "eu-central-1"],
    ['region = "cn-north-1"', "https://sts.cn-north-1.amazonaws.com.cn/", "cn-north-1"],
  ])("signs for the endpoint that servers use: %j", async (region, url, scope) => {
    const config = `role = "web"\naccess_key = "AKIAIOSFODNN7EXAMPLE"\nsecret_key = "s"\n${region}`;
    const { api, login, body } = await startLogin("aws", config);
    await using _ = api;
    await login(forever);
    expect(Buffer.from(String(body()["iam_request_url"]), "base64").toString()).toBe(url);
    expect(Buffer.from(String(body()["iam_request_headers"]), "base64").toString()).toContain(
      `/${scope}/sts/aws4_request`,
    );
  });
});

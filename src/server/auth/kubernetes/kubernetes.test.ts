import { generateKeyPairSync, type KeyObject } from "node:crypto";
import {
  createServer as createHttpServer,
  type IncomingMessage,
  type RequestListener,
  type Server,
  type ServerResponse,
} from "node:http";
import { createServer as createHttpsServer } from "node:https";
import { decodeJwt, SignJWT } from "jose";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { FakeClock, systemClock } from "#common/clock.ts";
import type { JsonObject } from "#common/json.ts";
import { createCertificateAuthority, issueServerCertificate } from "#common/x509.ts";
import { createHarness, type Harness, type HarnessOptions } from "../../framework/harness.ts";
import { ANSWER_BYTES_MAX } from "./api-server.ts";
import { JWT_BYTES_MAX } from "./claims.ts";
import { kubernetesType } from "./kubernetes.ts";
import { LOCAL_CA_FILE, LOCAL_TOKEN_FILE } from "./login.ts";

const NOW_SECONDS = Date.UTC(2026, 0, 1) / 1000;
const AUDIENCE = "https://kubernetes.default.svc";
const UID = "5c0e0e9e-0000-4000-8000-000000000003";
const { privateKey, publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
const PUBLIC_PEM = publicKey.export({ type: "spki", format: "pem" }).toString();

interface TokenParts {
  readonly namespace?: string;
  readonly name?: string;
  readonly claims?: JsonObject;
  readonly key?: KeyObject;
}

/** A ServiceAccount token as the cluster's API server would sign it. */
function token({ namespace = "prod", name = "app", claims = {}, key = privateKey }: TokenParts = {}): Promise<string> {
  const nested = { namespace, serviceaccount: { name, uid: UID } };
  const payload = { iss: "conform", aud: [AUDIENCE], iat: NOW_SECONDS, exp: NOW_SECONDS + 3600 };
  return new SignJWT({ ...payload, "kubernetes.io": nested, ...claims }).setProtectedHeader({ alg: "RS256" }).sign(key);
}

/** What the API server saw last. */
interface Seen {
  bearer?: string;
  audiences?: unknown;
  namespaces?: number;
  count: number;
}

/** A small API server that reviews tokens by their claims. The bearer says how it behaves. */
function reviewer(seen: Seen): RequestListener {
  return (request, response) => {
    let text = "";
    request.on("data", (chunk) => {
      text += chunk;
    });
    request.on("end", () => {
      if (request.method === "GET") return answerNamespace(request, response, seen);
      const { spec }: { spec: { token: string; audiences?: readonly string[] } } = JSON.parse(text);
      seen.count++;
      seen.bearer = (request.headers.authorization ?? "").slice("Bearer ".length);
      seen.audiences = spec.audiences;
      const answer = (status: number, body: string) => response.writeHead(status).end(body);
      if (seen.bearer === "denied") return answer(403, "{}");
      if (seen.bearer === "huge") return answer(201, " ".repeat(ANSWER_BYTES_MAX + 1));
      if (seen.bearer === "rubbish") return answer(201, "<html>");
      return answer(201, JSON.stringify({ status: statusOf(spec.token, spec.audiences ?? [], seen.bearer) }));
    });
  };
}

/** A namespace, labelled by the first part of its name. */
function answerNamespace(request: IncomingMessage, response: ServerResponse, seen: Seen): void {
  seen.namespaces = (seen.namespaces ?? 0) + 1;
  seen.bearer = (request.headers.authorization ?? "").slice("Bearer ".length);
  const name = (request.url ?? "").replace("/api/v1/namespaces/", "");
  const labels = { team: name.split("-")[0] };
  const metadata = { name: seen.bearer === "confused" ? "another" : name, ...(name !== "bare" && { labels }) };
  if (seen.bearer === "narrow") response.writeHead(403).end("{}");
  else if (name === "missing") response.writeHead(404).end("{}");
  else response.writeHead(200).end(JSON.stringify({ kind: "Namespace", metadata }));
}

function statusOf(jwt: string, wanted: readonly string[], bearer: string): JsonObject {
  const claims = decodeJwt<{ "kubernetes.io": { namespace: string; serviceaccount: { name: string; uid: string } } }>(
    jwt,
  );
  if (claims.iss !== "conform") return { user: {}, error: "invalid bearer token" };
  const { namespace, serviceaccount } = claims["kubernetes.io"];
  const uid = bearer === "recreated" ? "another" : serviceaccount.uid;
  const audiences = [claims.aud ?? []].flat().filter((audience) => wanted.includes(audience));
  const username = `system:serviceaccount:${namespace}:${serviceaccount.name}`;
  return { authenticated: true, user: { username, uid }, ...(bearer !== "unaware" && { audiences }) };
}

async function listen(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  return typeof address === "object" && address !== null ? address.port : 0;
}

const seen: Seen = { count: 0 };
const plain = createHttpServer(reviewer(seen));
let plainUrl = "";
let caPem = "";
let secure: Server;
let securePort = 0;

beforeAll(async () => {
  plainUrl = `http://127.0.0.1:${await listen(plain)}`;
  const authority = await createCertificateAuthority({ commonName: "test CA", days: 1, clock: systemClock });
  const pair = await issueServerCertificate(authority, {
    commonName: "test server",
    ipAddresses: ["127.0.0.1"],
    days: 1,
    clock: systemClock,
  });
  caPem = authority.certificatePem;
  secure = createHttpsServer({ cert: pair.certificatePem, key: pair.privateKeyPem.expose() }, reviewer(seen));
  securePort = await listen(secure);
});
afterAll(() => {
  plain.close();
  plain.closeAllConnections();
  secure.close();
  secure.closeAllConnections();
});

async function open(config: JsonObject = {}, role: JsonObject = {}, options: HarnessOptions = {}): Promise<Harness> {
  const kubernetes = await createHarness(kubernetesType, { clock: new FakeClock(NOW_SECONDS * 1000), ...options });
  await kubernetes.call("update", "config", {
    kubernetes_host: plainUrl,
    kubernetes_ca_cert: caPem,
    disable_local_ca_jwt: true,
    token_reviewer_jwt: "reviewer",
    ...config,
  });
  await kubernetes.call("update", "role/app", {
    bound_service_account_names: "app",
    bound_service_account_namespaces: "prod",
    token_policies: "p1",
    token_ttl: "10m",
    ...role,
  });
  return kubernetes;
}

const SELECTOR_ERROR =
  'bound_service_account_namespace_selector is no selector, such as {"matchLabels": {"team": "a"}}';

const login = (kubernetes: Harness, jwt: string) => kubernetes.call("update", "login", { role: "app", jwt });
const DENIED = { code: "permission_denied" };

describe("kubernetes auth: configuration", () => {
  it("is shown without the reviewer's token", async () => {
    const kubernetes = await open({ pem_keys: [PUBLIC_PEM], issuer: "conform", disable_iss_validation: false });
    expect((await kubernetes.call("read", "config"))?.data).toEqual({
      kubernetes_host: plainUrl,
      kubernetes_ca_cert: caPem,
      pem_keys: [PUBLIC_PEM.trim()],
      issuer: "conform",
      disable_iss_validation: false,
      disable_local_ca_jwt: true,
      token_reviewer_jwt_set: true,
    });
  });

  it.each([
    [{ kubernetes_host: "" }, "no host provided"],
    [{ kubernetes_ca_cert: "" }, "kubernetes_ca_cert must be given when disable_local_ca_jwt is true"],
    [{ kubernetes_ca_cert: "rubbish" }, "kubernetes_ca_cert is not a certificate as PEM"],
    [{ kubernetes_host: "ftp://x" }, "kubernetes_host must be an http or https URL"],
    [{ pem_keys: ["rubbish"] }, "pem_keys has an entry that is neither a public key nor a certificate as PEM"],
  ])("refuses %j", async (config, message) => {
    await expect(open(config)).rejects.toMatchObject({ code: "invalid_request", message });
  });

  it("is not there at first, and then logins say so", async () => {
    const kubernetes = await createHarness(kubernetesType);
    expect(await kubernetes.call("read", "config")).toBeUndefined();
    const bound = { bound_service_account_names: "*", bound_service_account_namespaces: "*" };
    await kubernetes.call("update", "role/app", bound);
    await expect(login(kubernetes, await token())).rejects.toMatchObject({ code: "invalid_request" });
  });
});

describe("kubernetes auth: roles", () => {
  it("keep what an update leaves out", async () => {
    const kubernetes = await open({}, { audience: "coffer", bound_service_account_namespaces: ["prod", "stage-*"] });
    await kubernetes.call("update", "role/APP", { alias_name_source: "serviceaccount_name", max_ttl: 3600 });
    expect((await kubernetes.call("read", "role/app"))?.data).toMatchObject({
      alias_name_source: "serviceaccount_name",
      audience: "coffer",
      bound_service_account_names: ["app"],
      bound_service_account_namespaces: ["prod", "stage-*"],
      token_max_ttl: 3600,
      token_ttl: 600,
    });
    expect(await kubernetes.call("list", "role/")).toEqual({ data: { keys: ["app"] } });
    await kubernetes.call("delete", "role/app");
    expect(await kubernetes.call("read", "role/app")).toBeUndefined();
  });

  it.each([
    [{ bound_service_account_names: "" }, '"bound_service_account_names" can not be empty'],
    [
      { bound_service_account_namespaces: "" },
      '"bound_service_account_namespaces" can not be empty if "bound_service_account_namespace_selector" is not set',
    ],
    [{ bound_service_account_namespace_selector: "team=a" }, SELECTOR_ERROR],
    [{ bound_service_account_names: "*,x" }, 'can not mix "*" with values'],
    [{ bound_service_account_namespaces: ["x", "*"] }, 'can not mix "*" with values'],
  ])("refuse %j", async (role, message) => {
    await expect(open({}, role)).rejects.toMatchObject({ code: "invalid_request", message });
  });

  it("refuse an unknown source of the alias", async () => {
    await expect(open({}, { alias_name_source: "moon" })).rejects.toThrow('invalid alias_name_source "moon"');
  });
});

describe("kubernetes auth: login", () => {
  it("grants what the cluster confirms", async () => {
    const kubernetes = await open({}, { token_boundary_policies: "boundary" });
    expect((await login(kubernetes, await token()))?.grant).toMatchObject({
      displayName: "prod-app",
      aliasName: UID,
      policies: ["p1"],
      metadata: {
        role: "app",
        service_account_name: "app",
        service_account_namespace: "prod",
        service_account_secret_name: "",
        service_account_uid: UID,
      },
      token: { ttlSeconds: 600, boundaryPolicies: ["boundary"] },
    });
    expect(seen).toMatchObject({ bearer: "reviewer", audiences: [AUDIENCE] });
  });

  it("names the alias by the account when the role says so", async () => {
    const kubernetes = await open({}, { alias_name_source: "serviceaccount_name" });
    expect((await login(kubernetes, await token()))?.grant?.aliasName).toBe("prod/app");
  });

  it("says what is missing", async () => {
    const kubernetes = await open();
    const jwt = await token();
    const refuses = (data: JsonObject, message: string) =>
      expect(kubernetes.call("update", "login", data)).rejects.toMatchObject({ code: "invalid_request", message });
    await refuses({ jwt }, "missing role");
    await refuses({ role: "app" }, "missing jwt");
    await refuses({ role: "none", jwt }, 'invalid role name "none"');
  });

  it("does not ask the cluster about tokens that cannot log in", async () => {
    const kubernetes = await open();
    const before = seen.count;
    const hopeless = [
      token({ name: "web" }),
      token({ namespace: "dev" }),
      token({ claims: { exp: NOW_SECONDS - 61 } }),
      token({ claims: { nbf: NOW_SECONDS + 61 } }),
      "rubbish",
      `${"a".repeat(JWT_BYTES_MAX)}.b.c`,
      `${Buffer.from('{"alg":"none"}').toString("base64url")}.e30.`,
    ];
    for (const jwt of hopeless) await expect(login(kubernetes, await jwt)).rejects.toMatchObject(DENIED);
    expect(seen.count).toBe(before);
  });

  it("matches patterns of names and namespaces", async () => {
    const bound = { bound_service_account_names: "a*", bound_service_account_namespaces: "pr*" };
    const kubernetes = await open({}, bound);
    expect((await login(kubernetes, await token()))?.grant?.displayName).toBe("prod-app");
    await expect(login(kubernetes, await token({ name: "web" }))).rejects.toThrow(
      "service account name not authorized",
    );
  });

  it("wants the role's audience in the token and in the review", async () => {
    const kubernetes = await open({}, { audience: "coffer" });
    await expect(login(kubernetes, await token())).rejects.toMatchObject(DENIED);
    const jwt = await token({ claims: { aud: ["coffer", "other"] } });
    expect((await login(kubernetes, jwt))?.grant?.displayName).toBe("prod-app");
    expect(seen.audiences).toEqual(["coffer"]);
    const unaware = await open({ token_reviewer_jwt: "unaware" }, { audience: "coffer" });
    await expect(login(unaware, jwt)).rejects.toMatchObject(DENIED);
  });

  it("holds to the issuer only when told to", async () => {
    const kubernetes = await open({ disable_iss_validation: false });
    await expect(login(kubernetes, await token())).rejects.toThrow("invalid issuer");
    const told = await open({ disable_iss_validation: false, issuer: "conform" });
    expect((await login(told, await token()))?.grant?.displayName).toBe("prod-app");
  });

  it("wants a signature of the fixed keys when there are any", async () => {
    const kubernetes = await open({ pem_keys: [PUBLIC_PEM] });
    const { privateKey: other } = generateKeyPairSync("rsa", { modulusLength: 2048 });
    expect((await login(kubernetes, await token()))?.grant?.displayName).toBe("prod-app");
    await expect(login(kubernetes, await token({ key: other }))).rejects.toMatchObject(DENIED);
  });

  it.each(["denied", "huge", "rubbish", "recreated"])("lets nobody in when the review is %s", async (bearer) => {
    const kubernetes = await open({ token_reviewer_jwt: bearer });
    await expect(login(kubernetes, await token())).rejects.toMatchObject(DENIED);
  });

  it("lets nobody in when the cluster knows the token not, or does not answer", async () => {
    await expect(login(await open(), await token({ claims: { iss: "elsewhere" } }))).rejects.toMatchObject(DENIED);
    const silent = await open({ kubernetes_host: "http://127.0.0.1:9" });
    await expect(login(silent, await token())).rejects.toMatchObject(DENIED);
  });

  it("uses the token itself when there is no reviewer", async () => {
    const kubernetes = await open({ token_reviewer_jwt: "" });
    const jwt = await token();
    expect((await login(kubernetes, jwt))?.grant?.displayName).toBe("prod-app");
    expect(seen.bearer).toBe(jwt);
  });

  it("asks its own cluster over TLS with the pod's token and CA, without any configuration", async () => {
    const kubernetes = await createHarness(kubernetesType, {
      clock: new FakeClock(NOW_SECONDS * 1000),
      environment: { KUBERNETES_SERVICE_HOST: "127.0.0.1", KUBERNETES_SERVICE_PORT: String(securePort) },
      files: { [LOCAL_TOKEN_FILE]: "local token\n", [LOCAL_CA_FILE]: caPem },
    });
    const bound = { bound_service_account_names: "*", bound_service_account_namespaces: "*" };
    await kubernetes.call("update", "role/app", bound);
    expect((await login(kubernetes, await token()))?.grant?.displayName).toBe("prod-app");
    expect(seen.bearer).toBe("local token");
  });

  it("does not trust a server that the CA did not sign", async () => {
    const another = await createCertificateAuthority({ commonName: "another CA", days: 1, clock: systemClock });
    const kubernetes = await open({
      kubernetes_host: `https://127.0.0.1:${securePort}`,
      kubernetes_ca_cert: another.certificatePem,
    });
    const before = seen.count;
    await expect(login(kubernetes, await token())).rejects.toMatchObject(DENIED);
    expect(seen.count).toBe(before);
  });
});

describe("kubernetes auth: namespaces by their labels", () => {
  const SELECTOR = '{"matchLabels":{"team":"red"}}';
  const bySelector = (config: JsonObject = {}, selector = SELECTOR) =>
    open(config, { bound_service_account_namespaces: "", bound_service_account_namespace_selector: selector });

  it.each([SELECTOR, "matchLabels:\n  team: red"])(
    "let in what the selector takes, and nothing else: %j",
    async (text) => {
      const kubernetes = await bySelector({}, text);
      const red = await login(kubernetes, await token({ namespace: "red-1" }));
      expect(red?.grant?.displayName).toBe("red-1-app");
      expect(seen.bearer).toBe("reviewer");
      for (const namespace of ["blue-1", "bare"])
        await expect(login(kubernetes, await token({ namespace }))).rejects.toThrow("namespace not authorized");
      expect((await kubernetes.call("read", "role/app"))?.data).toMatchObject({
        ...{ bound_service_account_namespaces: [], bound_service_account_namespace_selector: text },
      });
    },
  );

  it("count beside the names, which are looked at first", async () => {
    const kubernetes = await open({}, { bound_service_account_namespace_selector: SELECTOR });
    const before = seen.namespaces;
    expect((await login(kubernetes, await token()))?.grant?.displayName).toBe("prod-app");
    expect(seen.namespaces).toBe(before);
    expect((await login(kubernetes, await token({ namespace: "red" })))?.grant?.displayName).toBe("red-app");
  });

  it("are not asked for before the token is reviewed", async () => {
    const kubernetes = await bySelector();
    const before = seen.namespaces;
    const forged = token({ namespace: "red", claims: { iss: "elsewhere" } });
    await expect(login(kubernetes, await forged)).rejects.toMatchObject(DENIED);
    expect(seen.namespaces).toBe(before);
  });

  it.each(["narrow", "confused"])("let nobody in when they cannot be read: %s", async (bearer) => {
    const kubernetes = await bySelector({ token_reviewer_jwt: bearer });
    await expect(login(kubernetes, await token({ namespace: "red" }))).rejects.toMatchObject(DENIED);
  });

  it("let nobody in from a namespace that is gone", async () => {
    await expect(login(await bySelector(), await token({ namespace: "missing" }))).rejects.toMatchObject(DENIED);
  });
});

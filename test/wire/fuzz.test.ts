// Throws what no client sends at a real server: bodies, headers, paths, queries, policies, bytes. Nothing may end in a
// 5xx, hang, or harm the process. What was found once stands by name at the end.
import { connect } from "node:net";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { systemClock } from "#common/clock.ts";
import { isJsonObject, type JsonObject, type JsonValue, parseJson } from "#common/json.ts";
import { type OpenServer, startDevelopmentServer } from "#test/kit/server.ts";

/** Each property runs for at most this long, so that all of them end within 20 s. */
const PROPERTY_MILLIS = 3_000;
const RUNS_MAX = 2_000;
const ANSWER_MILLIS_MAX = 10_000;
const limits = { numRuns: RUNS_MAX, interruptAfterTimeLimit: PROPERTY_MILLIS };
/**
 * What ends the server's service, or the token's, because it was asked to (a locked namespace, a profile while another
 * one is taken: 503), and the log, which streams without an end.
 */
const LEFT_OUT =
  /^\/sys\/(seal|rotate|step-down|init|unseal|generate-root|rekey|rotate\/.*|monitor)$|revoke-self|^\/sys\/(quotas|pprof|namespaces\/api-lock)/;

interface Asked {
  readonly method: string;
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array;
}

let server: OpenServer;
interface ApiPath {
  readonly path: string;
  /** Of those that OpenAPI names. */
  readonly methods: readonly string[];
  /** The fields of its body. */
  readonly names: readonly string[];
}
let paths: readonly ApiPath[] = [];

beforeAll(async () => {
  server = await startDevelopmentServer();
  for (const [mount, type] of [
    ["sys/mounts/kv1", "kv"],
    ["sys/mounts/ssh", "ssh"],
    ["sys/auth/userpass", "userpass"],
    ["sys/auth/approle", "approle"],
  ])
    await ask({ method: "POST", path: `/${mount}`, body: `{"type":"${type}"}` });
  const text = await (await send({ method: "GET", path: "/sys/internal/specs/openapi" })).text();
  const document = parseJson(text);
  const found = Object.entries(member(document, "paths"));
  paths = found
    .map(([path, item]) => ({ path, names: fieldNames(item), methods: Object.keys(isJsonObject(item) ? item : {}) }))
    .filter(({ path }) => !LEFT_OUT.test(path));
  expect(paths.length).toBeGreaterThan(100);
});

afterAll(async () => {
  await server?.stop();
});

function member(value: JsonValue | undefined, ...names: readonly string[]): JsonObject {
  let at = value;
  for (const name of names) at = isJsonObject(at) ? at[name] : undefined;
  return isJsonObject(at) ? at : {};
}

function fieldNames(item: JsonValue): readonly string[] {
  const content = ["requestBody", "content", "application/json", "schema", "properties"];
  return Object.keys(member(item, "post", ...content));
}

function send({ method, path, headers, body }: Asked): Promise<Response> {
  return fetch(`${server.address}/v1${path}`, {
    method,
    redirect: "manual",
    headers: { "X-Vault-Token": server.rootToken, ...headers },
    signal: AbortSignal.timeout(ANSWER_MILLIS_MAX),
    // A copy: fetch wants bytes of a buffer that nobody shares.
    ...(body !== undefined && { body: typeof body === "string" ? body : Uint8Array.from(body) }),
  });
}

/** The status of an answer, which is JSON and no fault of the server. */
async function ask(asked: Asked): Promise<number> {
  const response = await send(asked);
  const text = await response.text();
  if (response.status >= 500) throw new Error(`${response.status} ${text} to ${JSON.stringify(asked)}`);
  if (response.headers.get("content-type") === "application/json" && text !== "") parseJson(text);
  return response.status;
}

/** A path of the API that takes one of these methods, with texts for its parameters, and the names of its fields. */
const apiPath = (...methods: readonly string[]) => {
  const value = fc.oneof(fc.constantFrom("a", "default", "kv1", "x/y"), fc.string({ minLength: 1 }));
  return fc
    .tuple(fc.nat(), fc.array(value, { minLength: 3, maxLength: 3 }))
    .map(([at, values]) => {
      let i = 0;
      const fitting = paths.filter((each) => methods.some((method) => each.methods.includes(method)));
      const { path, ...rest } = fitting[at % fitting.length] ?? { path: "/sys/health", methods: ["get"], names: [] };
      const filled = path.replace(/\{[^}]*\}/g, () => encodeURIComponent(cleaned(values[i++ % 3] ?? "a")));
      return { path: filled, ...rest };
    })
    .filter(({ path }) => !LEFT_OUT.test(decodeURIComponent(path)));
};

/** A call with fields that the path knows, and others, of any type. */
const apiCall = () =>
  apiPath("post").chain(({ path, names }) => {
    const name = fc.oneof(
      { weight: 6, arbitrary: fc.constantFrom(...(names.length > 0 ? names : ["data"])) },
      fc.constantFrom("__proto__", "constructor", "data", "options", "type"),
      fc.string(),
    );
    const value = fc.oneof(
      fc.jsonValue(),
      fc.integer(),
      fc.double({ noNaN: true, noDefaultInfinity: true }),
      fc.constantFrom(
        "",
        "1h",
        "-1",
        "9999999999999999999",
        "true",
        "a,b",
        "root",
        "default",
        "kv",
        null,
        true,
        [],
        {},
      ),
      fc.array(fc.constantFrom("a", "root", "", "10.0.0.0/8"), { maxLength: 3 }),
      fc.dictionary(fc.string(), fc.constantFrom("a", "", "1h", "2"), { maxKeys: 3 }),
    );
    return fc.record({ path: fc.constant(path), body: fc.dictionary(name, value, { maxKeys: 6 }) });
  });

/** encodeURIComponent refuses lone surrogates. */
function cleaned(text: string): string {
  return text.toWellFormed();
}

/** Sent at the same time. */
const several = <T>(one: fc.Arbitrary<T>) => fc.array(one, { minLength: 1, maxLength: 10 });

const json = () => fc.dictionary(fc.string(), fc.jsonValue(), { maxKeys: 4 });

describe("the server bears", () => {
  it("any JSON on any path", async () => {
    await fc.assert(
      fc.asyncProperty(several(apiCall()), async (calls) => {
        await Promise.all(calls.map(({ path, body }) => ask({ method: "POST", path, body: JSON.stringify(body) })));
      }),
      limits,
    );
  });

  it("bodies that are no JSON", async () => {
    const almost = json().chain((value) => {
      const text = JSON.stringify(value);
      return fc.nat(text.length).map((at) => Buffer.from(text.slice(0, at)));
    });
    const type = fc.constantFrom("application/json", "application/x-www-form-urlencoded", "text/plain", "");
    await fc.assert(
      fc.asyncProperty(fc.oneof(fc.uint8Array({ maxLength: 200 }), almost), type, async (body, contentType) => {
        const headers = { "Content-Type": contentType };
        await ask({ method: "POST", path: "/kv1/fuzz", headers, body });
        await ask({ method: "POST", path: "/secret/data/fuzz", headers, body });
      }),
      limits,
    );
  });

  it("any query, with reads, lists and deletes", async () => {
    const name = fc.oneof(fc.constantFrom("list", "scan", "help", "after", "limit", "version", "ttl"), fc.string());
    const query = fc.array(fc.tuple(name, fc.string()), { maxLength: 4 });
    await fc.assert(
      fc.asyncProperty(several(fc.tuple(apiPath("get", "delete"), query)), async (calls) => {
        for (const [{ path, methods }, pairs] of calls) {
          const parts = new URLSearchParams(
            pairs.map(([key, value]): [string, string] => [cleaned(key), cleaned(value)]),
          );
          const mayDelete = methods.includes("delete") && !/^\/sys\/(mounts|auth)\//.test(path);
          if (methods.includes("get")) await ask({ method: "GET", path: `${path}?${parts}` });
          if (mayDelete) await ask({ method: "DELETE", path: `${path}?${parts}` });
        }
      }),
      limits,
    );
  });

  it("any header", async () => {
    const name = fc.constantFrom(
      ...[
        "X-Vault-Token",
        "X-Vault-Namespace",
        "X-Vault-Wrap-TTL",
        "X-Vault-Wrap-Format",
        "Authorization",
        "Content-Type",
      ],
      ...["X-Forwarded-For", "Origin", "X-Vault-MFA", "X-Vault-Inline-Auth-Path", "Accept", "Expect"],
    );
    // What Node's client itself would refuse goes over a bare socket below.
    const value = fc.string({ unit: fc.integer({ min: 0x20, max: 0x7e }).map((c) => String.fromCharCode(c)) });
    await fc.assert(
      fc.asyncProperty(fc.dictionary(name, value, { maxKeys: 3 }), apiPath("get"), async (headers, { path }) => {
        const lines = Object.entries(headers).map(([key, text]) => `${key}: ${text}\r\n`);
        expect(
          await exchange(`GET /v1${path} HTTP/1.1\r\nHost: a\r\n${lines.join("")}Connection: close\r\n\r\n`),
        ).toMatch(/^HTTP\/1\.1 ([1-4]\d\d|503|501) /);
      }),
      limits,
    );
  });

  it("any bytes", async () => {
    const start = fc.constantFrom(
      "",
      "GET ",
      "LIST ",
      "LI",
      "SCAN /v1/",
      "POST /v1/kv1/a HTTP/1.1\r\n",
      "LIST /v1/kv1 HTTP/1.1\r\n",
    );
    await fc.assert(
      fc.asyncProperty(start, fc.uint8Array({ maxLength: 300 }), async (text, bytes) => {
        await exchange(Buffer.concat([Buffer.from(text), bytes]));
      }),
      limits,
    );
    expect(await ask({ method: "GET", path: "/sys/health" })).toBe(200);
  });

  it("any policy", async () => {
    const word = fc.constantFrom(
      ...[
        "path",
        '"secret/*"',
        '"+/a"',
        "{",
        "}",
        "[",
        "]",
        "=",
        ",",
        "capabilities",
        '"read"',
        '"deny"',
        "\n",
        "#",
        "/*",
        "*/",
      ],
      ...[
        "policy",
        "allowed_parameters",
        "min_wrapping_ttl",
        '"1h"',
        "<<EOT\n",
        "EOT\n",
        '"${',
        "}}",
        "{{identity.entity.id}}",
        "-1",
      ],
    );
    const text = fc.array(fc.oneof({ weight: 5, arbitrary: word }, fc.string()), { maxLength: 25 });
    await fc.assert(
      fc.asyncProperty(text, async (words) => {
        const policy = cleaned(words.join(" "));
        await ask({ method: "PUT", path: "/sys/policies/acl/fuzz", body: JSON.stringify({ policy }) });
      }),
      limits,
    );
  });
});

describe("found once", () => {
  const odd = '{"toString":1,"valueOf":1}';
  it.each([
    ["a number that a double cannot hold as a mount's TTL", "/sys/mounts/kv1/tune", '{"max_lease_ttl":1e17}', 400],
    ["a TTL beyond all dates", "/sys/mounts/kv1/tune", '{"max_lease_ttl":"9999999999999999s"}', 400],
    ["a TTL beyond all dates on a role", "/auth/approle/role/a", '{"token_ttl":1e300}', 400],
    ["an object with a toString of its own for a number", "/auth/token/create", `{"num_uses":${odd}}`, 400],
    ["the same for a lockout", "/sys/auth/userpass/tune", `{"user_lockout_config":{"lockout_threshold":${odd}}}`, 400],
    ["the same for a duration", "/sys/auth/userpass/tune", `{"max_lease_ttl":${odd}}`, 400],
    ["members that objects have anyway", "/kv1/odd", '{"__proto__":{"a":1},"constructor":2}', 204],
    ["half a character", "/kv1/odd", '{"a":"\\ud800"}', 400],
  ])("%s", async (_name, path, body, status) => {
    expect(await ask({ method: "POST", path, body })).toBe(status);
  });

  it("a secret that says it lives beyond all dates", async () => {
    await ask({ method: "POST", path: "/kv1/long", body: '{"ttl":1e300}' });
    expect(await ask({ method: "GET", path: "/kv1/long" })).toBe(200);
  });
});

/** What a server answers to bytes whose end it sees. */
function exchange(bytes: string | Uint8Array): Promise<string> {
  return new Promise((resolve, reject) => {
    const { hostname, port } = new URL(server.address);
    const stop = new AbortController();
    const socket = connect(Number(port), hostname);
    let text = "";
    socket.on("data", (chunk: Buffer) => {
      text += chunk.toString("latin1");
    });
    socket.on("error", () => {});
    socket.on("close", () => {
      stop.abort();
      resolve(text);
    });
    socket.write(bytes);
    // A request that is not whole waits for more: its end is what the client has to say.
    if (typeof bytes !== "string") socket.end();
    void systemClock.sleep(ANSWER_MILLIS_MAX, stop.signal).then(() => {
      socket.destroy();
      if (!stop.signal.aborted) reject(new Error(`no end of ${JSON.stringify(Buffer.from(bytes).toString("latin1"))}`));
    });
  });
}

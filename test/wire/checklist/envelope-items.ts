// Items 1 to 23: envelope, methods, bodies, paths.
import { expect } from "vitest";
import { type Api, at, type Item, multi, textAt } from "./checklist.ts";

const MEMBERS = ["request_id", "lease_id", "renewable", "lease_duration", "data", "wrap_info", "warnings", "auth"];

export const envelopeItems: readonly Item[] = [
  {
    number: 1,
    says: "a logical answer has all members of the envelope, null where unused; a wrapped one has an empty request id",
    async shows(api) {
      expect(Object.keys((await api.must("GET auth/token/lookup-self")).body ?? {})).toEqual(MEMBERS);
      const { body } = await api.must("GET auth/token/lookup-self", { headers: { "X-Vault-Wrap-TTL": "60" } });
      expect(body).toMatchObject({ request_id: "", data: null });
    },
  },
  {
    number: 2,
    says: "states of the server, errors and raw endpoints have no envelope",
    async shows(api) {
      for (const path of ["sys/init", "sys/seal-status", "sys/leader", "sys/health", "sys/in-flight-req"]) {
        const { body } = await api.must(`GET ${path}`);
        expect(body, path).toBeDefined();
        expect(body, path).not.toHaveProperty("request_id");
      }
      expect((await api.must("GET sys/metrics?format=prometheus")).body).toBe(undefined);
    },
  },
  {
    number: 3,
    says: "some reads of sys repeat their data at the top level, the newer ones do not",
    async shows(api) {
      for (const path of ["auth", "mounts", "mounts/one", "policy", "config/cors", "key-status", "policy/default"]) {
        const { body } = await api.must(`GET sys/${path}`);
        for (const name of Object.keys(at(body, "data") ?? {})) expect(body, path).toHaveProperty([name]);
      }
      expect((await api.must("GET sys/policies/acl/default")).body).not.toHaveProperty("policy");
    },
  },
  {
    number: 4,
    says: "errors are a list, empty without detail, with Go's form of several errors where clients know it",
    async shows(api) {
      await api.expectError(404, undefined, "GET one/absent");
      await api.expectError(404, multi("unsupported path"), "GET sys/absent");
    },
  },
  {
    number: 5,
    says: "what is not there and a list of nothing are 404 without detail",
    async shows(api) {
      await api.expectError(404, undefined, "GET two/data/absent");
      await api.expectError(404, undefined, "LIST one/nothing-there");
    },
  },
  {
    number: 6,
    says: "a deleted version is 404 with its metadata, also for PATCH; an unknown one is 404 without",
    async shows(api) {
      await api.must("POST two/data/gone", { body: { data: { a: "1" } } });
      await api.must("DELETE two/data/gone");
      const read = await api.ask("GET two/data/gone");
      expect(read.status).toBe(404);
      expect(read.body).toMatchObject({ data: { data: null, metadata: { version: 1, destroyed: false } } });
      await api.expectError(404, undefined, "GET two/data/gone?version=9");
      const patched = await api.ask("PATCH two/data/gone", { body: { data: { a: "2" } } });
      expect(patched.status).toBe(404);
      expect(patched.body).toMatchObject({ data: { version: 1, destroyed: false } });
      expect((await api.ask("PATCH two/data/never", { body: { data: { a: "2" } } })).status).toBe(404);
    },
  },
  {
    number: 7,
    says: "success without content is 204, still of the type JSON and not to be stored; with warnings it is 200",
    async shows(api) {
      const quiet = await api.must("POST one/quiet", { body: { a: "1" } });
      expect([quiet.status, quiet.text]).toEqual([204, ""]);
      expect(quiet.headers.get("content-type")).toBe("application/json");
      expect(quiet.headers.get("cache-control")).toBe("no-store");
      const told = await api.must("PUT sys/policy/told", { body: { rules: 'path "a" { capabilities = ["read"] }' } });
      expect(told.status).toBe(200);
      expect(at(told.body, "warnings")).toHaveLength(1);
    },
  },
  {
    number: 8,
    says: "lists come by LIST or ?list with a boolean, with or without a slash; SCAN lists below; after and limit page",
    async shows(api) {
      for (const name of ["a", "b", "c", "d/e"])
        await api.must(`POST two/data/l/${name}`, { body: { data: { v: "1" } } });
      const all = ["a", "b", "c", "d/"];
      for (const call of [
        "LIST two/metadata/l",
        "LIST two/metadata/l/",
        "GET two/metadata/l?list=1",
        "GET two/metadata/l/?list=t",
      ])
        expect(at((await api.must(call)).body, "data", "keys"), call).toEqual(all);
      await api.expectError(400, undefined, "GET two/metadata/l?list=perhaps");
      for (const call of ["SCAN two/metadata/l", "GET two/metadata/l?scan=true"])
        expect(at((await api.must(call)).body, "data", "keys"), call).toEqual(["a", "b", "c", "d/e"]);
      expect(at((await api.must("LIST two/metadata/l?after=a&limit=2")).body, "data", "keys")).toEqual(["b", "c"]);
    },
  },
  {
    number: 9,
    says: "PUT is POST; whether a write creates is what the ACL is asked",
    async shows(api) {
      await api.must("PUT one/put", { body: { a: "1" } });
      const token = await api.tokenWith('path "one/*" { capabilities = ["create"] }');
      expect((await api.ask("POST one/made", { token, body: { a: "1" } })).status).toBe(204);
      expect((await api.ask("POST one/made", { token, body: { a: "2" } })).status).toBe(403);
    },
  },
  {
    number: 10,
    says: "PATCH is a merge patch by its content type; null removes",
    async shows(api) {
      await api.must("POST two/data/patch", { body: { data: { a: "1", b: { c: "2", d: "3" } } } });
      const wrong = await api.ask("PATCH two/data/patch", {
        body: {},
        headers: { "Content-Type": "application/json" },
      });
      expect(wrong.status).toBe(415);
      await api.must("PATCH two/data/patch", { body: { data: { a: null, b: { c: "9" } }, options: { cas: 1 } } });
      const { body } = await api.must("GET two/data/patch");
      expect(at(body, "data", "data")).toEqual({ b: { c: "9", d: "3" } });
    },
  },
  {
    number: 11,
    says: "DELETE and GET take their fields from the query, DELETE reads no body",
    async shows(api) {
      for (const v of ["1", "2"]) await api.must("POST two/data/query", { body: { data: { v } } });
      const { body } = await api.must("GET two/data/query?version=1");
      expect(at(body, "data", "data")).toEqual({ v: "1" });
      expect((await api.ask("DELETE two/data/query", { raw: "{ no JSON" })).status).toBe(204);
    },
  },
  {
    number: 12,
    says: "HEAD is for health, OPTIONS for other origins, methods that nobody knows are 405",
    async shows(api) {
      expect(await api.ask("HEAD sys/health")).toMatchObject({ status: 200, text: "" });
      expect((await api.ask("HEAD one/a")).status).toBe(405);
      await api.expectError(405, undefined, "FOO one/a");
      await api.expectError(400, "cannot handle internal-only request operation", "OPTIONS one/a");
    },
  },
  {
    number: 13,
    says: "bodies are JSON whatever their type says, but for forms; the last of two equal keys counts, nothing may follow",
    async shows(api) {
      const write = (raw: string, type: string) => api.ask("POST one/body", { raw, headers: { "Content-Type": type } });
      const data = async () => at((await api.must("GET one/body")).body, "data");
      await write('{"a":"1","a":"2"}', "text/plain");
      expect(await data()).toEqual({ a: "2" });
      await write("a=b&c=d+e", "application/x-www-form-urlencoded");
      expect(await data()).toEqual({ a: "b", c: "d e" });
      for (const raw of ['["a"]', '{"a":1} x', "{", '"a"']) {
        const { status, text } = await write(raw, "application/json");
        expect([status, text.startsWith('{"errors":["failed to decode JSON input: ')]).toEqual([400, true]);
      }
      await api.expectError(400, "missing data fields", "POST one/body");
    },
  },
  {
    number: 14,
    says: "fields that an endpoint does not know, or takes from the path, are warned about",
    async shows(api) {
      const colour = await api.must("POST auth/token/create", {
        body: { policies: ["default"], ttl: "1m", colour: "red" },
      });
      expect(at(colour.body, "warnings")).toEqual(["Endpoint ignored these unrecognized parameters: [colour]"]);
      const path = await api.must("POST two/data/warned", { body: { data: { a: "1" }, path: "other" } });
      expect(at(path.body, "warnings")).toEqual([
        "Endpoint replaced the value of these parameters with the values captured from the endpoint's path: [path]",
      ]);
    },
  },
  {
    number: 15,
    says: "types are converted weakly, and the error names the field",
    async shows(api) {
      const { body } = await api.must("POST auth/token/create", {
        body: { num_uses: "3", renewable: "false", ttl: "1d", policies: "default,extra", meta: { n: 1 } },
      });
      expect(body).toMatchObject({
        auth: {
          num_uses: 3,
          renewable: false,
          lease_duration: 86_400,
          policies: ["default", "extra"],
          metadata: { n: "1" },
        },
      });
      const wrong = await api.ask("POST auth/token/create", { body: { num_uses: { a: 1 } } });
      expect(wrong.status).toBe(400);
      expect(wrong.text).toContain("num_uses");
    },
  },
  {
    number: 16,
    says: "numbers keep their digits in KV v1; what no double reaches is refused",
    async shows(api) {
      const raw = '{"big":9007199254740993,"one":1.0,"tenth":1.10}';
      await api.must("POST one/numbers", { raw });
      expect((await api.must("GET one/numbers")).text).toContain(`"data":${raw}`);
      await api.must("POST two/data/numbers", { raw: '{"data":{"tenth":1.10}}' });
      expect((await api.must("GET two/data/numbers")).text).toMatch(/"tenth":1\.10?\}/);
      expect((await api.ask("POST one/numbers", { raw: '{"a":1e400}' })).status).toBe(400);
    },
  },
  {
    number: 17,
    says: "durations are seconds, Go's text in KV v2; times are RFC 3339, an empty text or null where there is none",
    async shows(api) {
      await api.must("POST two/metadata/times", { body: { delete_version_after: "3h25m19s" } });
      await api.must("POST two/data/times", { body: { data: { a: "1" } } });
      await api.must("POST two/metadata/times", { body: { delete_version_after: "0s" } });
      const { body } = await api.must("GET two/metadata/times");
      expect(at(body, "data", "delete_version_after")).toBe("0s");
      expect(textAt(body, "data", "created_time")).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{1,9}Z$/);
      const root = await api.must("GET auth/token/lookup-self");
      expect(root.body).toMatchObject({ data: { expire_time: null, creation_ttl: 0 } });
    },
  },
  {
    number: 18,
    says: "a body beyond 32 MiB is 413",
    async shows(api) {
      const { status, text } = await api.ask("POST one/large", { raw: `{"a":"${"x".repeat(32 * 1024 * 1024)}"}` });
      expect([status, text.includes("larger than 33554432 bytes")]).toEqual([413, true]);
    },
  },
  {
    number: 19,
    says: "unclean paths are redirected, escapes decoded, control characters refused; outside /v1 there is nothing",
    shows: showPaths,
  },
  {
    number: 20,
    says: "nothing can be written to a path that ends in a slash",
    shows: (api) => api.expectError(400, "cannot write to a path ending in '/'", "POST one/a/", { body: { a: "1" } }),
  },
  {
    number: 21,
    says: "JSON is safe within HTML, keys in order, a newline at the end",
    async shows(api) {
      await api.must("POST one/html", { raw: '{"z":"<a>&","b":1}' });
      const { text } = await api.must("GET one/html");
      expect(text).toContain('"data":{"b":1,"z":"\\u003ca\\u003e\\u0026"}');
      expect(text.endsWith("}\n")).toBe(true);
    },
  },
  {
    number: 22,
    says: "?help=1 and HELP describe a path; OpenAPI shows everybody what the token may see",
    async shows(api) {
      for (const call of ["GET two/data/x?help=1", "HELP two/data/x"])
        expect((await api.must(call)).body, call).toMatchObject({ see_also: null, openapi: { openapi: "3.0.2" } });
      const seen = async (token: string | null) =>
        Object.keys(at((await api.must("GET sys/internal/specs/openapi", { token })).body, "paths") ?? {});
      expect(await seen(api.rootToken)).toContain("/two/data/{path}");
      expect(await seen(null)).not.toContain("/two/data/{path}");
    },
  },
  {
    number: 23,
    says: "no answer may be stored, and each names the namespace that was asked for",
    async shows(api) {
      const { headers } = await api.ask("GET sys/health", { headers: { "X-Vault-Namespace": "root" } });
      expect(headers.get("cache-control")).toBe("no-store");
      expect(headers.get("x-vault-namespace")).toBe("root");
      expect((await api.ask("GET one/absent")).headers.get("cache-control")).toBe("no-store");
    },
  },
];

async function showPaths(api: Api): Promise<void> {
  const go = (path: string) =>
    fetch(api.address + path, { redirect: "manual", headers: { "X-Vault-Token": api.rootToken } });
  for (const [path, location] of [
    ["/v1/one//a", "/v1/one/a"],
    ["/v1/one/..%2ftwo", "/v1/two"],
    ["/", "/ui/"],
  ] as const) {
    const answer = await go(path);
    expect([answer.status, answer.headers.get("location")], path).toEqual([307, location]);
  }
  const outside = await go("/v2/secret");
  expect([outside.status, await outside.text()]).toEqual([404, '{"errors":[]}\n']);
  await api.must("POST one/p%2Fq%20r%C3%A9", { body: { "k\u0001": "v" } });
  expect(at((await api.must("LIST one/p")).body, "data", "keys")).toEqual(["q ré"]);
  expect((await api.ask("GET one/a%00b")).status).toBe(400);
}

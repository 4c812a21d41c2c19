// Items 45 to 57: wrapping, leases, mounts, policies, KV, transit.
import { expect } from "vitest";
import { type Api, at, type Item, textAt } from "./checklist.ts";

const wrapped = (api: Api, ttl: string) =>
  api.ask("GET auth/token/lookup-self", { headers: { "X-Vault-Wrap-TTL": ttl } });

export const logicalItems: readonly Item[] = [
  {
    number: 45,
    says: "how long to wrap is seconds or a duration; what is neither, or negative, is refused",
    async shows(api) {
      for (const [ttl, seconds] of [
        ["60", 60],
        ["2m", 120],
      ] as const)
        expect(at((await wrapped(api, ttl)).body, "wrap_info", "ttl")).toBe(seconds);
      for (const ttl of ["soon", "-5"]) {
        const { status, text } = await wrapped(api, ttl);
        expect([status, text.includes("error parsing X-Vault-Wrap-TTL header: ")], ttl).toEqual([400, true]);
      }
    },
  },
  {
    number: 45,
    says: "X-Vault-Wrap-Format jwt makes the wrapping token a JWT",
    async shows(api) {
      const headers = { "X-Vault-Wrap-TTL": "60", "X-Vault-Wrap-Format": "jwt" };
      const { body } = await api.must("GET auth/token/lookup-self", { headers });
      expect(textAt(body, "wrap_info", "token")).toMatch(/^[\w-]+\.[\w-]+\.[\w-]+$/);
    },
  },
  {
    number: 46,
    says: "a wrapped answer can be taken once, by its token in header or body; a lookup needs no right",
    async shows(api) {
      const headers = { "X-Vault-Wrap-TTL": "60" };
      const { body } = await api.must("POST auth/token/create", {
        headers,
        body: { policies: ["default"], ttl: "1h" },
      });
      const token = textAt(body, "wrap_info", "token");
      for (const name of ["accessor", "ttl", "creation_time", "creation_path", "wrapped_accessor"])
        expect(at(body, "wrap_info")).toHaveProperty(name);
      const lookup = await api.must("POST sys/wrapping/lookup", { token: null, body: { token } });
      expect(at(lookup.body, "data", "creation_ttl")).toBe(60);
      const unwrapped = await api.must("POST sys/wrapping/unwrap", {
        token: null,
        headers: { "X-Vault-Token": token },
      });
      expect(textAt(unwrapped.body, "auth", "client_token")).not.toBe("");
      const text = "wrapping token is not valid or does not exist";
      await api.expectError(400, text, "POST sys/wrapping/unwrap", { body: { token } });
      const other = textAt((await wrapped(api, "60")).body, "wrap_info", "token");
      expect((await api.ask("GET auth/token/lookup-self", { token: other })).status).toBe(403);
      const unasked = "endpoint requires response wrapping to be used";
      await api.expectError(400, unasked, "POST sys/wrapping/wrap", { body: { a: "1" } });
    },
  },
  {
    number: 47,
    says: "leases that are not there have their own answers; revoking a prefix waits unless told not to",
    async shows(api) {
      const lease = { body: { lease_id: "nonsense" } };
      await api.expectError(400, "invalid lease", "POST sys/leases/lookup", lease);
      await api.expectError(400, "lease not found", "POST sys/leases/renew", lease);
      expect((await api.ask("POST sys/leases/revoke", lease)).status).toBe(204);
      await api.expectError(400, "lease_id must be specified", "POST sys/leases/lookup", { body: {} });
      expect((await api.ask("POST sys/leases/revoke-prefix/one", { body: {} })).status).toBe(204);
      const later = await api.ask("POST sys/leases/revoke-prefix/one", { body: { sync: false } });
      expect(later.status).toBe(202);
    },
  },
  {
    number: 48,
    says: "revoking a token takes its children, but for orphans",
    async shows(api) {
      const parent = await api.tokenWith('path "auth/token/create*" { capabilities = ["update", "sudo"] }');
      const make = async (path: string) =>
        textAt((await api.must(`POST auth/token/${path}`, { token: parent, body: {} })).body, "auth", "client_token");
      const child = await make("create");
      const orphan = await make("create-orphan");
      await api.must("POST auth/token/revoke", { body: { token: parent } });
      expect((await api.ask("GET auth/token/lookup-self", { token: child })).status).toBe(403);
      expect((await api.ask("GET auth/token/lookup-self", { token: orphan })).status).toBe(200);
    },
  },
  {
    number: 49,
    says: "KV v1 reads have a lease duration without a lease, their ttl if they name one; a name may be key and folder",
    async shows(api) {
      await api.must("POST one/lease", { body: { a: "1" } });
      expect((await api.must("GET one/lease")).body).toMatchObject({
        lease_id: "",
        renewable: false,
        lease_duration: 2_764_800,
      });
      await api.must("POST one/lease", { body: { ttl: "30m" } });
      expect(at((await api.must("GET one/lease")).body, "lease_duration")).toBe(1800);
      await api.must("POST one/f/x", { body: { a: "1" } });
      await api.must("POST one/f/x/y", { body: { a: "1" } });
      expect(at((await api.must("LIST one/f")).body, "data", "keys")).toEqual(["x", "x/"]);
      await api.expectError(400, "missing data fields", "POST one/f/x");
      await api.expectError(400, "no data provided", "POST two/data/f", { body: {} });
      expect((await api.ask("POST two/data/f", { body: { data: "text" } })).status).toBe(400);
    },
  },
  {
    number: 50,
    says: "check-and-set of KV v2",
    async shows(api) {
      const write = (cas: string | number) => ({ body: { data: { a: "1" }, options: { cas } } });
      const mismatch = "check-and-set parameter did not match the current version";
      await api.must("POST two/data/cas", write(0));
      await api.expectError(400, mismatch, "POST two/data/cas", write(0));
      await api.must("POST two/data/cas", write(1));
      const wrong = await api.ask("POST two/data/cas", write("x"));
      expect([wrong.status, wrong.text.includes("check-and-set parameter")]).toEqual([400, true]);
      await api.must("POST two/metadata/cas", { body: { cas_required: true } });
      const absent = { body: { data: { a: "1" } } };
      await api.expectError(400, "check-and-set parameter required for this call", "POST two/data/cas", absent);
    },
  },
  {
    number: 51,
    says: "KV v2 goes on counting after a delete; undelete and destroy are 204 always; versions are named by text",
    async shows(api) {
      const write = () => api.must("POST two/data/versions", { body: { data: { a: "1" } } });
      await write();
      await api.must("DELETE two/data/versions");
      expect(at((await write()).body, "data", "version")).toBe(2);
      for (const verb of ["undelete", "destroy"])
        expect((await api.ask(`POST two/${verb}/versions`, { body: { versions: [9] } })).status, verb).toBe(204);
      const { body } = await api.must("GET two/metadata/versions");
      expect(Object.keys(at(body, "data", "versions") ?? {})).toEqual(["1", "2"]);
      await api.must("DELETE two/metadata/versions");
      await api.expectError(404, undefined, "GET two/metadata/versions");
      expect(at((await write()).body, "data", "version")).toBe(1);
    },
  },
  {
    number: 52,
    says: "a KV v1 path on a KV v2 mount is 404 with a warning that CLIs print",
    async shows(api) {
      const { status, body } = await api.ask("GET two/wrong");
      expect(status).toBe(404);
      expect(JSON.stringify(at(body, "warnings"))).toContain("Invalid path for a versioned K/V secrets engine");
    },
  },
  {
    number: 53,
    says: "mounts that are there, or of no known type, or the server's own",
    async shows(api) {
      await api.expectError(400, "path is already in use at one/", "POST sys/mounts/one", { body: { type: "kv" } });
      const unknown = await api.ask("POST sys/mounts/three", { body: { type: "none" } });
      expect([unknown.status, unknown.text.includes("plugin not found in the catalog: none")]).toEqual([400, true]);
      expect((await api.ask("DELETE sys/mounts/absent")).status).toBe(204);
      for (const [call, text] of [
        ["DELETE sys/mounts/cubbyhole", 'cannot unmount \\"cubbyhole/\\"'],
        ["POST sys/mounts/sys", 'cannot mount \\"sys/\\"'],
        ["DELETE sys/auth/token", "token credential backend cannot be disabled"],
      ] as const) {
        const { status, text: got } = await api.ask(call, call.startsWith("POST") ? { body: { type: "kv" } } : {});
        expect([status, got.includes(text)], `${call}: ${got}`).toEqual([400, true]);
      }
    },
  },
  {
    number: 54,
    says: "a mount has all its members",
    async shows(api) {
      const { body } = await api.must("GET sys/mounts/one");
      const names = [
        "uuid",
        "plugin_version",
        "running_plugin_version",
        "running_sha256",
        "deprecation_status",
        "config",
      ];
      const more = ["type", "description", "accessor", "local", "seal_wrap", "external_entropy_access", "options"];
      for (const name of [...names, ...more]) expect(at(body, "data")).toHaveProperty(name);
      for (const name of ["default_lease_ttl", "max_lease_ttl", "force_no_cache"])
        expect(at(body, "data", "config")).toHaveProperty(name);
    },
  },
  {
    number: 55,
    says: "a mount without a TTL has the server's, shown by its tuning alone",
    async shows(api) {
      expect(at((await api.must("GET sys/mounts/one")).body, "data", "config", "default_lease_ttl")).toBe(0);
      expect(at((await api.must("GET sys/mounts/one/tune")).body, "data", "default_lease_ttl")).toBe(2_764_800);
    },
  },
  {
    number: 56,
    says: "policies have an old and a new form, lower-case names, and come back byte for byte",
    async shows(api) {
      const policy = '# mine\npath "a"   { capabilities = ["read"] }\n\n';
      await api.must("PUT sys/policies/acl/MiXed", { body: { policy } });
      expect(at((await api.must("GET sys/policies/acl/mixed")).body, "data", "policy")).toBe(policy);
      expect(at((await api.must("GET sys/policy/mixed")).body, "rules")).toBe(policy);
      const wrong = { body: { policy: 'path "a" { capabilities = ["fly"] }' } };
      expect((await api.ask("PUT sys/policies/acl/wrong", wrong)).status).toBe(400);
      await api.expectError(400, "cannot delete default policy", "DELETE sys/policies/acl/default");
      await api.expectError(400, 'cannot update "root" policy', "PUT sys/policies/acl/root", { body: { policy } });
    },
  },
  {
    number: 57,
    says: "keys of transit cannot be deleted unless that was allowed",
    async shows(api) {
      await api.must("POST sys/mounts/transit", { body: { type: "transit" } });
      await api.must("POST transit/keys/k", { body: {} });
      expect((await api.ask("DELETE transit/keys/k")).status).toBe(400);
    },
  },
];

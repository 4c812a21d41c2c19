// Items 24 to 44: authentication, tokens, ACL, protected paths, namespaces.
import { expect } from "vitest";
import { type Api, at, DENIED, type Item, multi, textAt } from "./checklist.ts";

export const tokenItems: readonly Item[] = [
  {
    number: 24,
    says: "the token's own header wins over a bearer token, whose scheme is case-sensitive; the query has none",
    async shows(api) {
      const bearer = (text: string) =>
        api.ask("GET auth/token/lookup-self", { token: null, headers: { Authorization: text } });
      expect((await bearer(`Bearer ${api.rootToken}`)).status).toBe(200);
      expect((await bearer(`bearer ${api.rootToken}`)).status).toBe(403);
      const both = { token: "nonsense", headers: { Authorization: `Bearer ${api.rootToken}` } };
      expect((await api.ask("GET auth/token/lookup-self", both)).status).toBe(403);
      expect((await api.ask(`GET auth/token/lookup-self?token=${api.rootToken}`, { token: null })).status).toBe(403);
    },
  },
  {
    number: 25,
    says: "without a token, or with one that is unknown or revoked, permission is denied; a login minds no bad token",
    async shows(api) {
      const revoked = await api.newToken({ policies: ["default"] });
      await api.must("POST auth/token/revoke", { body: { token: revoked } });
      for (const token of [null, "nonsense", revoked])
        await api.expectError(403, "permission denied", "GET auth/token/lookup-self", { token });
      await api.must("POST auth/userpass/login/somebody", { token: "nonsense", body: { password: "right" } });
    },
  },
  {
    number: 26,
    says: "a valid token without the right is refused in the form of several errors",
    async shows(api) {
      const token = await api.newToken({ policies: ["default"] });
      await api.expectError(403, DENIED, "GET one/a", { token });
    },
  },
  {
    number: 27,
    says: "an unknown mount is 404 with a token and 403 without; an unknown path of sys is 404, a wrong method 405",
    async shows(api) {
      await api.expectError(404, 'no handler for route "no/such". route entry not found.', "GET no/such");
      await api.expectError(403, "permission denied", "GET no/such", { token: null });
      await api.expectError(404, multi("unsupported path"), "GET sys/no-such");
      await api.expectError(405, multi("unsupported operation"), "DELETE sys/mounts");
    },
  },
  {
    number: 28,
    says: "the last use of a token works, the next does not",
    async shows(api) {
      const token = await api.newToken({ policies: ["default"], num_uses: 2 });
      const statuses = [];
      for (let i = 0; i < 3; i++) statuses.push((await api.ask("GET auth/token/lookup-self", { token })).status);
      expect(statuses).toEqual([200, 200, 403]);
    },
  },
  {
    number: 29,
    says: "operations on unknown tokens, accessors and roles have their own answers",
    async shows(api) {
      await api.expectError(403, "bad token", "POST auth/token/lookup", { body: { token: "nonsense" } });
      expect((await api.ask("POST auth/token/revoke", { body: { token: "nonsense" } })).status).toBe(204);
      await api.expectError(400, "token not found", "POST auth/token/renew", { body: { token: "nonsense" } });
      const accessor = await api.ask("POST auth/token/lookup-accessor", { body: { accessor: "nonsense" } });
      expect([accessor.status, accessor.text.includes("invalid accessor")]).toEqual([400, true]);
      await api.expectError(400, "unknown role none", "POST auth/token/create/none", { body: {} });
      const batch = await api.ask("POST auth/token/create", { body: { type: "batch", policies: ["root"] } });
      expect([batch.status, batch.text.includes("batch tokens cannot be root tokens")]).toEqual([400, true]);
      for (const id of ["a.b", "s.a", "hvs.a"])
        expect((await api.ask("POST auth/token/create", { body: { id } })).status, id).toBe(400);
    },
  },
  {
    number: 30,
    says: "a root token has no lease to renew; a TTL beyond the limit is capped with a warning",
    async shows(api) {
      await api.expectError(400, "lease is not renewable", "POST auth/token/renew-self", { body: {} });
      const { body } = await api.must("POST auth/token/create", { body: { policies: ["default"], ttl: "9999h" } });
      expect(at(body, "auth", "lease_duration")).toBe(2_764_800);
      expect(JSON.stringify(at(body, "warnings"))).toContain("exceeded the effective max_ttl");
    },
  },
  {
    number: 31,
    says: "a child gets no policy that its parent lacks; names are lower-case, sorted, once each; root swallows others",
    async shows(api) {
      const token = await api.tokenWith('path "auth/token/create" { capabilities = ["update"] }');
      expect((await api.ask("POST auth/token/create", { token, body: { policies: ["other"] } })).status).toBe(400);
      const { body } = await api.must("POST auth/token/create", { body: { policies: ["B", "a", "b"], ttl: "1h" } });
      expect(at(body, "auth", "policies")).toEqual(["a", "b", "default"]);
      const root = await api.must("POST auth/token/create", { body: { policies: ["root", "a"], ttl: "1h" } });
      expect(at(root.body, "auth", "policies")).toEqual(["root"]);
    },
  },
  {
    number: 32,
    says: "wrong logins are 400 without saying what was wrong, at an unknown mount 403",
    async shows(api) {
      const none = { token: null };
      const pair = { role_id: "nonsense", secret_id: "nonsense" };
      await api.expectError(400, "invalid role or secret ID", "POST auth/approle/login", { ...none, body: pair });
      const wrong = { ...none, body: { password: "wrong" } };
      await api.expectError(400, "invalid username or password", "POST auth/userpass/login/nobody", wrong);
      expect((await api.ask("POST auth/none/login/nobody", wrong)).status).toBe(403);
      const missing = [
        await api.ask("POST auth/approle/login", { ...none, body: {} }),
        await api.ask("POST auth/userpass/login/somebody", { ...none, body: {} }),
      ];
      for (const { status } of missing) expect([400, 500]).toContain(status);
    },
  },
  {
    number: 33,
    says: "accessors, lease ids and mount accessors have the forms that clients know",
    async shows(api) {
      const self = await api.must("POST auth/token/create", { body: { policies: ["default"], ttl: "1h" } });
      expect(textAt(self.body, "auth", "accessor")).toMatch(/^[A-Za-z0-9]{24}$/);
      expect(textAt(self.body, "auth", "client_token")).toMatch(/^(hvs|s)\.[A-Za-z0-9_-]{24,}$/);
      const mounts = await api.must("GET sys/mounts");
      expect(textAt(mounts.body, "data", "one/", "accessor")).toMatch(/^kv_[0-9a-f]{8}$/);
      const auth = await api.must("GET sys/auth");
      expect(textAt(auth.body, "data", "userpass/", "accessor")).toMatch(/^auth_userpass_[0-9a-f]{8}$/);
    },
  },
  {
    number: 34,
    says: "the auth block has all its members",
    async shows(api) {
      const { body } = await api.must("POST auth/userpass/login/somebody", {
        token: null,
        body: { password: "right" },
      });
      const names = [
        "client_token",
        "accessor",
        "policies",
        "token_policies",
        "metadata",
        "lease_duration",
        "renewable",
      ];
      const more = ["entity_id", "token_type", "orphan", "mfa_requirement", "num_uses"];
      for (const name of [...names, ...more]) expect(at(body, "auth")).toHaveProperty(name);
    },
  },
  {
    number: 35,
    says: "a lookup of a token has all its members",
    async shows(api) {
      const token = await api.newToken({ policies: ["default"] });
      const { body } = await api.must("GET auth/token/lookup-self", { token });
      const names = ["accessor", "creation_time", "creation_ttl", "display_name", "entity_id", "expire_time"];
      const more = ["explicit_max_ttl", "id", "issue_time", "meta", "num_uses", "orphan", "path", "policies"];
      for (const name of [...names, ...more, "renewable", "ttl", "type"]) expect(at(body, "data")).toHaveProperty(name);
    },
  },
  {
    number: 36,
    says: "a login that needs a second factor is answered with what is required",
    async shows(api) {
      const made = await api.must("POST identity/mfa/method/totp", { body: { issuer: "coffer" } });
      const method = textAt(made.body, "data", "method_id");
      expect(method).toMatch(/^[0-9a-f-]{36}$/);
      await api.must("POST sys/auth/guarded", { body: { type: "userpass" } });
      await api.must("POST auth/guarded/users/somebody", { body: { password: "right" } });
      const { body: mounts } = await api.must("GET sys/auth");
      const accessor = textAt(mounts, "data", "guarded/", "accessor");
      await api.must("POST identity/mfa/login-enforcement/guard", {
        body: { mfa_method_ids: [method], auth_method_accessors: [accessor] },
      });
      const login = await api.must("POST auth/guarded/login/somebody", { token: null, body: { password: "right" } });
      expect(textAt(login.body, "auth", "client_token")).toBe("");
      expect(textAt(login.body, "auth", "mfa_requirement", "mfa_request_id")).not.toBe("");
      expect(at(login.body, "auth", "mfa_requirement", "mfa_constraints")).toHaveProperty("guard");
      await api.must("DELETE identity/mfa/login-enforcement/guard");
    },
  },
  {
    number: 37,
    says: "a user with five failures is locked out, even with the right password",
    async shows(api) {
      await api.must("POST auth/userpass/users/unlucky", { body: { password: "right" } });
      const login = (password: string) =>
        api.ask("POST auth/userpass/login/unlucky", { token: null, body: { password } });
      for (let i = 0; i < 5; i++) await login("wrong");
      expect(await login("right")).toMatchObject({ status: 403, body: { errors: ["permission denied"] } });
    },
  },
  {
    number: 38,
    says: "each method asks for its capability; a list matches a rule with and without a slash",
    async shows(api) {
      const rules = ["read", "list", "delete", "patch", "update"].map(
        (name) => `path "two/metadata/${name}" { capabilities = ["${name}"] }`,
      );
      const token = await api.tokenWith(rules.join("\n"));
      // A write to what is not there would be a create.
      await api.must("POST two/metadata/update", { body: {} });
      const asked = { read: "GET", list: "LIST", delete: "DELETE", patch: "PATCH", update: "POST" } as const;
      for (const [name, method] of Object.entries(asked))
        for (const other of Object.keys(asked)) {
          const body = method === "POST" || method === "PATCH" ? { body: {} } : {};
          const { status } = await api.ask(`${method} two/metadata/${other}`, { token, ...body });
          expect(status === 403, `${method} ${other}`).toBe(name !== other);
        }
      const slash = await api.tokenWith('path "two/metadata/l/" { capabilities = ["list"] }');
      await api.must("POST two/data/l/x", { body: { data: { a: "1" } } });
      for (const path of ["two/metadata/l", "two/metadata/l/"])
        expect((await api.ask(`LIST ${path}`, { token: slash })).status, path).toBe(200);
    },
  },
  {
    number: 39,
    says: "what changes the server itself needs sudo",
    async shows(api) {
      const token = await api.tokenWith('path "*" { capabilities = ["create", "read", "update", "delete", "list"] }');
      const calls = [
        "GET sys/audit",
        "POST sys/auth/more",
        "POST sys/remount",
        "POST sys/rotate",
        "GET sys/config/cors",
      ];
      const more = ["GET sys/config/auditing/request-headers", "LIST sys/config/ui/headers", "LIST sys/leases/lookup"];
      const last = [
        "POST sys/leases/revoke-prefix/one",
        "POST sys/leases/revoke-force/one",
        "LIST auth/token/accessors",
      ];
      for (const call of [...calls, ...more, ...last])
        await api.expectError(403, DENIED, call, {
          token,
          ...(call.startsWith("POST") && { body: { type: "userpass" } }),
        });
    },
  },
  {
    number: 40,
    says: "states, wrapping lookups, the API's description and the mounts on show need no token",
    async shows(api) {
      const paths = ["init", "seal-status", "leader", "health", "internal/specs/openapi", "internal/ui/mounts"];
      for (const path of paths) expect((await api.ask(`GET sys/${path}`, { token: null })).status, path).toBe(200);
      expect((await api.ask("POST sys/wrapping/lookup", { token: null, body: { token: "nonsense" } })).status).toBe(
        400,
      );
    },
  },
  {
    number: 41,
    says: "the mounts on show, and the mount of a path as KV clients ask for it",
    async shows(api) {
      const open = await api.must("GET sys/internal/ui/mounts", { token: null });
      expect(open.body).toMatchObject({ data: { auth: {}, secret: {} } });
      const token = await api.tokenWith('path "two/data/a" { capabilities = ["read"] }');
      const mine = await api.must("GET sys/internal/ui/mounts", { token });
      expect(Object.keys(at(mine.body, "data", "secret") ?? {})).toContain("two/");
      expect(Object.keys(at(mine.body, "data", "secret") ?? {})).not.toContain("one/");
      const mount = await api.must("GET sys/internal/ui/mounts/two/data/a", { token });
      expect(mount.body).toMatchObject({ data: { path: "two/", options: { version: "2" } } });
      const text =
        'preflight capability check returned 403, please ensure client\'s policies grant access to path "one/"';
      await api.expectError(403, text, "GET sys/internal/ui/mounts/one", { token });
    },
  },
  {
    number: 42,
    says: "the sum of a token's rights, and its capabilities on a path",
    async shows(api) {
      expect((await api.must("GET sys/internal/ui/resultant-acl")).body).toMatchObject({ data: { root: true } });
      const token = await api.tokenWith(
        'path "one/a" { capabilities = ["read"] }\npath "two/*" { capabilities = ["list"] }',
      );
      const { body } = await api.must("GET sys/internal/ui/resultant-acl", { token });
      expect(body).toMatchObject({
        data: {
          exact_paths: { "one/a": { capabilities: ["read"] } },
          glob_paths: { "two/": { capabilities: ["list"] } },
        },
      });
      const own = await api.must("POST sys/capabilities-self", { token, body: { paths: ["one/a"] } });
      expect(own.body).toMatchObject({ capabilities: ["read"], "one/a": ["read"] });
      const none = await api.must("POST sys/capabilities-self", { token, body: { paths: ["three/a"] } });
      expect(at(none.body, "capabilities")).toEqual(["deny"]);
      const root = await api.must("POST sys/capabilities-self", { body: { paths: ["one/a"] } });
      expect(at(root.body, "capabilities")).toEqual(["root"]);
    },
  },
  {
    number: 43,
    says: "a namespace before the path is the same as one in the header",
    async shows(api) {
      await api.must("POST sys/namespaces/team", { body: {} });
      await api.must("POST team/sys/namespaces/inner", { body: {} });
      const byPath = await api.must("GET team/inner/sys/mounts");
      const both = await api.must("GET inner/sys/mounts", { headers: { "X-Vault-Namespace": "/team/" } });
      const byHeader = await api.must("GET sys/mounts", { headers: { "X-Vault-Namespace": "team/inner" } });
      expect(at(both.body, "data")).toEqual(at(byPath.body, "data"));
      expect(at(byHeader.body, "data")).toEqual(at(byPath.body, "data"));
    },
  },
  {
    number: 44,
    says: "a namespace that is not there is 404",
    shows: (api) =>
      api.expectError(404, "namespace not found", "GET sys/mounts", { headers: { "X-Vault-Namespace": "none" } }),
  },
  {
    number: 44,
    says: "a namespace has an id and a uuid, and goes in its own time",
    async shows(api: Api) {
      const { body } = await api.must("POST sys/namespaces/mine", { body: { custom_metadata: { a: "b" } } });
      expect(body).toMatchObject({ data: { path: "mine/", locked: false, tainted: false } });
      const headers = { "X-Vault-Namespace": "mine" };
      await api.expectError(400, "operation unavailable in namespaces", "GET sys/audit", { headers });
      await api.must("POST sys/namespaces/api-lock/lock/mine", { body: {} });
      expect((await api.ask("GET sys/mounts", { headers })).status).toBe(503);
      await api.must("POST sys/namespaces/api-lock/unlock/mine", { body: {} });
      const ended = await api.must("DELETE sys/namespaces/mine");
      expect(ended.body).toMatchObject({ data: { status: "in-progress" } });
    },
  },
];

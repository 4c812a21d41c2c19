// The promise of permission boundaries over the whole pipeline: whatever a bounded token does with tokens, roles,
// policies and wrapping, neither it nor what it makes ever reaches beyond the boundary.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { JsonObject } from "#common/json.ts";
import { type Core, objectOf, startCore, textOf } from "#test/kit/core.ts";
import { compileAcl } from "../policy/acl.ts";
import { boundAcl } from "../policy/bounded-acl.ts";
import { parsePolicy } from "../policy/parse-policy.ts";
import { globKey } from "../policy/resultant-acl.ts";
import { isPattern } from "../policy/rule-index.ts";

const EVERYTHING = 'path "*" { capabilities = ["create", "read", "update", "delete", "list", "patch", "sudo"] }';
const grant = (path: string) =>
  `path "${path}" { capabilities = ["create", "read", "update", "delete", "list", "patch", "sudo"] }`;
/** All that a team needs to look after itself, and nothing of others. */
const FENCE = [
  "secret/in/*",
  "auth/token/*",
  "cubbyhole/*",
  "sys/wrapping/*",
  "sys/policies/acl/*",
  "sys/capabilities*",
  "auth/roles/role/own",
  "auth/roles/role/own/*",
]
  .map(grant)
  .concat('path "sys/policies/acl/fence" { capabilities = ["deny"] }')
  .join("\n");

async function startFenced(): Promise<{ core: Core; bounded: string }> {
  const core = await startCore();
  await core.policy("all", EVERYTHING);
  await core.policy("fence", FENCE);
  await core.root("update", "sys/mounts/secret", { type: "kv" });
  await core.root("update", "secret/in/a", { v: "inside" });
  await core.root("update", "secret/out/a", { v: "outside" });
  await core.root("update", "sys/auth/roles", { type: "approle", config: { token_boundary_policies: ["fence"] } });
  await core.root("update", "auth/roles/role/r", {
    ...{ bind_secret_id: false, token_bound_cidrs: "127.0.0.0/8", token_policies: "all" },
  });
  const roleId = textOf((await core.root("read", "auth/roles/role/r/role-id")).data, "role_id");
  const login = await core.send("", "update", "auth/roles/login", { role_id: roleId });
  return { core, bounded: textOf(login.auth, "client_token") };
}

/** Every way out that there could be; none may succeed. */
async function escapes(core: Core, token: string): Promise<readonly string[]> {
  const attempts = [
    ["read", "secret/out/a"],
    ["list", "secret/out"],
    ["update", "secret/out/b", { v: 1 }],
    ["delete", "secret/out/a"],
    ["read", "sys/mounts"],
    ["update", "sys/policies/acl/fence", { policy: EVERYTHING }],
    ["update", "sys/policies/acl/Fence", { policy: EVERYTHING }],
    ["delete", "sys/policies/acl/fence/"],
    ["update", "sys/policy/fence", { policy: EVERYTHING }],
    ["update", "sys/auth/roles/tune", { token_boundary_policies: [] }],
    ["update", "auth/roles/role/r", { token_policies: "root" }],
  ] as const;
  const found: string[] = [];
  for (const [operation, path, data] of attempts) {
    const { status } = await core.send(token, operation, path, data ?? {});
    if (status < 400) found.push(`${operation} ${path}: ${status}`);
  }
  return found;
}

interface Act {
  readonly by: number;
  readonly operation?: "update" | "patch";
  readonly path: string;
  readonly data: JsonObject;
  readonly wrap: boolean;
}

const policies = fc.oneof(
  fc.constant(["all"]),
  fc.uniqueArray(fc.constantFrom("all", "own", "default", "fence", "root", "response-wrapping"), { maxLength: 3 }),
);
const newToken = fc.record<JsonObject>(
  {
    policies,
    type: fc.constantFrom("service", "batch"),
    no_parent: fc.boolean(),
    no_default_policy: fc.boolean(),
    period: fc.constant("1h"),
    num_uses: fc.constantFrom(0, 50),
    id: fc.constantFrom("chosen-1", "chosen-2"),
    // Mostly none: without a role it is refused, and sequences are to make tokens.
    entity_alias: fc.constantFrom("", "", "", "somebody"),
  },
  { requiredKeys: [] },
);
const newRole = fc.record<JsonObject>(
  {
    allowed_policies: policies,
    allowed_policies_glob: fc.constantFrom(["*"], []),
    disallowed_policies: fc.constantFrom(["fence"], []),
    orphan: fc.boolean(),
    token_type: fc.constantFrom("service", "batch", "default-service"),
    token_boundary_policies: fc.constantFrom<string[]>([], ["all"], ["own"]),
    allowed_entity_aliases: fc.constant(["*"]),
  },
  { requiredKeys: [] },
);
/** A role at the auth method whose mount carries the boundary. */
const newAuthRole = fc.record<JsonObject>(
  {
    token_policies: policies,
    token_boundary_policies: fc.constantFrom<string[]>([], ["all"], ["own"]),
    token_type: fc.constantFrom("service", "batch"),
    token_strictly_bind_ip: fc.boolean(),
    bind_secret_id: fc.constant(false),
    token_bound_cidrs: fc.constant("127.0.0.0/8"),
  },
  { requiredKeys: ["token_policies", "bind_secret_id", "token_bound_cidrs"] },
);
const newPolicy = fc.record<JsonObject>(
  {
    policy: fc.constantFrom(
      EVERYTHING,
      'path "secret/{{token.metadata.role_name}}/*" { capabilities = ["read", "list"] }',
      'path "secret/*" { capabilities = ["list"] list_scan_response_keys_filter_path = "{{ .path }}{{ .key }}" }',
    ),
    ttl: fc.constant("1h"),
    allow_wildcards_in_identity_templates: fc.boolean(),
    allow_slashes_in_identity_templates: fc.boolean(),
  },
  { requiredKeys: [] },
);
const act = (path: fc.Arbitrary<string>, data: fc.Arbitrary<JsonObject>): fc.Arbitrary<Act> =>
  fc.record({ by: fc.nat({ max: 20 }), path, data, wrap: fc.boolean() });
const text = fc.constantFrom(EVERYTHING, FENCE, 'path "secret/out/*" { capabilities = ["read"] }');
const acts = fc.array(
  fc.oneof(
    {
      weight: 3,
      arbitrary: act(
        fc.constantFrom("auth/token/create", "auth/token/create-orphan", "auth/token/create/role"),
        newToken,
      ),
    },
    act(fc.constant("auth/token/roles/role"), newRole),
    act(
      fc.constantFrom("own", "all", "default", "FENCE", "fence"),
      text.map((policy) => ({ policy })),
    ).map((made) => ({
      ...made,
      path: `sys/policies/acl/${made.path}`,
    })),
    act(fc.constantFrom("sys/policies/acl/own", "sys/policies/acl/fence", "sys/policies/acl/Fence"), newPolicy).map(
      (patched) => ({ ...patched, operation: "patch" as const }),
    ),
    act(fc.constant("auth/roles/role/own"), newAuthRole),
    act(fc.constantFrom("auth/token/renew-self", "sys/wrapping/wrap", "auth/token/revoke-orphan"), newToken),
  ),
  { maxLength: 8 },
);

/** Does it, and answers the token that came of it, unwrapped when it was wrapped. */
async function perform(
  core: Core,
  pool: readonly string[],
  { by, operation = "update", path, data, wrap }: Act,
): Promise<string | undefined> {
  const token = pool[by % pool.length] ?? "";
  const reply = await core.send(token, operation, path, data, wrap ? { wrapTtlSeconds: 60 } : {});
  if (path === "auth/roles/role/own") return logInBy(core, token);
  let { auth } = reply;
  const wrapInfo = objectOf(reply.body, "wrap_info");
  if (typeof wrapInfo["token"] === "string") {
    const rewrapped = await core.send(token, "update", "sys/wrapping/rewrap", { token: wrapInfo["token"] });
    const last = objectOf(rewrapped.body, "wrap_info")["token"] ?? wrapInfo["token"];
    auth = (await core.send(String(last), "update", "sys/wrapping/unwrap")).auth;
  }
  return path.startsWith("auth/token/create") && typeof auth["client_token"] === "string"
    ? auth["client_token"]
    : undefined;
}

/** The token of the role that a bounded token has written, if it could. */
async function logInBy(core: Core, token: string): Promise<string | undefined> {
  const { data } = await core.send(token, "read", "auth/roles/role/own/role-id");
  const { auth } = await core.send("", "update", "auth/roles/login", { role_id: data["role_id"] ?? "" });
  return typeof auth["client_token"] === "string" ? auth["client_token"] : undefined;
}

describe("a bounded token", () => {
  it("may do what its policies and the boundary both allow", async () => {
    const { core, bounded } = await startFenced();
    expect((await core.send(bounded, "read", "secret/in/a")).data).toEqual({ v: "inside" });
    expect((await core.send(bounded, "update", "secret/in/b", { v: 1 })).status).toBe(204);
    expect((await core.send(bounded, "update", "sys/policies/acl/own", { policy: EVERYTHING })).status).toBe(204);
    expect((await core.send(bounded, "read", "auth/token/lookup-self")).data["boundary_policies"]).toEqual(["fence"]);
    expect(await escapes(core, bounded)).toEqual([]);
  });

  it("never gets beyond it, nor does anything it makes", async () => {
    let made = 0;
    await fc.assert(
      fc.asyncProperty(acts, async (steps) => {
        const { core, bounded } = await startFenced();
        const pool = [bounded];
        for (const step of steps) {
          const token = await perform(core, pool, step);
          if (token !== undefined) pool.push(token);
        }
        made += pool.length - 1;
        for (const token of pool) expect(await escapes(core, token)).toEqual([]);
        expect((await core.root("read", "secret/out/a")).data).toEqual({ v: "outside" });
        expect((await core.root("read", "sys/policies/acl/fence")).data["policy"]).toBe(FENCE);
      }),
      { numRuns: 25 },
    );
    expect(made).toBeGreaterThan(0); // how many is chance; that sequences make tokens at all is not
  });

  it("writes roles and policies that are bounded as it is", async () => {
    const { core, bounded } = await startFenced();
    const role = { token_policies: "all", bind_secret_id: false, token_bound_cidrs: "127.0.0.0/8" };
    expect((await core.send(bounded, "update", "auth/roles/role/own", role)).status).toBe(204);
    const made = (await logInBy(core, bounded)) ?? "";
    expect((await core.send(made, "read", "secret/in/a")).status).toBe(200);
    expect(await escapes(core, made)).toEqual([]);
    expect((await core.send(bounded, "patch", "sys/policies/acl/fence", { policy: EVERYTHING })).status).toBe(403);
  });

  it("may do nothing once the boundary's policy has run out", async () => {
    const { core, bounded } = await startFenced();
    await core.root("patch", "sys/policies/acl/fence", { ttl: 60 });
    expect((await core.send(bounded, "read", "secret/in/a")).status).toBe(200);
    core.clock.advance(60_000);
    expect((await core.send(bounded, "read", "secret/in/a")).status).toBe(403);
  });

  it("loses what the boundary loses, with the next request", async () => {
    const { core, bounded } = await startFenced();
    await core.policy("fence", grant("secret/none/*"));
    expect((await core.send(bounded, "read", "secret/in/a")).status).toBe(403);
  });

  it("may do nothing when the boundary's policy is not there", async () => {
    const { core, bounded } = await startFenced();
    await core.root("delete", "sys/policies/acl/fence");
    expect((await core.send(bounded, "read", "secret/in/a")).status).toBe(403);
  });

  it("is bounded by the mount, the user and the role, all of them", async () => {
    const { core, bounded } = await startFenced();
    await core.policy("narrow", grant("secret/in/a"));
    await core.root("update", "auth/roles/role/r", { token_boundary_policies: "narrow" });
    const roleId = textOf((await core.root("read", "auth/roles/role/r/role-id")).data, "role_id");
    const login = await core.send("", "update", "auth/roles/login", { role_id: roleId });
    const narrow = textOf(login.auth, "client_token");
    expect((await core.send(narrow, "read", "secret/in/a")).status).toBe(200);
    expect((await core.send(narrow, "read", "secret/in/none")).status).toBe(403);
    expect((await core.send(bounded, "read", "secret/in/none")).status).toBe(404);
  });
});

const words = ["create", "read", "update", "delete", "list", "patch", "sudo", "deny"] as const;
const rule = fc.tuple(
  fc.constantFrom("a", "a/", "a/*", "a/b", "a/b*", "a/+", "+/b", "a/+/c", "*", "b/*"),
  fc.uniqueArray(fc.constantFrom(...words), { maxLength: 4 }),
);
const aclOf = (rules: readonly (readonly [string, readonly string[]])[]) =>
  compileAcl([
    parsePolicy(
      "p",
      rules.map(([path, list]) => `path "${path}" { capabilities = ${JSON.stringify(list)} }`).join("\n"),
    ),
  ]);
const acl = fc.array(rule, { maxLength: 5 }).map(aclOf);
const bounded = fc.oneof(
  acl,
  fc.tuple(acl, acl).map(([own, boundary]) => boundAcl(own, boundary)),
);

describe("what a token is told it may do", () => {
  it("is what it may do", () => {
    const operation = fc.constantFrom("create", "read", "update", "delete", "patch");
    const path = fc.constantFrom("a", "b", "a/b", "a/bc", "a/b/c", "c/b", "a/b/", "sys/x");
    fc.assert(
      fc.property(bounded, operation, path, (subject, wanted, asked) => {
        expect(subject.check({ operation: wanted, path: asked }).allowed).toBe(
          subject.capabilities(asked).includes(wanted),
        );
        const folder = asked.endsWith("/") ? asked : `${asked}/`;
        expect(subject.check({ operation: "list", path: asked }).allowed).toBe(
          subject.capabilities(folder).includes("list"),
        );
      }),
    );
  });

  it("is the same in the resultant ACL", () => {
    fc.assert(
      fc.property(bounded, (subject) => {
        const { exact_paths, glob_paths } = subject.resultant();
        for (const [path, entry] of Object.entries(exact_paths))
          expect(objectOf({ entry }, "entry")["capabilities"]).toEqual(subject.capabilities(path));
        for (const pattern of subject.patterns.filter(isPattern)) {
          const shown = objectOf(glob_paths, globKey(pattern))["capabilities"] ?? ["deny"];
          const path = (pattern.endsWith("*") ? `${pattern.slice(0, -1)}zz/zz/zz` : pattern).replaceAll("+", "zz");
          expect(shown).toEqual(subject.capabilities(path));
        }
      }),
    );
  });
});

import { beforeEach, describe, expect, it } from "vitest";
import { FakeClock } from "#common/clock.ts";
import type { JsonObject } from "#common/json.ts";
import { type InProcessServer, startInProcessServer } from "#test/kit/in-process-server.ts";
import { MAX_LEASES_MAX } from "../sys/quota-paths.ts";
import { isExempt, matchQuota, type QuotaSubject } from "./quota-match.ts";
import type { QuotaRule } from "./quota-record.ts";
import { RateLimiter } from "./rate-limiter.ts";

const rule = (name: string, members: Partial<QuotaRule>): QuotaRule => ({
  kind: "rate-limit",
  name,
  namespace: "",
  path: "",
  mountPath: "",
  role: "",
  inheritable: false,
  ...members,
});

describe("which quota is for a request", () => {
  const rules = [
    rule("all", {}),
    rule("mount", { path: "a/", mountPath: "a/" }),
    rule("pattern", { path: "a/x/*", mountPath: "a/" }),
    rule("longer", { path: "a/x/y*", mountPath: "a/" }),
    rule("exact", { path: "a/x/yz", mountPath: "a/" }),
    rule("role", { path: "auth/u/", mountPath: "auth/u/", role: "r" }),
    rule("auth", { path: "auth/u/", mountPath: "auth/u/" }),
    rule("ns", { namespace: "n" }),
    rule("heirs", { namespace: "n/m", inheritable: true }),
    rule("leases", { kind: "lease-count" }),
  ];
  const subject = (members: Partial<QuotaSubject>): QuotaSubject => ({
    namespace: "",
    mountPath: "b/",
    path: "b/k",
    role: "",
    ...members,
  });
  it.each<[string, Partial<QuotaSubject>]>([
    ["all", {}],
    ["mount", { mountPath: "a/", path: "a/k" }],
    ["pattern", { mountPath: "a/", path: "a/x/1" }],
    ["longer", { mountPath: "a/", path: "a/x/y" }],
    ["exact", { mountPath: "a/", path: "a/x/yz" }],
    ["role", { mountPath: "auth/u/", path: "auth/u/login", role: "r" }],
    ["auth", { mountPath: "auth/u/", path: "auth/u/login", role: "other" }],
    ["ns", { namespace: "n", mountPath: "a/", path: "a/k" }],
    ["all", { namespace: "n/o" }],
    ["heirs", { namespace: "n/m/deep" }],
    ["all", { namespace: "n/mm" }],
  ])("%s for %j", (name, members) => {
    expect(matchQuota(rules, "rate-limit", subject(members))?.name).toBe(name);
  });

  it("none of another kind, and none where none is", () => {
    expect(matchQuota(rules, "lease-count", subject({}))?.name).toBe("leases");
    expect(matchQuota([rules[1] ?? rule("", {})], "rate-limit", subject({}))).toBeUndefined();
  });

  it("exempts paths, and with * all that begins so", () => {
    expect(isExempt(["a/b", "c/*"], "a/b")).toBe(true);
    expect(isExempt(["a/b", "c/*"], "a/bc")).toBe(false);
    expect(isExempt(["a/b", "c/*"], "c/d/e")).toBe(true);
  });
});

describe("a token bucket", () => {
  const allowance = { rate: 3, intervalSeconds: 60, blockSeconds: 0 };
  it("gives its rate at once, and then as time passes", async () => {
    const clock = new FakeClock();
    const limiter = new RateLimiter(clock);
    const remaining = [1, 2, 3].map(() => limiter.take("c", allowance).remaining);
    expect(remaining).toEqual([2, 1, 0]);
    expect(limiter.take("c", allowance)).toEqual({ allowed: false, limit: 3, remaining: 0, resetSeconds: 20 });
    expect(limiter.take("other", allowance).allowed).toBe(true);
    await clock.advance(20_000);
    expect(limiter.take("c", allowance).allowed).toBe(true);
    expect(limiter.take("c", allowance).allowed).toBe(false);
    await clock.advance(24 * 3600 * 1000);
    expect(limiter.take("c", allowance).remaining).toBe(2);
  });

  it("refuses altogether for the block interval", async () => {
    const clock = new FakeClock();
    const limiter = new RateLimiter(clock);
    const blocking = { rate: 1, intervalSeconds: 1, blockSeconds: 10 };
    limiter.take("c", blocking);
    expect(limiter.take("c", blocking)).toMatchObject({ allowed: false, resetSeconds: 10 });
    await clock.advance(9_000);
    expect(limiter.take("c", blocking)).toMatchObject({ allowed: false, resetSeconds: 1 });
    await clock.advance(1_000);
    expect(limiter.take("c", blocking).allowed).toBe(true);
  });

  it("takes fractions, and rates below one", async () => {
    const clock = new FakeClock();
    const limiter = new RateLimiter(clock);
    const slow = { rate: 0.5, intervalSeconds: 1, blockSeconds: 0 };
    expect(limiter.take("c", slow).allowed).toBe(true);
    await clock.advance(1_999);
    expect(limiter.take("c", slow).allowed).toBe(false);
    await clock.advance(1);
    expect(limiter.take("c", slow).allowed).toBe(true);
  });

  it("remembers no more clients than it may", () => {
    const limiter = new RateLimiter(new FakeClock(), 2);
    for (const client of ["a", "b", "a", "c"]) limiter.take(client, allowance);
    expect(limiter.size).toBe(2);
    expect(limiter.take("a", allowance).remaining).toBe(0);
    expect(limiter.take("b", allowance).remaining).toBe(2);
  });
});

describe("quotas through the API", () => {
  let server: InProcessServer;
  beforeEach(async () => {
    server = await startInProcessServer();
    await server.call("update", "sys/mounts/a", { type: "kv", options: { version: "1" } });
    await server.call("update", "a/k", { v: "1" });
  });
  it("says what it is, and is nothing else", async () => {
    const write = (path: string, data: JsonObject) => server.call("update", `sys/quotas/${path}`, data);
    expect((await write("rate-limit/q", { rate: 5, type: "rate-limit" })).status).toBe(204);
    expect((await server.call("read", "sys/quotas/rate-limit/q")).data["type"]).toBe("rate-limit");
    expect((await write("rate-limit/q", { rate: 5, type: "lease-count" })).error).toContain("'type'");
    expect((await write("lease-count/q", { max_leases: 5, type: "rate-limit" })).error).toContain("'type'");
  });

  const limit = (name: string, data: JsonObject) => server.call("update", `sys/quotas/rate-limit/${name}`, data);
  const get = (address = "10.0.0.1") => server.call("read", "a/k", {}, { remoteAddress: address });

  it("limits each client and says so in headers", async () => {
    expect((await limit("q", { path: "a", rate: 2, interval: "1m" })).status).toBe(204);
    await server.call("update", "sys/quotas/config", { enable_rate_limit_response_headers: true });
    expect((await get()).headers).toEqual({
      "X-Ratelimit-Limit": "2",
      "X-Ratelimit-Remaining": "1",
      "X-Ratelimit-Reset": "30",
    });
    await get();
    const refused = await get();
    expect(refused.status).toBe(429);
    expect(refused.error).toBe('request path "a/k": rate limit quota exceeded');
    expect(refused.headers["Retry-After"]).toBe("30");
    expect((await get("10.0.0.2")).status).toBe(200);
    expect((await server.call("read", "sys/health")).status).toBe(200);
  });

  it("counts a request with a bad token by its address, whatever its path", async () => {
    await limit("q", { path: "", rate: 1, interval: "60s", group_by: "entity_then_ip" });
    const guess = async (path: string, remoteAddress: string) =>
      (await server.call("read", path, {}, { token: "x", remoteAddress })).status;
    const statuses = async (path: string, address: string) => {
      const seen: number[] = [];
      for (let i = 0; i < 4; i++) seen.push(await guess(path, address));
      return seen;
    };
    expect(await statuses("a/k", "10.0.0.1")).toEqual([403, 429, 429, 429]);
    expect(await statuses("nowhere/k", "10.0.0.2")).toEqual([403, 429, 429, 429]);
    expect((await get("10.0.0.1")).status).toBe(429);
    expect((await get("10.0.0.3")).status).toBe(200);
  });

  it("lets exempt paths pass, and all clients share where grouping says so", async () => {
    await limit("q", { path: "a", rate: 1, interval: "1h", group_by: "none" });
    expect((await get("10.0.0.1")).status).toBe(200);
    expect((await get("10.0.0.2")).status).toBe(429);
    await server.call("update", "sys/quotas/config", { rate_limit_exempt_paths: "/v1/a/*" });
    expect((await get("10.0.0.2")).status).toBe(200);
    expect((await server.call("read", "sys/quotas/config")).data).toEqual({
      rate_limit_exempt_paths: ["a/*"],
      absolute_rate_limit_exempt_paths: [],
      enable_rate_limit_audit_logging: false,
      enable_rate_limit_response_headers: false,
    });
  });

  it("limits the logins of one role", async () => {
    await server.call("update", "sys/auth/u", { type: "userpass" });
    for (const name of ["x", "y"]) await server.call("update", `auth/u/users/${name}`, { password: "pw" });
    await limit("q", { path: "auth/u", role: "x", rate: 1, interval: "1h" });
    const login = (name: string) => server.call("update", `auth/u/login/${name}`, { password: "pw" }, { token: "" });
    expect((await login("x")).status).toBe(200);
    expect((await login("x")).status).toBe(429);
    expect((await login("y")).status).toBe(200);
  });

  it("follows its mount to another path", async () => {
    await limit("q", { path: "a/k", rate: 1, interval: "1h" });
    await server.call("update", "sys/remount", { from: "a", to: "b" });
    expect((await server.call("read", "sys/quotas/rate-limit/q")).data).toMatchObject({ path: "b/k" });
    expect((await server.call("read", "b/k")).status).toBe(200);
    expect((await server.call("read", "b/k")).status).toBe(429);
  });

  it.each<[JsonObject, string]>([
    [{ path: "a" }, "'rate' is invalid"],
    [{ path: "a", rate: "x" }, "'rate' is invalid"],
    [{ path: "a", rate: 1, interval: 0 }, "'interval' must be"],
    [{ path: "a", rate: 1, interval: "25h" }, "'interval' must be"],
    [{ path: "a", rate: 1, block_interval: -1 }, "'block_interval' must be"],
    [{ path: "a", rate: 1, group_by: "moon" }, "'group_by' must be one of"],
    [{ path: "a", rate: 1, role: "r" }, "no auth method"],
    [{ rate: 1, role: "r" }, "must have the path of an auth method"],
    [{ path: "none", rate: 1 }, 'invalid mount path "none"'],
  ])("refuses %j", async (data, text) => {
    const answer = await limit("bad", data);
    expect(answer.status).toBe(400);
    expect(answer.error).toContain(text);
    expect((await server.call("list", "sys/quotas/rate-limit")).status).toBe(404);
  });
});

describe("lease count quotas", () => {
  let server: InProcessServer;
  beforeEach(async () => {
    server = await startInProcessServer();
    await server.call("update", "sys/auth/u", { type: "userpass" });
    await server.call("update", "auth/u/users/x", { password: "pw" });
  });
  const login = () => server.call("update", "auth/u/login/x", { password: "pw" }, { token: "" });
  const most = (data: JsonObject) => server.call("update", "sys/quotas/lease-count/q", data);

  it("holds exactly at the most, and gives way when one ends", async () => {
    expect((await most({ path: "auth/u", max_leases: 2 })).status).toBe(204);
    const first = await login();
    expect([first.status, (await login()).status, (await login()).status]).toEqual([200, 200, 429]);
    expect((await login()).error).toBe('request path "auth/u/login/x": lease count quota exceeded');
    expect((await server.call("read", "sys/quotas/lease-count/q")).data).toMatchObject({ counter: 2, max_leases: 2 });
    const token = JSON.parse(JSON.stringify(first.body["auth"])).client_token;
    await server.call("update", "auth/token/revoke", { token });
    expect((await login()).status).toBe(200);
  });

  it("lets no two pass that count at the same time", async () => {
    await most({ path: "auth/u", max_leases: 2 });
    const codes = (await Promise.all(Array.from({ length: 4 }, login))).map(({ status }) => status);
    expect(codes.filter((status) => status === 200)).toHaveLength(2);
    expect(codes.filter((status) => status === 429)).toHaveLength(2);
  });

  it("counts what other nodes issue", async () => {
    await most({ path: "auth/u", max_leases: 2 });
    const other = await startInProcessServer({ beside: server });
    const there = () => other.call("update", "auth/u/login/x", { password: "pw" }, { token: "" });
    const codes = (await Promise.all([login(), there(), login(), there()])).map(({ status }) => status);
    expect(codes.toSorted()).toEqual([200, 200, 429, 429]);
  });

  it("counts tokens that the token store makes", async () => {
    await most({ path: "auth/token/create", max_leases: 1 });
    const create = () => server.call("update", "auth/token/create", { ttl: "1h" });
    expect([(await create()).status, (await create()).status]).toEqual([200, 429]);
    await server.call("delete", "sys/quotas/lease-count/q");
    expect((await create()).status).toBe(200);
  });

  it("refuses limits that it cannot hold", async () => {
    expect((await most({ path: "auth/u", max_leases: 0 })).status).toBe(400);
    expect((await most({ path: "auth/u", max_leases: MAX_LEASES_MAX + 1 })).status).toBe(400);
    expect((await most({ path: "auth/u", max_leases: 1, role: "x" })).error).toContain("give that path");
    expect((await most({ path: "auth/u", max_leases: MAX_LEASES_MAX })).status).toBe(204);
  });
});

describe("quotas of a namespace that are made above it", () => {
  let server: InProcessServer;
  beforeEach(async () => {
    server = await startInProcessServer();
    await server.call("update", "sys/namespaces/n");
    await server.call("update", "n/sys/namespaces/m");
    for (const path of ["", "n/", "n/m/"]) await server.call("update", `${path}sys/mounts/a`, { type: "kv" });
  });
  const limit = (data: JsonObject, from = "") =>
    server.call("update", `${from}sys/quotas/rate-limit/q`, { rate: 1, interval: "1h", ...data });
  const codes = async (path: string) => [
    (await server.call("read", path)).status,
    (await server.call("read", path)).status,
  ];

  it.each([
    ["n", "n/a/k", ["a/k", "n/m/a/k"]],
    ["n/", "n/a/k", ["a/k", "n/m/a/k"]],
    ["n/a", "n/a/k", ["a/k", "n/m/a/k", "n/sys/mounts"]],
    ["n/m/a/k*", "n/m/a/k", ["a/k", "n/a/k", "n/m/a/other"]],
  ])("by the path %s limit %s and nothing else", async (path, limited, free) => {
    expect((await limit({ path })).status).toBe(204);
    expect((await codes(limited))[1]).toBe(429);
    for (const other of free) expect([other, (await codes(other))[1]]).not.toEqual([other, 429]);
  });

  it("are seen, changed and deleted where they were made", async () => {
    await limit({ path: "n/a" });
    expect((await server.call("read", "sys/quotas/rate-limit/q")).data).toMatchObject({ path: "n/a/", rate: 1 });
    expect((await server.call("list", "sys/quotas/rate-limit")).data["keys"]).toEqual(["q"]);
    expect((await server.call("read", "n/sys/quotas/rate-limit/q")).status).toBe(404);
    expect((await limit({ path: "a" }, "n/")).error).toContain("similar properties exists under the name");
    await limit({ path: "n/", rate: 5 });
    expect((await server.call("read", "sys/quotas/rate-limit/q")).data).toMatchObject({ path: "n/", rate: 5 });
    await server.call("delete", "sys/quotas/rate-limit/q");
    expect((await server.call("list", "sys/quotas/rate-limit")).status).toBe(404);
    expect((await limit({ path: "m/" }, "n/")).status).toBe(204);
    expect((await server.call("read", "n/sys/quotas/rate-limit/q")).data["path"]).toBe("m/");
  });

  it("are of mounts that there are", async () => {
    expect((await limit({ path: "n/nothing" })).error).toContain("invalid mount path");
    expect((await limit({ path: "n/", role: "r" })).status).toBe(400);
  });

  it("follow a mount and go with the namespace", async () => {
    await limit({ path: "n/m/a/" });
    expect((await server.call("update", "sys/remount", { from: "n/m/a", to: "n/m/b" })).status).toBe(200);
    expect((await server.call("read", "sys/quotas/rate-limit/q")).data["path"]).toBe("n/m/b/");
    await server.call("delete", "n/sys/namespaces/m");
    for (let i = 0; i < 20; i++) await server.server.background.sweep();
    expect((await server.call("list", "sys/quotas/rate-limit")).status).toBe(404);
  });
});

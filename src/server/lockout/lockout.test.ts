import { describe, expect, it } from "vitest";
import type { JsonObject } from "#common/json.ts";
import { type Core, coreParts, type Reply, startCore } from "#test/kit/core.ts";
import { readMount } from "../mounts/mount-table.ts";

const RIGHT = "the right one";

async function startUsers(config = {}): Promise<Core> {
  const core = await startCore();
  await core.root("update", "sys/auth/users", { type: "userpass" });
  if (Object.keys(config).length > 0)
    await core.root("update", "sys/auth/users/tune", { user_lockout_config: { lockout_threshold: 3, ...config } });
  // Cheap to check, unlike what the server makes of a password: bcrypt at its least cost.
  for (const name of ["ann", "bob"]) await core.root("update", `auth/users/users/${name}`, { password_hash: HASH });
  return core;
}

/** bcrypt of RIGHT at cost 4. */
const HASH = "$2b$04$a.ssYzV2OZJdbJK7mzv3xuSkMcYJ/pg5rNJVWw1fWsyt9E8P1qXr2";

const logIn = (core: Core, password: string, name = "ann"): Promise<Reply> =>
  core.send("", "update", `auth/users/login/${name}`, { password });

async function fail(core: Core, times: number, name = "ann"): Promise<void> {
  for (let i = 0; i < times; i++) await logIn(core, "wrong", name);
}

async function locked(core: Core): Promise<unknown> {
  return (await core.root("read", "sys/locked-users")).data["total"];
}

describe("a user with too many wrong passwords", () => {
  it("is locked at the threshold, the right password included, and nobody else is", async () => {
    const core = await startUsers();
    await fail(core, 4);
    expect((await logIn(core, RIGHT)).status).toBe(200);
    await fail(core, 4);
    expect(await locked(core)).toBe(0);
    await fail(core, 1);
    expect((await logIn(core, RIGHT)).status).toBe(403);
    expect(await locked(core)).toBe(1);
    expect((await logIn(core, RIGHT, "bob")).status).toBe(200);
  });

  it("gets one answer whatever the password, so that guessing tells nothing", async () => {
    const core = await startUsers();
    await fail(core, 5);
    const [right, wrong] = [await logIn(core, RIGHT), await logIn(core, "wrong")];
    expect([wrong.status, wrong.error]).toEqual([right.status, right.error]);
  });

  it("is free again after the time from the failure that locked", async () => {
    const core = await startUsers();
    await fail(core, 5);
    await core.clock.advance(899_000);
    await fail(core, 1);
    expect((await logIn(core, RIGHT)).status).toBe(403);
    await core.clock.advance(1_000);
    expect((await logIn(core, RIGHT)).status).toBe(200);
  });

  it("has old failures forgotten", async () => {
    const core = await startUsers();
    await fail(core, 4);
    await core.clock.advance(900_000);
    await fail(core, 4);
    expect((await logIn(core, RIGHT)).status).toBe(200);
  });

  it("is let in again by an administrator", async () => {
    const core = await startUsers();
    await fail(core, 5);
    const accessor = String((await core.root("read", "sys/auth/users")).data["accessor"]);
    await core.root("update", `sys/locked-users/${accessor}/unlock/ann`);
    expect((await logIn(core, RIGHT)).status).toBe(200);
  });

  it("is counted in full when all attempts come at the same time", async () => {
    const core = await startUsers({ lockout_threshold: 12 });
    await Promise.all(Array.from({ length: 12 }, () => logIn(core, "wrong")));
    expect((await logIn(core, RIGHT)).status).toBe(403);
  });

  it.each([
    ["a lower threshold", { lockout_threshold: 2 }, 2, 403],
    ["a higher one", { lockout_threshold: 9 }, 5, 200],
    ["no lockout", { lockout_disable: true }, 9, 200],
  ])("is treated as the mount says: %s", async (_what, config, failures, status) => {
    const core = await startUsers(config);
    await fail(core, failures);
    expect((await logIn(core, RIGHT)).status).toBe(status);
  });

  it("is not counted for what is no guess", async () => {
    const core = await startUsers();
    for (let i = 0; i < 6; i++) await core.send("", "update", "auth/users/login/ann", {});
    expect((await logIn(core, RIGHT)).status).toBe(200);
  });
});

describe("names that somebody invents", () => {
  it("are forgotten: old records go as new ones come", async () => {
    const core = await startUsers();
    const { lockout, barrier } = core.services;
    const mount = await readMount(barrier.begin(), "auth/users/");
    if (!mount) throw new Error("the mount is there");
    const invent = async (from: number, count: number) => {
      for (let i = from; i < from + count; i++) {
        const tx = barrier.begin();
        await lockout.noteFailure(tx, mount, `invented-${i}-${"x".repeat(1_000)}`);
        await tx.commit();
      }
    };
    const kept = async () => (await barrier.begin().list(`core/lockout/${mount.accessor}/`, { limit: 1_000 })).length;
    await invent(0, 200);
    expect(await kept()).toBe(200);
    await core.clock.advance(3_600_000);
    await invent(200, 150);
    expect(await kept()).toBeLessThan(200); // 150 of late, and the few old ones that chance has spared
  });
});

describe("lockout of AppRoles", () => {
  it("counts wrong secret ids of a role that there is", async () => {
    const core = await startCore();
    await core.root("update", "sys/auth/ar", { type: "approle" });
    await core.root("update", "auth/ar/role/r", {});
    await core.root("update", "auth/ar/role/r/role-id", { role_id: "known" });
    const secret_id = (await core.root("update", "auth/ar/role/r/secret-id")).data["secret_id"] ?? "";
    const login = (data: JsonObject) => core.send("", "update", "auth/ar/login", { secret_id: "wrong", ...data });
    for (let i = 0; i < 9; i++) await login({ role_id: "unknown" });
    expect(await locked(core)).toBe(0);
    for (let i = 0; i < 5; i++) expect((await login({ role_id: "known" })).error).toBe("invalid role or secret ID");
    expect((await login({ role_id: "known", secret_id })).status).toBe(403);
    expect(await locked(core)).toBe(1);
    core.clock.advance(900_000);
    expect((await login({ role_id: "known", secret_id })).status).toBe(200);
  });
});

describe("the environment", () => {
  it.each(["COFFER_DISABLE_USER_LOCKOUT", "VAULT_DISABLE_USER_LOCKOUT", "BAO_DISABLE_USER_LOCKOUT"])(
    "switches lockout off: %s",
    async (name) => {
      const { host } = coreParts();
      for (const [value, status] of [
        ["true", 200],
        ["0", 403],
      ] as const) {
        const core = await startCore({ host: { ...host, environment: { [name]: value } } });
        await core.root("update", "sys/auth/users", { type: "userpass" });
        await core.root("update", "auth/users/users/ann", { password_hash: HASH });
        await fail(core, 6);
        expect((await logIn(core, RIGHT)).status).toBe(status);
      }
    },
  );
});

// The life of a token: login with backoff, renewal at two thirds, a new login near the maximum or after a refusal.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { FakeClock } from "#common/clock.ts";
import { HastyClock } from "#test/hasty-clock.ts";
import { authBlock, enveloped, refused, type Script, startScriptedApi } from "#test/scripted-api.ts";
import { createApiClient } from "./api-client.ts";
import { parseEnvelope } from "./envelope.ts";
import { loginWithKubernetes, requireAuth } from "./kubernetes-login.ts";
import { createTokenKeeper } from "./renewal.ts";

const auth = (token: string, ttlSeconds: number, renewable = true) => {
  const answer = parseEnvelope({ auth: authBlock(token, ttlSeconds, renewable) });
  if (answer.auth === undefined) throw new Error("the envelope has no auth block");
  return answer.auth;
};

async function withKeeper(renew: Script, logins: (attempt: number) => ReturnType<typeof auth>) {
  const api = await startScriptedApi(renew);
  const clock = new FakeClock();
  const end = new AbortController();
  const client = createApiClient({ address: api.address, retries: 0, clock });
  let attempts = 0;
  const keeper = createTokenKeeper({ client, login: async () => logins(++attempts), clock, signal: end.signal });
  /** Moves time on and waits until what follows has happened. */
  const until = async (ms: number, done: () => boolean) => {
    await new Promise((resolve) => setImmediate(resolve));
    await clock.advance(ms);
    await expect.poll(done, { timeout: 5000 }).toBe(true);
  };
  return {
    ...{ api, keeper, clock, until, attempts: () => attempts, end },
    async [Symbol.asyncDispose]() {
      end.abort();
      client.close();
      await api[Symbol.asyncDispose]();
    },
  };
}

describe("token keeper", () => {
  it("repeats a failing login until it succeeds", async () => {
    await using t = await withKeeper(
      () => refused(500),
      (attempt) => {
        if (attempt < 3) throw new Error("no route");
        return auth("t", 60);
      },
    );
    const token = t.keeper.obtain();
    await t.until(1000, () => t.attempts() === 2);
    await t.until(1000, () => t.attempts() === 3);
    expect(await token).toBe("t");
  });

  it("renews at two thirds of the ttl, with the token itself", async () => {
    await using t = await withKeeper(
      () => enveloped(null, { auth: authBlock("t", 60) }),
      () => auth("t", 60),
    );
    await t.keeper.obtain();
    const running = t.keeper.run();
    await t.clock.advance(39_000);
    expect(t.api.seen.length).toBe(0);
    await t.until(1_000, () => t.api.seen.length === 1);
    expect(t.api.seen[0]).toMatchObject({ path: "auth/token/renew-self", headers: { "x-vault-token": "t" } });
    expect(t.attempts()).toBe(1);
    t.end.abort();
    await running;
  });

  it("logs in anew when a renewal gains little, is refused, or is impossible", async () => {
    const cases: [Script, boolean][] = [
      [() => enveloped(null, { auth: authBlock("t1", 10) }), true],
      [() => refused(403, "permission denied"), true],
      [() => refused(500), false],
    ];
    for (const [script, renewable] of cases) {
      await using t = await withKeeper(script, (attempt) => auth(`t${attempt}`, 60, renewable));
      await t.keeper.obtain();
      void t.keeper.run();
      await t.until(41_000, () => t.keeper.current() === "t2");
    }
  });

  it("keeps trying to renew while the server is away, and the token lives", async () => {
    let up = false;
    await using t = await withKeeper(
      () => (up ? enveloped(null, { auth: authBlock("t", 60) }) : refused(503)),
      () => auth("t", 60),
    );
    await t.keeper.obtain();
    void t.keeper.run();
    await t.until(40_000, () => t.api.seen.length === 1);
    up = true;
    await t.until(6_000, () => t.api.seen.length === 2);
    expect(t.attempts()).toBe(1);
  });

  it("forgets a token that a caller saw refused, but not its successor", async () => {
    await using t = await withKeeper(
      () => refused(500),
      (attempt) => auth(`t${attempt}`, 3600),
    );
    const first = await t.keeper.obtain();
    t.keeper.drop(first ?? "");
    expect(await t.keeper.obtain()).toBe("t2");
    t.keeper.drop(first ?? "");
    expect(t.keeper.current()).toBe("t2");
  });
});

describe("login with a ServiceAccount token", () => {
  it("sends role and the file's token, without a token of its own", async () => {
    const folder = await mkdtemp(join(tmpdir(), "coffer-login-"));
    await writeFile(join(folder, "token"), "jwt-text\n");
    await using api = await startScriptedApi(() => enveloped(null, { auth: authBlock("t", 60) }));
    using client = createApiClient({ address: api.address, token: "other", clock: new HastyClock() });
    const login = { mount: "/kube/", role: "r", tokenFile: join(folder, "token") };
    expect((await loginWithKubernetes(client, login)).client_token).toBe("t");
    expect(api.seen[0]).toMatchObject({ path: "auth/kube/login", body: { role: "r", jwt: "jwt-text" } });
    expect(api.seen[0]?.headers["x-vault-token"]).toBeUndefined();
    await rm(folder, { recursive: true });
    await expect(loginWithKubernetes(client, login)).rejects.toMatchObject({ code: "unavailable" });
    expect(() => requireAuth(client, "auth/x/login", undefined)).toThrow("without a token");
  });
});

// The client against a scripted server: what it sends, what it repeats and what its errors say.
import { createServer } from "node:net";
import { describe, expect, it } from "vitest";
import { type Clock, systemClock } from "#common/clock.ts";
import { HastyClock } from "#test/hasty-clock.ts";
import { enveloped, refused, type Script, startScriptedApi } from "#test/scripted-api.ts";
import { type ApiClientOptions, createApiClient } from "./api-client.ts";
import { ApiError } from "./api-error.ts";

async function withApi(script: Script, options: Partial<ApiClientOptions> = {}, clock: Clock = new HastyClock()) {
  const api = await startScriptedApi(script);
  const client = createApiClient({ address: api.address, clock, ...options });
  return {
    api,
    client,
    async [Symbol.asyncDispose]() {
      client.close();
      await api[Symbol.asyncDispose]();
    },
  };
}

async function failure(call: Promise<unknown>): Promise<ApiError> {
  const error = await call.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (error instanceof ApiError) return error;
  throw new Error(`expected an ApiError, got ${String(error)}`);
}

describe("what is sent", () => {
  it("carries token, namespace, wrapping and the marker of Vault's clients", async () => {
    await using t = await withApi(() => enveloped({ a: 1 }), { token: "t1", namespace: "team", userAgent: "x/1" });
    await t.client.read("/v1/secret/data/a b/ü", { wrapTtl: "60s", query: { version: 3, skipped: undefined } });
    const [seen] = t.api.seen;
    expect(seen).toMatchObject({ method: "GET", path: "secret/data/a b/ü", query: { version: "3" } });
    expect(seen?.headers).toMatchObject({
      "x-vault-request": "true",
      "x-vault-token": "t1",
      "x-vault-namespace": "team",
      "x-vault-wrap-ttl": "60s",
      "user-agent": "x/1",
    });
  });

  it("asks the token function at each call, and sends none when told so", async () => {
    let token = "one";
    await using t = await withApi(() => enveloped({}), { token: () => token });
    await t.client.read("a");
    token = "two";
    await t.client.read("a");
    await t.client.read("a", { token: "" });
    await t.client.with({ token: "three", namespace: "ns" }).read("a");
    expect(t.api.seen.map((s) => s.headers["x-vault-token"])).toEqual(["one", "two", undefined, "three"]);
    expect(t.api.seen[3]?.headers["x-vault-namespace"]).toBe("ns");
  });

  it("sends LIST as GET with list=true and PATCH as a merge patch", async () => {
    await using t = await withApi(() => enveloped({ keys: ["a", "b/"] }));
    expect(await t.client.list("secret/metadata/x")).toEqual(["a", "b/"]);
    await t.client.patch("secret/data/x", { data: { a: null } });
    expect(t.api.seen[0]).toMatchObject({ method: "GET", query: { list: "true" } });
    expect(t.api.seen[1]?.headers["content-type"]).toBe("application/merge-patch+json");
  });

  it("refuses paths that would name another path, and addresses that are none", async () => {
    await using t = await withApi(() => enveloped({}));
    await expect(t.client.read("secret/../sys/raw/x")).rejects.toMatchObject({ code: "invalid_request" });
    expect(t.api.seen).toEqual([]);
    expect(() => createApiClient({ address: "localhost:8200", clock: systemClock })).toThrow("is no URL");
  });

  it("follows the redirect of a standby", async () => {
    await using active = await startScriptedApi(() => enveloped({ who: "active" }));
    await using t = await withApi(() => ({ status: 307, headers: { Location: `${active.address}/v1/secret/a` } }));
    expect((await t.client.read("secret/a")).data).toEqual({ who: "active" });
  });
});

it("gives up on redirects that lead in circles", async () => {
  await using t = await withApi(() => ({ status: 307, headers: { Location: "/v1/secret/a" } }));
  expect((await failure(t.client.read("secret/a"))).status).toBe(307);
  expect(t.api.seen.length).toBe(3);
});

describe("answers", () => {
  it("keeps numbers that a double cannot hold", async () => {
    const text = '{"request_id":"r","data":{"n":9007199254740993}}';
    await using t = await withApi(() => ({ status: 200, text }));
    const answer = await t.client.read("secret/n");
    expect(JSON.stringify(answer.data)).toBe('{"n":9007199254740993}');
  });

  it("takes 204, bare objects and text", async () => {
    const answers: Record<string, ReturnType<Script>> = {
      empty: { status: 204 },
      bare: { status: 200, body: { sealed: true } },
      text: { status: 200, text: "up 1\n", headers: { "Content-Type": "text/plain" } },
    };
    await using t = await withApi((seen) => answers[seen.path] ?? refused(404));
    expect((await t.client.write("empty", {})).data).toBeUndefined();
    expect((await t.client.read("bare")).data).toEqual({ sealed: true });
    expect(await t.client.request("GET", "text")).toMatchObject({ body: undefined, text: "up 1\n" });
  });

  it("gives an empty list where there is nothing, but not where the mount is missing", async () => {
    await using t = await withApi((seen) => (seen.path === "a" ? refused(404) : refused(404, "no handler for route")));
    expect(await t.client.list("a")).toEqual([]);
    expect((await failure(t.client.list("b"))).status).toBe(404);
  });

  it("refuses an answer beyond the limit, takes one at the limit", async () => {
    const text = JSON.stringify({ data: { v: "x".repeat(85) } });
    await using exact = await withApi(() => ({ status: 200, text }), { responseBytesMax: text.length });
    expect((await exact.client.read("a")).data).toBeDefined();
    await using small = await withApi(() => ({ status: 200, text }), { responseBytesMax: text.length - 1 });
    expect(await failure(small.client.read("a"))).toMatchObject({ connection: "too_large", retryable: false });
    expect(small.api.seen.length).toBe(1);
  });

  it("says so when the answer is not JSON or has the wrong shape", async () => {
    await using t = await withApi((seen) => ({ status: 200, text: seen.path === "a" ? "<html>" : '{"data":3}' }));
    expect((await failure(t.client.read("a"))).connection).toBe("malformed");
    expect((await failure(t.client.read("b"))).message).toContain("data must be an object");
  });
});

describe("errors and repetition", () => {
  it("throws the server's lines with method, path and status", async () => {
    await using t = await withApi(() => refused(403, "1 error occurred:\n\t* permission denied\n\n"), {
      token: "hush",
    });
    const error = await failure(t.client.write("secret/x", { password: "hush" }));
    expect(error).toMatchObject({ status: 403, path: "secret/x", method: "PUT", retryable: false });
    expect(error.message).toContain("PUT secret/x: 1 error occurred");
    expect(error.message).toContain("(status 403)");
    expect(error.message).not.toContain("hush");
  });

  it("passes on what a listener says in plain text", async () => {
    const text = "Client sent an HTTP request to an HTTPS server.\n";
    await using t = await withApi(() => ({ status: 400, text, headers: { "Content-Type": "text/plain" } }));
    expect((await failure(t.client.read("a"))).message).toContain("an HTTP request to an HTTPS server. (status 400)");
  });

  it.each([412, 500, 502, 503])("repeats a read after %i", async (status) => {
    let calls = 0;
    await using t = await withApi(() => (++calls < 3 ? refused(status) : enveloped({ ok: true })));
    expect((await t.client.read("a")).data).toEqual({ ok: true });
    expect(calls).toBe(3);
  });

  it("repeats a write after 503 but not after 500 or a cut connection", async () => {
    for (const [answer, calls] of [
      [refused(503), 3],
      [refused(500), 1],
      ["cut", 1],
    ] as const) {
      await using t = await withApi(() => answer);
      await failure(t.client.write("auth/x/login", {}));
      expect(t.api.seen.length).toBe(calls);
    }
  });

  it("repeats a read whose connection was cut, with growing waits", async () => {
    const clock = new HastyClock();
    await using t = await withApi(() => "cut", { retries: 3 }, clock);
    expect(await failure(t.client.read("a"))).toMatchObject({ connection: "closed", status: 0, retryable: true });
    expect(t.api.seen.length).toBe(4);
    const [first, second, third] = clock.waits;
    expect(first).toBeGreaterThanOrEqual(125);
    expect(second).toBeGreaterThanOrEqual(250);
    expect(third).toBeLessThanOrEqual(1001);
  });

  it("names a refused connection, an unknown host and a server without TLS", async () => {
    const server = createServer((socket) => socket.resume().end("HTTP/1.1 400 Bad Request\r\n\r\n"));
    const port = await new Promise<number>((resolve) =>
      server.listen(0, "127.0.0.1", () => {
        const address = server.address();
        resolve(typeof address === "object" && address !== null ? address.port : 0);
      }),
    );
    const at = (address: string) => createApiClient({ address, retries: 0, clock: systemClock });
    using tls = at(`https://127.0.0.1:${port}`);
    expect((await failure(tls.read("a"))).connection).toBe("not_tls");
    await new Promise((resolve) => server.close(resolve));
    using closed = at(`http://127.0.0.1:${port}`);
    const error = await failure(closed.read("a"));
    expect(error).toMatchObject({ connection: "refused", retryable: true });
    expect(error.message).toContain(`http://127.0.0.1:${port}`);
    using nowhere = at("http://nowhere.invalid:1");
    expect((await failure(nowhere.read("a"))).connection).toBe("unknown_host");
  });

  it("ends a call that gets no answer in time", async () => {
    await using t = await withApi(() => "hang", { timeoutMillis: 30, retries: 0 }, systemClock);
    expect((await failure(t.client.read("a"))).connection).toBe("timeout");
  });

  it("ends at once when cancelled, and does not repeat", async () => {
    const cancel = new AbortController();
    await using t = await withApi(() => {
      cancel.abort();
      return "hang";
    });
    await expect(t.client.read("a", { signal: cancel.signal })).rejects.toMatchObject({ code: "unavailable" });
    expect(t.api.seen.length).toBe(1);
  });
});

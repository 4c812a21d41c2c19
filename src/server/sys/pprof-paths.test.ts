import { beforeAll, describe, expect, it } from "vitest";
import { isJsonArray, isJsonObject, type JsonObject, parseJson } from "#common/json.ts";
import { requestOf } from "#test/kit/core.ts";
import { type InProcessServer, startInProcessServer } from "#test/kit/in-process-server.ts";
import { PROFILE_SECONDS_MAX } from "../core/profiler.ts";

let server: InProcessServer;
beforeAll(async () => {
  server = await startInProcessServer({ parts: { commandLine: ["coffer", "server", "-config=x"] } });
});

async function read(profile: string, data: JsonObject = {}, token = server.rootToken) {
  const path = profile === "" ? "sys/pprof" : `sys/pprof/${profile}`;
  const answer = await server.server.serve(requestOf(token, "read", path, data));
  return { ...answer, text: String(answer.body) };
}

/** The answer, once the clock has been moved over the time that the profile takes. */
async function take(profile: string, seconds: number) {
  return ended(read(profile, { seconds: String(seconds) }));
}

/** Moves the clock on until the answer is there. */
async function ended<T>(answer: Promise<T>): Promise<T> {
  let isThere = false;
  const noted = answer.finally(() => {
    isThere = true;
  });
  while (!isThere) {
    await new Promise((resolve) => setImmediate(resolve));
    await server.clock.advance(100);
  }
  return noted;
}

function objectOf(text: string): JsonObject {
  const parsed = parseJson(text);
  if (!isJsonObject(parsed)) throw new Error(`no object: ${text.slice(0, 100)}`);
  return parsed;
}

describe("sys/pprof", () => {
  it("names what there is, and how the process was started", async () => {
    expect((await read("")).text).toBe("allocs\ncmdline\nheap\nprofile\n");
    expect((await read("cmdline")).text).toBe("coffer\0server\0-config=x");
  });

  it("takes a profile of the processor that DevTools open", async () => {
    const { status, headers, text } = await take("profile", 2);
    expect([status, headers?.["Content-Disposition"]]).toEqual([200, 'attachment; filename="coffer.cpuprofile"']);
    const { nodes, startTime, endTime } = objectOf(text);
    expect(isJsonArray(nodes) && nodes.length > 0).toBe(true);
    expect(Number(endTime)).toBeGreaterThan(Number(startTime));
  });

  it.each(["heap", "allocs"])("takes a profile of what is allocated: %s", async (name) => {
    const { status, text } = await take(name, 1);
    expect(status).toBe(200);
    expect(objectOf(text)["head"]).toMatchObject({ callFrame: { functionName: "(root)" } });
    expect(text).not.toContain(server.rootToken);
  });

  it("takes one at a time, for no longer than a request may take", async () => {
    const both = await ended(Promise.all([read("profile", { seconds: "60" }), read("heap", { seconds: "60" })]));
    expect(both.map(({ status }) => status).sort()).toEqual([200, 503]);
    expect(both.map(({ text }) => text).join("")).toContain("another profile");
    for (const seconds of ["0", "-1", String(PROFILE_SECONDS_MAX + 1)])
      expect((await read("profile", { seconds })).text).toContain("seconds must be");
  });

  it.each(["block", "goroutine", "mutex", "symbol", "threadcreate", "trace", "other"])(
    "refuses %s and says why",
    async (name) => {
      const { status, text } = await read(name);
      expect([status, text]).toEqual([404, expect.stringContaining(`sys/pprof/${name}: `)]);
    },
  );

  it("wants sudo", async () => {
    await server.call("update", "sys/policies/acl/p", { policy: 'path "sys/pprof/*" { capabilities = ["read"] }' });
    const { body } = await server.call("update", "auth/token/create", { policies: ["p"] });
    const token = JSON.parse(JSON.stringify(body["auth"])).client_token;
    for (const name of ["profile", "heap", "cmdline"]) expect((await read(name, {}, token)).status).toBe(403);
  });
});

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { cli } from "#test/run-cli.ts";
import { enveloped, refused, type Script, type ScriptedApi, startScriptedApi } from "#test/scripted-api.ts";

let api: ScriptedApi;
beforeAll(async () => {
  api = await startScriptedApi(() => refused(404));
});
afterAll(() => api[Symbol.asyncDispose]());

async function against(script: Script, ...argv: string[]) {
  api.script = script;
  api.seen.length = 0;
  const result = await cli({ address: api.address }, "operator", "sealwrap", ...argv);
  return { ...result, calls: api.seen.map(({ method, path }) => [method, path]) };
}

const answer = {
  is_running: false,
  entries: { processed: 8, succeeded: 7, failed: 1 },
  last_error: "mount/a: damaged",
  wrapping: true,
  generations: [{ generation: 2, seals: [{ name: "kms-eu", key_id: "arn:1", wrap_time: "2026-11-25T00:00:00.000Z" }] }],
  coverage: {
    time: "2026-11-25T00:00:00.000Z",
    critical: 4,
    wrapped: 3,
    share: 0.75,
    by_generation: { 2: 3 },
    by_term: {},
  },
};

describe("operator sealwrap", () => {
  it("shows coverage, progress and the seals of each key", async () => {
    const { stdout, calls } = await against(() => enveloped(answer), "status");
    expect(calls).toEqual([["GET", "sys/sealwrap/rewrap"]]);
    expect(stdout).toMatch(/Coverage +3 of 4 critical entries \(75\.0 %\)/);
    expect(stdout).toMatch(/Entries failed +1/);
    expect(stdout).toMatch(/^2 +kms-eu +arn:1 +2026-11-25T00:00:00\.000Z$/m);
    expect(JSON.parse((await against(() => enveloped(answer), "status", "-format=json")).stdout)).toEqual(answer);
  });

  it("says why nothing is wrapped", async () => {
    const nothing = { ...answer, wrapping: false, reason: "shares alone", generations: [], coverage: null };
    const { stdout } = await against(() => enveloped(nothing), "status");
    expect(stdout).toMatch(/Wrapping +no: shares alone/);
    expect(stdout).toMatch(/not counted yet/);
  });

  it("starts a rewrap, and makes a new key", async () => {
    expect((await against(() => enveloped({}), "rewrap")).calls).toEqual([["PUT", "sys/sealwrap/rewrap"]]);
    const { stdout, calls } = await against(() => enveloped({ generation: 3 }), "rotate");
    expect(calls).toEqual([["PUT", "sys/sealwrap/rotate"]]);
    expect(stdout).toContain("Generation 3 wraps now");
  });
});

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
  const result = await cli({ address: api.address }, "operator", "keyring", ...argv);
  return { ...result, calls: api.seen.map(({ method, path, body }) => [method, path, body]) };
}

const installed = { install_time: "2026-11-01T00:00:00.000Z" };
const answer = {
  terms: [
    {
      ...installed,
      term: 3,
      active: false,
      retirable: true,
      end_time: "2026-11-02T00:00:00.000Z",
      entries: 0,
      share: 0,
    },
    { ...installed, term: 4, active: true, retirable: false, end_time: null, entries: 9, share: 1 },
  ],
  rewrap_running: false,
  count_time: "2026-11-03T00:00:00.000Z",
};

describe("operator keyring", () => {
  it("shows the keys with what is under each", async () => {
    const { stdout, calls } = await against(() => enveloped(answer), "status");
    expect(calls.map(([method, path]) => [method, path])).toEqual([["GET", "sys/rotate/terms"]]);
    expect(stdout).toMatch(/^3 +can be retired +2026-11-01T00:00:00\.000Z +2026-11-02T00:00:00\.000Z +0 +0\.0 %$/m);
    expect(stdout).toMatch(/^4 +active .* - +9 +100\.0 %$/m);
    expect(stdout).toContain("Counted: 2026-11-03");
  });

  it("says that nobody has counted", async () => {
    const terms = [{ ...installed, term: 1, active: true, end_time: null, entries: null, share: null }];
    const { stdout } = await against(() => enveloped({ terms, rewrap_running: false, count_time: null }), "status");
    expect(stdout).toMatch(/^1 +active .* - +- +-$/m);
    expect(stdout).toContain("Counted: never");
  });

  it("retires all, or up to a term", async () => {
    const done = () => enveloped({ retired: [1, 2], term: 3 });
    expect(await against(done, "retire")).toMatchObject({ calls: [["PUT", "sys/rotate/retire", {}]] });
    const { stdout, calls } = await against(done, "retire", "2");
    expect(calls).toEqual([["PUT", "sys/rotate/retire", { term: 2 }]]);
    expect(stdout).toContain("Retired: 1, 2");
  });

  it("refuses what is no term before it asks", async () => {
    const { code, stderr, calls } = await against(() => refused(500), "retire", "two");
    expect([code, calls]).toEqual([1, []]);
    expect(stderr).toContain("TERM");
  });
});

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
  const result = await cli({ address: api.address }, "operator", "journal", ...argv);
  return { ...result, calls: api.seen.map(({ method, path, body }) => [method, path, body]) };
}

const entry = { mount_path: "db/", kind: "user", state: "stuck", age: 90, attempts: 20, error: "no\nroute" };

describe("operator journal", () => {
  it("lists entries in a line each, and as JSON", async () => {
    const script: Script = () => enveloped({ keys: ["a-1"], key_info: { "a-1": entry } });
    expect((await against(script, "list")).stdout.split("\n")[2]).toMatch(
      /^a-1 +db\/ +user +stuck +1m30s +20 +no route$/,
    );
    expect(JSON.parse((await against(script, "list", "-format=json")).stdout)).toEqual({ "a-1": entry });
  });

  it("says that it is empty, and fails when it may not be seen", async () => {
    expect(await against(() => refused(404), "list")).toMatchObject({ code: 0, stdout: "The journal is empty.\n" });
    expect(await against(() => refused(403, "permission denied"), "list")).toMatchObject({ code: 2 });
  });

  it("tries one again, or all", async () => {
    const script: Script = () => enveloped({ retried: 3 });
    expect(await against(script, "retry")).toMatchObject({ calls: [["PUT", "sys/journal/retry", {}]] });
    expect(await against(script, "retry", "a-1")).toMatchObject({
      stdout: "Success! Trying again: 3\n",
      calls: [["PUT", "sys/journal/retry", { id: "a-1" }]],
    });
  });

  it("forgets one only by force", async () => {
    expect(await against(() => ({ status: 204 }), "remove", "a-1")).toMatchObject({ code: 1, calls: [] });
    expect(await against(() => ({ status: 204 }), "remove", "-force", "a-1")).toMatchObject({
      code: 0,
      calls: [["DELETE", "sys/journal/a-1", undefined]],
    });
  });
});

// Warnings about parameters that a client sent in vain; help.
import { describe, expect, it } from "vitest";
import { startCore } from "#test/kit/core.ts";

describe("parameters that are not taken", () => {
  it("are named in an answer with content", async () => {
    const core = await startCore();
    const made = await core.root("update", "auth/token/create", { policies: ["default"], colour: "red", age: 3 });
    expect(made.status).toBe(200);
    expect(made.body["warnings"]).toEqual(["Endpoint ignored these unrecognized parameters: [age colour]"]);
    await core.root("update", "auth/token/roles/ci", { allowed_policies: ["default"] });
    const ofRole = await core.root("update", "auth/token/create/ci", { role_name: "other" });
    expect(ofRole.body["warnings"]).toEqual([
      "Endpoint replaced the value of these parameters with the values captured from the endpoint's path: [role_name]",
    ]);
  });

  it("leave an answer without content as it is: 204", async () => {
    const core = await startCore();
    const quota = { name: "other", rate: 5, colour: "red" };
    const made = await core.root("update", "sys/quotas/rate-limit/of-all", quota);
    expect([made.status, made.text]).toEqual([204, ""]);
    expect((await core.root("read", "sys/quotas/rate-limit/of-all")).data["name"]).toBe("of-all");
  });
});

describe("help", () => {
  it("of a path tells its parameters, of a mount its paths", async () => {
    const core = await startCore();
    const ofPath = await core.root("help", "auth/token/create");
    expect(ofPath.body).toMatchObject({ help: expect.stringContaining("num_uses"), see_also: null });
    const ofMount = await core.root("help", "auth/token");
    expect(ofMount.body["help"]).toMatch(/## PATHS\n[\s\S]*\n {4}lookup-self\n {8}\S/);
    expect(ofMount.body["openapi"]).toMatchObject({ paths: { "/auth/token/lookup-self": expect.anything() } });
    expect((await core.root("help", "sys")).body["help"]).toContain("mounts");
  });
});

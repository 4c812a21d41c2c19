import { describe, expect, it } from "vitest";
import { policyName, roleName, rolesOf } from "./binding-names.ts";

describe("names of bindings on the server", () => {
  const open = { name: "shared" };
  const named = { name: "billing", serviceAccounts: ["billing", "audit.log"] };

  it("gives every ServiceAccount the namespace's role while no binding names it", () => {
    expect(roleName("team", "web", [open, named])).toBe("sb_team");
    expect(rolesOf("team", [open])).toEqual([
      { name: "sb_team", namespace: "team", serviceAccounts: ["*"], policies: ["sb_team_shared"] },
    ]);
  });

  it("gives a named ServiceAccount its own role with all that it may read", () => {
    expect(roleName("team", "billing", [open, named])).toBe("sb_team_billing");
    expect(rolesOf("team", [open, named]).map((role) => [role.name, role.policies])).toEqual([
      ["sb_team", ["sb_team_shared"]],
      ["sb_team_audit.log", ["sb_team_billing", "sb_team_shared"]],
      ["sb_team_billing", ["sb_team_billing", "sb_team_shared"]],
    ]);
  });

  it("makes no role for the whole namespace when every binding names its ServiceAccounts", () => {
    expect(rolesOf("team", [named]).map((role) => role.name)).toEqual(["sb_team_audit.log", "sb_team_billing"]);
  });

  it("leaves out the policy of a refused binding, yet names the same roles", () => {
    const roles = rolesOf("team", [open, named], (binding) => binding !== "billing");
    expect(roles.map((role) => [role.name, role.policies])).toEqual([
      ["sb_team", ["sb_team_shared"]],
      ["sb_team_audit.log", ["sb_team_shared"]],
      ["sb_team_billing", ["sb_team_shared"]],
    ]);
  });

  it("names policies so that no two bindings share one", () => {
    expect(policyName("a", "b-c")).not.toBe(policyName("a-b", "c"));
  });
});

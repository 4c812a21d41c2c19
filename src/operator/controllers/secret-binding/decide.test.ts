import { describe, expect, it } from "vitest";
import { binding, cluster, LOOK, shown } from "#test/operator/fixtures.ts";
import { allowedPaths, isAllowed } from "./access.ts";
import { decide, entriesOf, type Observed, plan } from "./decide.ts";

const TEAM = { name: "team", labels: { tier: "gold" } };
const main = cluster();
const base: Observed = {
  binding: binding(),
  plan: { kind: "sync", cluster: main },
  outcome: { kind: "synced", sources: [{ name: "default", state: "Fresh", version: 3 }] },
  bindings: [binding()],
  caBundle: "CA",
  look: LOOK,
};
const decided = (observed: Partial<Observed>) => decide({ ...base, ...observed });

describe("access rules", () => {
  it.each([
    ["secret/team/db", true],
    ["secret/team/a/b", true],
    ["secret/team/", false],
    ["secret/team", false],
    ["secret/teams/db", false],
    ["secret/other/db", false],
    ["shared/one", true],
    ["shared/one/more", false],
    ["gold/x", true],
    ["silver/x", false],
  ])("%s: %s", (path, expected) => {
    const rules = [
      { paths: ["secret/{namespace}/*", "shared/one"] },
      { namespaceSelector: { matchLabels: { tier: "gold" } }, paths: ["gold/*"] },
      { namespaceSelector: { matchLabels: { tier: "silver" } }, paths: ["silver/*"] },
    ];
    expect(isAllowed(path, allowedPaths(cluster({ spec: { access: { rules } } }), TEAM))).toBe(expected);
  });
});

describe("plan", () => {
  it("takes the only cluster and refuses another namespace's path with a sentence", () => {
    expect(plan(binding(), [main], TEAM)).toEqual({ kind: "sync", cluster: main });
    const refused = plan(binding({ spec: { path: "secret/other/db" } }), [main], TEAM);
    expect(refused).toMatchObject({
      reason: "PathNotAllowed",
      message:
        "the path secret/other/db is not allowed to namespace team: VaultCluster coffer-system/main allows secret/team/*; use such a path, or have spec.access.rules changed",
    });
  });
  it("says what is missing or ambiguous, and leaves suspended ones alone", () => {
    expect(plan(binding(), [], TEAM)).toMatchObject({ kind: "refused", reason: "VaultNotFound" });
    expect(plan(binding(), [main, cluster({ name: "b" })], TEAM)).toMatchObject({ reason: "VaultAmbiguous" });
    expect(plan(binding({ spec: { suspend: true } }), [main], TEAM)).toEqual({ kind: "suspended" });
  });
});

describe("entriesOf", () => {
  const of = (...bindings: ReturnType<typeof binding>[]) => entriesOf(main, bindings, [main], TEAM);
  it("gives every ServiceAccount what its bindings allow", () => {
    const own = binding({ name: "own", spec: { serviceAccounts: ["web"] } });
    expect(of(binding(), own)).toEqual({
      roles: [
        { name: "sb_team", namespace: "team", serviceAccounts: ["*"], policies: ["sb_team_db"] },
        { name: "sb_team_web", namespace: "team", serviceAccounts: ["web"], policies: ["sb_team_db", "sb_team_own"] },
      ],
      policies: ["sb_team_db", "sb_team_own"],
      audience: "coffer.coffer-system.main",
    });
  });
  it("leaves out what is refused, deleted or of another cluster", () => {
    const deleted = binding({ metadata: { deletionTimestamp: "2026-01-01T00:00:00Z" } });
    expect(of(binding({ spec: { path: "secret/other/x" } }), deleted)).toMatchObject({ roles: [], policies: [] });
    expect(entriesOf(cluster({ name: "b" }), [binding()], [main], TEAM)).toEqual({
      ...{ roles: [], policies: [] },
      audience: "coffer.coffer-system.b",
    });
  });
  it("keeps what a suspended binding had", () => {
    const conditions = [
      { type: "Synced", status: "True", reason: "Synced", message: "", lastTransitionTime: "2026-01-01T00:00:00Z" },
    ];
    const had = binding({ spec: { suspend: true }, status: { vault: "coffer-system/main", conditions } });
    expect(of(had).policies).toEqual(["sb_team_db"]);
    expect(of(binding({ spec: { suspend: true } })).policies).toEqual([]);
  });
});

describe("the status of a SecretBinding", () => {
  it("is ready with policy, roles and versions", () => {
    const { status, objects } = decided({});
    expect(shown(status.conditions)).toEqual([
      "Ready=True Synced",
      "Reconciling=False Synced",
      "Stalled=False Synced",
      "Synced=True Synced",
    ]);
    expect(status).toMatchObject({
      vault: "coffer-system/main",
      policy: "sb_team_db",
      roles: ["sb_team"],
      lastSyncTime: "2026-01-01T00:00:00Z",
    });
    expect(objects).toMatchObject([
      { object: { metadata: { name: "coffer-ca.coffer-system.main", namespace: "team" }, data: { "ca.crt": "CA" } } },
    ]);
  });

  it("names a missing secret, stays Synced and looks again soon; an optional one may be missing", () => {
    const sources = [{ name: "default", state: "Missing" as const }];
    const missing = decided({ outcome: { kind: "synced", sources } });
    expect(shown(missing.status.conditions)).toEqual(
      expect.arrayContaining(["Ready=False SecretMissing", "Synced=True Synced"]),
    );
    expect(missing.status.conditions[0]?.message).toContain("there is no secret at secret/team/db");
    expect(missing.requeueAfterMillis).toBe(10_000);
    const optional = { sources: [{ name: "default", path: "secret/team/db", optional: true }] };
    const given = readied(optional);
    expect(shown(decided({ binding: given, outcome: { kind: "synced", sources } }).status.conditions)).toContain(
      "Ready=True Synced",
    );
  });

  it("is stalled when refused, and keeps the policy's name until it is gone from the server", () => {
    const refused = { kind: "refused" as const, reason: "PathNotAllowed", message: "no", cluster: main };
    const had = binding({ status: { policy: "sb_team_db", roles: ["sb_team"] } });
    const left = decided({ binding: had, plan: refused, outcome: { kind: "untried" } });
    expect(shown(left.status.conditions)).toEqual(
      expect.arrayContaining(["Stalled=True PathNotAllowed", "Synced=False PathNotAllowed"]),
    );
    expect(left.status.policy).toBe("sb_team_db");
    expect(left.objects).toEqual([]);
    const gone = decided({ binding: had, plan: refused, outcome: { kind: "withdrawn" } });
    expect(gone.status).toMatchObject({ roles: [] });
    expect(gone.status.policy).toBeUndefined();
  });

  it("stays Synced while the server is away, unless the spec changed meanwhile", () => {
    const synced = { ...binding(), status: decided({}).status };
    const outcome = { kind: "unavailable" as const, message: "away" };
    expect(shown(decided({ binding: synced, outcome }).status.conditions)).toEqual(
      expect.arrayContaining(["Ready=False VaultNotReady", "Synced=True Synced"]),
    );
    const changed = decided({ binding: synced, outcome, look: { ...LOOK, generation: 2 } });
    expect(shown(changed.status.conditions)).toContain("Synced=False VaultNotReady");
  });

  it("publishes no CA into the cluster's own namespace, which has it", () => {
    const own = binding({ namespace: "coffer-system" });
    expect(decided({ binding: own, bindings: [own] }).objects).toEqual([]);
  });
});

function readied(spec: { sources: readonly { name: string; path: string; optional: boolean }[] }) {
  const { path: _, ...rest } = binding().spec;
  return { ...binding(), spec: { ...rest, sources: spec.sources.map((source) => ({ ...source, version: 0 })) } };
}

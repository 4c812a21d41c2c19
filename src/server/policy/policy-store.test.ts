import { describe, expect, it, vi } from "vitest";
import { FakeClock } from "#common/clock.ts";
import { silentLog } from "#common/log.ts";
import { SecretBytes } from "#common/secret-bytes.ts";
import { Barrier } from "../barrier/barrier.ts";
import type { Transaction } from "../barrier/transaction.ts";
import { openMemoryStorage } from "../storage/memory/memory-storage.ts";
import { ACL_CACHE_MAX } from "./acl-cache.ts";
import { DEFAULT_POLICY_TEXT } from "./builtin-policies.ts";
import { markIfPolicyKey, UNGUARDED_POLICIES_MAX } from "./policy-guard.ts";
import { policyKey } from "./policy-kind.ts";
import { PolicyStore, policyTextOf } from "./policy-store.ts";
import { POLICY_NAME_LENGTH_MAX } from "./policy-write.ts";

async function fixture() {
  const clock = new FakeClock();
  const barrier = new Barrier({ storage: openMemoryStorage(), clock, log: silentLog });
  const rootKey = SecretBytes.random(32);
  await barrier.initialize({ rootKey, plain: [] });
  await barrier.unseal(rootKey);
  const policies = new PolicyStore(clock);
  const commit = async (work: (tx: Transaction) => unknown) => {
    const tx = barrier.begin();
    await work(tx);
    expect(await tx.commit()).toBe("committed");
  };
  const set = (name: string, text: string) => commit((tx) => policies.set(tx, name, text));
  return { clock, barrier, policies, commit, set };
}

const READ_X = 'path "x" { capabilities = ["read"] }';

describe("policies in storage", () => {
  it("are kept byte for byte, under a lower-case name, with version and time", async () => {
    const { barrier, policies, set, commit } = await fixture();
    const text = '# a comment\r\npath "secret/*" {\n  capabilities = ["read"]\n}\n';
    await set("UP/a%b", text);
    await set("UP/a%b", text);
    expect(await policies.get(barrier.begin(), "Up/A%b")).toEqual({
      name: "up/a%b",
      text,
      version: 2,
      modified: "2026-01-01T00:00:00.000Z",
    });
    expect(policyKey("up/a%b")).toBe("core/policy/up%2Fa%25b");
    expect(await policies.list(barrier.begin())).toEqual(["default", "root", "up/a%b"]);
    await commit((tx) => policies.delete(tx, "UP/a%b"));
    await commit((tx) => policies.delete(tx, "up/a%b"));
    expect(await policies.get(barrier.begin(), "up/a%b")).toBeUndefined();
  });

  it("include the built-in ones", async () => {
    const { barrier, policies, set } = await fixture();
    expect((await policies.get(barrier.begin(), "default"))?.text).toBe(DEFAULT_POLICY_TEXT);
    expect((await policies.get(barrier.begin(), "ROOT"))?.text).toBe("");
    await set("default", READ_X);
    expect((await policies.get(barrier.begin(), "default"))?.text).toBe(READ_X);
  });

  it("are not all read again for each request of a token that has very many of them", async () => {
    const { barrier, policies, set, commit } = await fixture();
    const names = Array.from({ length: UNGUARDED_POLICIES_MAX + 1 }, (_, n) => `p${n}`);
    for (const name of names) await set(name, READ_X);
    const token = { policies: names, boundaries: [] };
    const keysRead = async () => {
      const tx = barrier.begin();
      const read = vi.spyOn(tx, "read");
      const acl = await policies.aclOfToken(tx, token);
      return { count: read.mock.calls.length, allowed: acl.check({ operation: "read", path: "x", data: {} }).allowed };
    };
    expect((await keysRead()).count).toBeGreaterThan(names.length);
    expect(await keysRead()).toEqual({ count: 1, allowed: true });
    for (const name of names) await commit((tx) => policies.delete(tx, name));
    expect((await keysRead()).allowed).toBe(false);
    await set("p0", READ_X);
    expect((await keysRead()).allowed).toBe(true);
    expect(await keysRead()).toEqual({ count: 1, allowed: true });
    await commit((tx) => {
      tx.delete(policyKey("p0"));
      markIfPolicyKey(tx, policyKey("p0"), 0);
    });
    expect((await keysRead()).allowed).toBe(false);
  });

  it("can be written against a version", async () => {
    const { policies, commit } = await fixture();
    await commit((tx) => policies.set(tx, "p", READ_X, { cas: 0 }));
    await expect(commit((tx) => policies.set(tx, "p", READ_X, { cas: 0 }))).rejects.toThrow(
      "check-and-set parameter did not match the current version",
    );
    await commit((tx) => policies.set(tx, "p", READ_X, { cas: 1 }));
  });

  it("say with -1 that it must be new, as clients of OpenBao do", async () => {
    const { policies, commit } = await fixture();
    await commit((tx) => policies.set(tx, "p", READ_X, { cas: -1 }));
    await expect(commit((tx) => policies.set(tx, "p", READ_X, { cas: -1 }))).rejects.toThrow(
      "check-and-set parameter set to -1 on existing entry",
    );
  });

  it("ask for a version where this or the last write wanted it", async () => {
    const { policies, commit, set } = await fixture();
    const required = "check-and-set parameter required for this call";
    await expect(commit((tx) => policies.set(tx, "p", READ_X, { casRequired: true }))).rejects.toThrow(required);
    await commit((tx) => policies.set(tx, "p", READ_X, { casRequired: true, cas: 0 }));
    await expect(set("p", READ_X)).rejects.toThrow(required);
    await commit((tx) => policies.set(tx, "p", READ_X, { cas: 1 }));
    await set("p", READ_X);
  });

  it("that have run out are not there and make room for a new one", async () => {
    const { clock, barrier, policies, commit } = await fixture();
    await commit((tx) => policies.set(tx, "p", READ_X, { expiresAtMillis: clock.now() + 1_000 }));
    expect(await policies.list(barrier.begin())).toContain("p");
    clock.advance(1_000);
    expect(await policies.get(barrier.begin(), "p")).toBeUndefined();
    await commit((tx) => policies.list(tx));
    expect((await barrier.begin().list("core/policy/", { limit: 10 })).length).toBe(0);
    await commit((tx) => policies.set(tx, "p", READ_X, { cas: -1 }));
    expect((await policies.get(barrier.begin(), "p"))?.version).toBe(1);
  });

  it.each([
    ["p", 0, "expiration must be in the future"],
    ["default", 1, "the default policy cannot expire"],
  ])("cannot run out: %s in %d ms", async (name, after, message) => {
    const { clock, barrier, policies } = await fixture();
    const expiresAtMillis = clock.now() + after;
    await expect(policies.set(barrier.begin(), name, READ_X, { expiresAtMillis })).rejects.toThrow(message);
  });

  it.each([
    ["root", READ_X, 'cannot update "root" policy'],
    ["Response-Wrapping", READ_X, 'cannot update "response-wrapping" policy'],
    ["p", "", "'policy' parameter not supplied or empty"],
    ["p", "hello", "failed to parse policy: At 1:7: key 'hello' expected start of object ('{') or assignment ('=')"],
    ["", READ_X, "a policy's name has 1 to 512 characters"],
    ["a".repeat(POLICY_NAME_LENGTH_MAX + 1), READ_X, "a policy's name has 1 to 512 characters"],
    ["a\nb", READ_X, "a policy's name has 1 to 512 characters"],
  ])("refuse to be written: %j", async (name, text, message) => {
    const { barrier, policies } = await fixture();
    await expect(policies.set(barrier.begin(), name, text)).rejects.toThrow(message);
  });

  it.each([
    ["default", "cannot delete default policy"],
    ["root", 'cannot delete "root" policy'],
    ["response-wrapping", 'cannot delete "response-wrapping" policy'],
  ])("refuse to be deleted: %s", async (name, message) => {
    const { barrier, policies } = await fixture();
    expect(() => policies.delete(barrier.begin(), name)).toThrow(message);
  });

  it("lists more than a page", async () => {
    const { barrier, policies, commit } = await fixture();
    const names = Array.from({ length: 1_001 }, (_, i) => `p${i}`);
    await commit(async (tx) => {
      for (const name of names) await policies.set(tx, name, READ_X);
    });
    expect(await policies.list(barrier.begin())).toHaveLength(1_003);
  });
});

describe("aclFor", () => {
  it("compiles once and again when a policy changed", async () => {
    const { barrier, policies, set } = await fixture();
    await set("p", READ_X);
    const first = await policies.aclFor(barrier.begin(), ["p", "missing"]);
    expect(first.check({ operation: "read", path: "x" }).allowed).toBe(true);
    expect(await policies.aclFor(barrier.begin(), ["missing", "p", "p"])).toBe(first);
    await set("p", 'path "x" { capabilities = ["list"] }');
    const second = await policies.aclFor(barrier.begin(), ["p", "missing"]);
    expect(second.check({ operation: "read", path: "x" }).allowed).toBe(false);
  });

  it("grants nothing by a policy that has run out, cached or not, and no longer than its rules say", async () => {
    const { clock, barrier, policies, commit } = await fixture();
    const early = new Date(clock.now() + 500).toISOString();
    const text = `${READ_X} path "y" { capabilities = ["read"] expiration = "${early}" }`;
    await commit((tx) => policies.set(tx, "p", text, { expiresAtMillis: clock.now() + 1_000 }));
    const reads = async (path: string) =>
      (await policies.aclFor(barrier.begin(), ["p"])).check({ operation: "read", path }).allowed;
    expect([await reads("x"), await reads("y")]).toEqual([true, true]);
    clock.advance(500);
    expect([await reads("x"), await reads("y")]).toEqual([true, false]);
    clock.advance(500);
    expect(await reads("x")).toBe(false);
  });

  it("fills templates with wildcards and slashes only where the policy wants them", async () => {
    const { barrier, policies, commit } = await fixture();
    const text = 'path "kv/{{identity.entity.name}}/a" { capabilities = ["read"] }';
    const patterns = async (value: string, write: { allowWildcards?: boolean; allowSlashes?: boolean }) => {
      await commit((tx) => policies.set(tx, "p", text, write));
      return (await policies.aclFor(barrier.begin(), ["p"], { resolve: () => value })).patterns;
    };
    expect(await patterns("+", {})).toEqual([]);
    expect(await patterns("+", { allowSlashes: true })).toEqual([]);
    expect(await patterns("+", { allowWildcards: true })).toEqual(["kv/+/a"]);
    expect(await patterns("b/c", { allowWildcards: true })).toEqual([]);
    expect(await patterns("b/c", { allowSlashes: true })).toEqual(["kv/b/c/a"]);
    expect(await patterns("+*", { allowWildcards: true })).toEqual([]);
  });

  it("puts what it read into the read set, missing policies too", async () => {
    const { barrier, policies, set } = await fixture();
    for (const name of ["p", "missing"]) {
      const tx = barrier.begin();
      await policies.aclFor(tx, ["p", "missing"]);
      tx.put("work", Buffer.from("done"));
      await set(name, READ_X);
      expect(await tx.commit()).toBe("conflict");
    }
  });

  it("does not keep what a transaction wrote and never committed", async () => {
    const { barrier, policies, set } = await fixture();
    await set("p", READ_X);
    const dropped = barrier.begin();
    await policies.set(dropped, "p", 'path "*" { capabilities = ["read", "sudo"] }');
    expect((await policies.aclFor(dropped, ["p"])).capabilities("y")).toEqual(["read", "sudo"]);
    expect((await policies.aclFor(barrier.begin(), ["p"])).capabilities("y")).toEqual(["deny"]);
  });

  it("knows the default policy without anything stored", async () => {
    const { barrier, policies } = await fixture();
    const acl = await policies.aclFor(barrier.begin(), ["default"], {
      resolve: (variable) => (variable === "identity.entity.id" ? "e1" : undefined),
    });
    const may = (operation: "read" | "update", path: string) => acl.check({ operation, path }).allowed;
    expect(may("read", "auth/token/lookup-self")).toBe(true);
    expect(may("update", "sys/capabilities-self")).toBe(true);
    expect(may("read", "cubbyhole/a/b")).toBe(true);
    expect(may("read", "identity/entity/id/e1")).toBe(true);
    expect(may("read", "identity/entity/id/e2")).toBe(false);
    expect(may("update", "sys/capabilities")).toBe(false);
  });

  it("keeps callers with different template values apart", async () => {
    const { barrier, policies, set } = await fixture();
    await set("t", 'path "kv/{{identity.entity.name}}/*" { capabilities = ["read"] }');
    for (const name of ["alice", "bob", "alice"]) {
      const acl = await policies.aclFor(barrier.begin(), ["t"], { resolve: () => name });
      expect(acl.patterns).toEqual([`kv/${name}/*`]);
    }
    expect((await policies.aclFor(barrier.begin(), ["t"])).patterns).toEqual([]);
  });

  it("compiles again when a rule expires", async () => {
    const { barrier, policies, set, clock } = await fixture();
    await set("p", 'path "x" { capabilities = ["read"] expiration = "2026-01-01T01:00:00Z" }');
    expect((await policies.aclFor(barrier.begin(), ["p"])).capabilities("x")).toEqual(["read"]);
    await clock.advance(3_600_000);
    expect((await policies.aclFor(barrier.begin(), ["p"])).capabilities("x")).toEqual(["deny"]);
  });

  it("stays right beyond the size of its cache", async () => {
    const { barrier, policies, set } = await fixture();
    await set("t", 'path "{{identity.entity.name}}" { capabilities = ["read"] }');
    const tx = barrier.begin();
    const patterns = async (name: string) => (await policies.aclFor(tx, ["t"], { resolve: () => name })).patterns;
    for (let i = 0; i < ACL_CACHE_MAX + 5; i++) expect(await patterns(`n${i}`)).toEqual([`n${i}`]);
    expect(await patterns("n0")).toEqual(["n0"]);
  });
});

describe("aclOfToken", () => {
  it("adds the identity's policies, resolves the token's metadata and holds to every boundary", async () => {
    const { barrier, policies, set } = await fixture();
    await set("own", 'path "secret/*" { capabilities = ["read", "list"] }');
    await set("team", 'path "team/*" { capabilities = ["read"] }');
    await set(
      "bound",
      'path "secret/{{token.metadata.namespace}}/*" { capabilities = ["read"] }\npath "team/*" { capabilities = ["read"] }',
    );
    const identity = { policies: ["team", "root"], resolve: () => undefined };
    const token = { policies: ["own"], boundaries: [["bound"]], vouched: { namespace: "shop" } };
    const acl = await policies.aclOfToken(barrier.begin(), token, identity);
    expect(acl.isRoot).toBe(false);
    expect(acl.capabilities("secret/shop/db")).toEqual(["read"]);
    expect(acl.capabilities("secret/other/db")).toEqual(["deny"]);
    expect(acl.capabilities("team/x")).toEqual(["read"]);
    const nothing = await policies.aclOfToken(
      barrier.begin(),
      { ...token, boundaries: [["bound"], ["missing"]] },
      identity,
    );
    expect(nothing.capabilities("team/x")).toEqual(["deny"]);
  });

  it("is root for root, but not beyond a boundary", async () => {
    const { barrier, policies, set } = await fixture();
    await set("bound", READ_X);
    const root = await policies.aclOfToken(barrier.begin(), { policies: ["root"], boundaries: [] });
    expect(root.isRoot).toBe(true);
    const bounded = await policies.aclOfToken(barrier.begin(), { policies: ["root"], boundaries: [["bound"]] });
    expect(bounded.isRoot).toBe(false);
    expect(bounded.capabilities("x")).toEqual(["read"]);
    expect(bounded.capabilities("y")).toEqual(["deny"]);
  });
});

describe("policyTextOf", () => {
  it.each([
    ["cGF0aCAic2VjcmV0LyoiIHsgY2FwYWJpbGl0aWVzID0gWyJyZWFkIl0gfQ==", 'path "secret/*" { capabilities = ["read"] }'],
    [READ_X, READ_X],
    ["# nothing\n", "# nothing\n"],
    ["hello", "hello"],
    ["", ""],
  ])("reads %j", (sent, text) => {
    expect(policyTextOf(sent)).toBe(text);
  });
});

import { describe, expect, it } from "vitest";
import { evictionOf } from "./evictions.ts";

const of = (path: string, body: object | string = {}, method = "POST") =>
  evictionOf(method, path, Buffer.from(typeof body === "string" ? body : JSON.stringify(body)), "own");

describe("what a request ends", () => {
  it.each([
    ["auth/token/revoke-self", {}, { kind: "token", token: "own" }],
    ["auth/token/revoke", { token: "t" }, { kind: "token", token: "t" }],
    ["auth/token/revoke/t", {}, { kind: "token", token: "t" }],
    ["auth/token/revoke-orphan", { token: "t" }, { kind: "token", token: "t", keepsChildren: true }],
    ["auth/token/revoke-accessor", { accessor: "a" }, { kind: "accessor", accessor: "a" }],
    ["sys/leases/revoke", { lease_id: "db/creds/r/1" }, { kind: "lease", leaseId: "db/creds/r/1" }],
    ["sys/leases/revoke/db/creds/r/1", {}, { kind: "lease", leaseId: "db/creds/r/1" }],
    ["sys/revoke", { lease_id: "l" }, { kind: "lease", leaseId: "l" }],
    ["sys/leases/revoke-prefix/db/creds", {}, { kind: "prefix", prefix: "db/creds" }],
    ["sys/leases/revoke-force/db", {}, { kind: "prefix", prefix: "db" }],
    ["sys/revoke-prefix/auth/userpass", {}, { kind: "prefix", prefix: "auth/userpass" }],
  ])("%s", (path, body, eviction) => {
    expect(of(path, body)).toEqual(eviction);
    expect(of(path, body, "PUT")).toEqual(eviction);
    expect(of(path, body, "GET")).toBeUndefined();
  });

  it.each([
    ["auth/token/revoke", {}],
    ["auth/token/revoke", "no json"],
    ["auth/token/revoke", "[]"],
    ["auth/token/revoked-at", { token: "t" }],
    ["sys/leases/renew", { lease_id: "l" }],
    ["secret/sys/revoke", { lease_id: "l" }],
  ])("nothing: %s %o", (path, body) => expect(of(path, body)).toBeUndefined());
});

import { describe, expect, it } from "vitest";
import { cleanPath } from "./clean-path.ts";

describe("paths that are sent elsewhere", () => {
  it.each([
    ["/v1/a//b", "/v1/a/b"],
    ["//v1/a", "/v1/a"],
    ["//evil.example/x", "/evil.example/x"],
    ["/v1/a/../b?x=//", "/v1/b?x=//"],
    ["/v1/a/./b/", "/v1/a/b/"],
    ["/v1/a/..", "/v1"],
    ["/v1/../../..", "/"],
    ["/v1/a/%2e%2e/b", "/v1/b"],
    ["/v1/a%2F%2Fb%20c", "/v1/a/b%20c"],
    ["/v1/a/.%2E/%3Fb", "/v1/%3Fb"],
  ])("%s goes to %s", (url, clean) => {
    expect(cleanPath(url)).toBe(clean);
    expect(cleanPath(clean)).toBe(undefined);
  });

  it.each(["/v1/a", "/v1/a/", "/v1/a?x=../..//", "/v1/..a/b..", "/v1/%zz", "/v1/a%2Fb", "/"])("%s stays", (url) => {
    expect(cleanPath(url)).toBe(undefined);
  });
});

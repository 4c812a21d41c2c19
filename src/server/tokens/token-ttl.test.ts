import { describe, expect, it } from "vitest";
import { resolveTtl, shortest } from "./token-ttl.ts";

const limits = { defaultSeconds: 100, maxSeconds: 1000, explicitMaxSeconds: 0, periodSeconds: 0, ageSeconds: 0 };

describe("the life of a token", () => {
  it.each([
    ["the default when nothing is asked", 0, limits, 100],
    ["what is asked", 300, limits, 300],
    ["at most the mount's maximum", 3000, limits, 1000],
    ["at most the token's own end", 300, { ...limits, explicitMaxSeconds: 200 }, 200],
    ["what is left of it at a renewal", 300, { ...limits, explicitMaxSeconds: 200, ageSeconds: 150 }, 50],
    ["nothing once it is over", 300, { ...limits, explicitMaxSeconds: 200, ageSeconds: 250 }, 0],
    ["the period, beyond the mount's maximum", 5, { ...limits, periodSeconds: 2000 }, 2000],
    ["the period up to the hard end", 5, { ...limits, periodSeconds: 2000, explicitMaxSeconds: 1500 }, 1500],
  ])("is %s", (_what, asked, within, ttlSeconds) => {
    expect(resolveTtl(asked, within).ttlSeconds).toBe(ttlSeconds);
  });

  it("ends at the earlier of two hard ends, where 0 is none", () => {
    expect([shortest(0, 0), shortest(0, 5), shortest(7, 0), shortest(7, 5)]).toEqual([0, 5, 7, 5]);
  });
});

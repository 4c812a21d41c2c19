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
    ["the period", 5, { ...limits, periodSeconds: 20 }, 20],
    ["the period again, however old the token is", 5, { ...limits, periodSeconds: 20, ageSeconds: 5000 }, 20],
    ["the mount's maximum for a longer period", 5, { ...limits, periodSeconds: 2000 }, 1000],
    ["the same at every renewal", 5, { ...limits, periodSeconds: 2000, ageSeconds: 5000 }, 1000],
    ["the period without a maximum", 5, { ...limits, periodSeconds: 2000, maxSeconds: 0 }, 2000],
    ["the period up to the hard end", 5, { ...limits, periodSeconds: 2000, explicitMaxSeconds: 500 }, 500],
    ["what is left of that", 5, { ...limits, periodSeconds: 90, explicitMaxSeconds: 500, ageSeconds: 480 }, 20],
  ])("is %s", (_what, asked, within, ttlSeconds) => {
    expect(resolveTtl(asked, within).ttlSeconds).toBe(ttlSeconds);
  });

  it("tells when a period is shortened", () => {
    expect(resolveTtl(0, { ...limits, periodSeconds: 7200, maxSeconds: 3600 }).warnings).toEqual([
      'period of "2h" exceeded the effective max_ttl of "1h"; period value is capped accordingly',
    ]);
    expect(resolveTtl(0, { ...limits, periodSeconds: 3600, maxSeconds: 3600 }).warnings).toEqual([]);
  });

  it("ends at the earlier of two hard ends, where 0 is none", () => {
    expect([shortest(0, 0), shortest(0, 5), shortest(7, 0), shortest(7, 5)]).toEqual([0, 5, 7, 5]);
  });
});

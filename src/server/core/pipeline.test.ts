import { describe, expect, it } from "vitest";
import { steps } from "./pipeline.ts";

describe("the pipeline", () => {
  it("has its steps in the order that its security depends on", () => {
    expect(steps.map(({ name }) => name)).toEqual([
      "resolve",
      "readiness",
      "authenticate",
      "quotas",
      "authorise",
      "audit-request",
      "handle",
      "issue",
      "wrap",
    ]);
  });
});

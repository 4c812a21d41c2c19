import { describe, expect, it } from "vitest";
import {
  CONDITION_MESSAGE_CHARACTERS_MAX,
  type Finding,
  isTrue,
  parseConditions,
  summaryFindings,
  withFindings,
  withoutConditions,
} from "./conditions.ts";

const NOON = Date.UTC(2026, 0, 1, 12);
const ready = (status: Finding["status"], reason = "Any", message = ""): Finding => ({
  type: "Ready",
  status,
  reason,
  message,
});

describe("conditions", () => {
  it("move their time only when the status flips and their generation always", () => {
    const first = withFindings([], { now: NOON, generation: 1 }, ready("False", "Waiting"));
    const second = withFindings(first, { now: NOON + 60_000, generation: 2 }, ready("False", "Other", "more"));
    const third = withFindings(second, { now: NOON + 120_000, generation: 2 }, ready("True"));
    expect(first).toEqual([
      {
        type: "Ready",
        status: "False",
        reason: "Waiting",
        message: "",
        lastTransitionTime: "2026-01-01T12:00:00Z",
        observedGeneration: 1,
      },
    ]);
    expect(second[0]).toMatchObject({
      reason: "Other",
      lastTransitionTime: "2026-01-01T12:00:00Z",
      observedGeneration: 2,
    });
    expect(third[0]).toMatchObject({ lastTransitionTime: "2026-01-01T12:02:00Z" });
  });
  it("leave others alone and can be dropped", () => {
    const before = parseConditions([{ type: "Other", status: "True", lastTransitionTime: "x" }]);
    const after = withFindings(before, { now: NOON, generation: 1 }, ready("True"));
    expect(after.map((one) => one.type)).toEqual(["Other", "Ready"]);
    expect(withoutConditions(after, "Other").map((one) => one.type)).toEqual(["Ready"]);
  });
  it("refuse a malformed reason and cut a long message", () => {
    const look = { now: NOON, generation: 1 };
    expect(() => withFindings([], look, ready("True", "not a reason"))).toThrow("malformed");
    const [long] = withFindings([], look, ready("True", "R", "m".repeat(CONDITION_MESSAGE_CHARACTERS_MAX + 1)));
    expect(long?.message.length).toBeLessThan(CONDITION_MESSAGE_CHARACTERS_MAX);
  });
  it.each([
    ["ready", "True", "False", "False"],
    ["reconciling", "False", "True", "False"],
    ["failing", "False", "True", "False"],
    ["stalled", "False", "False", "True"],
  ] as const)("summarise %s as Ready %s, Reconciling %s, Stalled %s", (state, isReady, reconciling, stalled) => {
    const findings = summaryFindings({ state, reason: "R", message: "m" });
    expect(findings.map(({ type, status }) => [type, status])).toEqual([
      ["Ready", isReady],
      ["Reconciling", reconciling],
      ["Stalled", stalled],
    ]);
  });
  it("are true for a generation only when they were looked at in it", () => {
    const all = withFindings([], { now: NOON, generation: 3 }, ready("True"));
    expect([isTrue(all, "Ready"), isTrue(all, "Ready", 3), isTrue(all, "Ready", 4), isTrue(all, "X")]).toEqual([
      true,
      true,
      false,
      false,
    ]);
  });
});

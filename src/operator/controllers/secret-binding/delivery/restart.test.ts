import { describe, expect, it } from "vitest";
import type { RestartWindow } from "../../../api/secret-delivery.ts";
import { millisUntil, planRestart } from "./restart.ts";

const HOUR = 3_600_000;
/** Thursday. */
const NOON = Date.UTC(2026, 0, 1, 12);
const restart = { targets: [{ kind: "Deployment" as const, name: "web" }], minInterval: "5m" };

describe("a restart", () => {
  it.each([
    ["a first delivery", { contentMAC: "a" }, { kind: "none" }],
    ["the same content", { contentMAC: "a", restartedMAC: "a" }, { kind: "none" }],
    ["a change", { contentMAC: "b", restartedMAC: "a" }, { kind: "now" }],
    [
      "a change long after another",
      { contentMAC: "b", restartedMAC: "a", restartedAt: "2026-01-01T11:55:00Z" },
      { kind: "now" },
    ],
    [
      "a change soon after another",
      { contentMAC: "b", restartedMAC: "a", restartedAt: "2026-01-01T11:56:00Z" },
      { kind: "later", inMillis: 60_000, why: "interval" },
    ],
  ])("%s", (_, state, expected) => {
    expect(planRestart(restart, state, NOON)).toEqual(expected);
  });

  it("waits for its window", () => {
    const window: RestartWindow = { start: "22:00", end: "04:00" };
    const state = { contentMAC: "b", restartedMAC: "a" };
    expect(planRestart({ ...restart, window }, state, NOON)).toEqual({
      kind: "later",
      inMillis: 10 * HOUR,
      why: "window",
    });
  });

  it.each<[string, RestartWindow, number, number]>([
    ["in it", { start: "11:00", end: "13:00" }, NOON, 0],
    ["at its beginning", { start: "12:00", end: "13:00" }, NOON, 0],
    ["at its end", { start: "11:00", end: "12:00" }, NOON, 23 * HOUR],
    ["after midnight in yesterday's", { start: "22:00", end: "04:00" }, NOON - 9 * HOUR, 0],
    ["on another day", { days: ["Sat"], start: "22:00", end: "04:00" }, NOON, 58 * HOUR],
    ["on Sunday in Saturday's", { days: ["Sat"], start: "22:00", end: "04:00" }, NOON + 63 * HOUR, 0],
    ["on the same day a week on", { days: ["Thu"], start: "10:00", end: "11:00" }, NOON, 166 * HOUR],
    ["all day", { start: "00:00", end: "00:00" }, NOON, 0],
  ])("window: %s", (_, window, now, expected) => {
    expect(millisUntil(window, now)).toBe(expected);
  });
});

import { describe, expect, it } from "vitest";
import { FakeClock } from "./clock.ts";
import { createLog, isAtLeast } from "./log.ts";
import { TAP_LINES_MAX, TAPS_MAX } from "./log-tap.ts";

function start() {
  const written: string[] = [];
  const log = createLog({ level: "warn", format: "text", write: (line) => written.push(line), now: () => 0 });
  return { log, written, taps: log.taps };
}
const all = { wants: () => true, format: "json" } as const;

describe("a reader of the log", () => {
  it("gets lines of its own severity and format, of every log made by with", () => {
    const { log, written, taps } = start();
    const tap = taps.open({ wants: (level) => isAtLeast(level, "info"), format: "json" });
    log.debug("no");
    log.with({ part: "x" }).info("yes", { n: 1 });
    expect(written).toEqual([]);
    expect(tap.take()).toEqual([
      '{"time":"1970-01-01T00:00:00.000Z","level":"info","message":"yes","part":"x","n":1}\n',
    ]);
    log.error("both");
    expect(written).toEqual(["1970-01-01T00:00:00.000Z ERROR both\n"]);
    expect(tap.take()).toHaveLength(1);
  });

  it("is cut off when it does not read", () => {
    const { log, taps } = start();
    const tap = taps.open(all);
    for (let i = 0; i < TAP_LINES_MAX; i++) log.info("x");
    expect(tap.overflowed.aborted).toBe(false);
    log.info("x");
    expect(tap.overflowed.aborted).toBe(true);
    log.info("x");
    expect(tap.take()).toEqual([]);
  });

  it("is one of a limited number, and makes room when it ends", () => {
    const { taps } = start();
    const opened = Array.from({ length: TAPS_MAX }, () => taps.open(all));
    expect(() => taps.open(all)).toThrow("readers already");
    opened[0]?.close();
    expect(taps.open(all).take()).toEqual([]);
  });

  it("waits until there is a line, the time is over or it is no longer wanted", async () => {
    const { log, taps } = start();
    const clock = new FakeClock();
    const tap = taps.open(all);
    const stop = new AbortController();
    const first = tap.wait(clock, 1_000, stop.signal);
    log.info("x");
    await first;
    expect(tap.take()).toHaveLength(1);
    const second = tap.wait(clock, 1_000, stop.signal);
    await clock.advance(1_000);
    await second;
    const third = tap.wait(clock, 1_000, stop.signal);
    stop.abort();
    await third;
    expect(tap.take()).toEqual([]);
  });
});

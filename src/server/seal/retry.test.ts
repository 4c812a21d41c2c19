// Waiting for a seal: pauses by kind of fault, reports, giving up.
import { describe, expect, it } from "vitest";
import { FakeClock } from "#common/clock.ts";
import { retryTransient } from "./retry.ts";
import { SealError } from "./seal.ts";

const throttled = () => new SealError("Throttled", "seal kms: busy", { transient: true });
const disabled = () => new SealError("KeyDisabled", "seal kms: disabled", { transient: false });

/** Runs an operation that throws the given errors in turn, then succeeds; time flies. */
async function run(errors: Error[], random = () => 1) {
  const waits: number[] = [];
  const faults: string[] = [];
  const clock = new FakeClock();
  const result = retryTransient(
    async () => {
      const error = errors.shift();
      if (error !== undefined) throw error;
      return "open";
    },
    {
      clock,
      random,
      onFault: ({ fault }, { attempt, waitMillis }) => {
        faults.push(`${attempt} ${fault}`);
        waits.push(waitMillis);
        setImmediate(() => void clock.advance(waitMillis));
      },
    },
  );
  return { result: await result, waits, faults };
}

describe("retryTransient", () => {
  it("gives the result of the first good try without a pause", async () => {
    expect(await run([])).toEqual({ result: "open", waits: [], faults: [] });
  });

  it("doubles the pause up to a minute, and tells each fault", async () => {
    const { result, waits, faults } = await run(Array.from({ length: 9 }, throttled));
    expect(result).toBe("open");
    expect(waits).toEqual([1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000, 60_000]);
    expect(faults.slice(0, 2)).toEqual(["1 Throttled", "2 Throttled"]);
  });

  it("goes on after a fault that somebody must repair, but slower", async () => {
    expect((await run([disabled(), disabled(), disabled(), disabled()])).waits).toEqual([
      10_000, 20_000, 40_000, 60_000,
    ]);
  });

  it("jitters between half and all of the pause", async () => {
    expect((await run([throttled(), throttled()], () => 0)).waits).toEqual([500, 1000]);
    expect((await run([throttled(), throttled()], () => 0.5)).waits).toEqual([750, 1500]);
  });

  it("does not retry what is no fault of a seal", async () => {
    await expect(run([new TypeError("a bug")])).rejects.toThrow("a bug");
  });

  it("ends with the signal's reason, in the pause and before a try", async () => {
    const stop = new AbortController();
    const waiting = retryTransient(() => Promise.reject(throttled()), {
      clock: new FakeClock(),
      signal: stop.signal,
      onFault: () => setImmediate(() => stop.abort(new Error("shutting down"))),
    });
    await expect(waiting).rejects.toThrow("shutting down");
    const late = retryTransient(async () => "open", { clock: new FakeClock(), signal: stop.signal });
    await expect(late).rejects.toThrow("shutting down");
  });
});

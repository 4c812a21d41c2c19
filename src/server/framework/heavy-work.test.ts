import { expect, it } from "vitest";
import { HEAVY_AT_ONCE, HEAVY_WAITING_MAX, HeavyWork } from "./heavy-work.ts";

it("runs few at once, lets some wait in order, and refuses the rest", async () => {
  const heavy = new HeavyWork();
  const ends: (() => void)[] = [];
  const done: number[] = [];
  let atOnce = 0;
  let most = 0;
  const start = (n: number) =>
    heavy.run(async () => {
      most = Math.max(most, ++atOnce);
      await new Promise<void>((resolve) => ends.push(resolve));
      atOnce--;
      done.push(n);
    });
  const count = HEAVY_AT_ONCE + HEAVY_WAITING_MAX;
  const accepted = Array.from({ length: count }, (_, n) => start(n));
  await expect(start(count)).rejects.toMatchObject({ code: "unavailable" });
  while (done.length < count) {
    await new Promise((resolve) => setImmediate(resolve));
    ends.shift()?.();
  }
  await Promise.all(accepted);
  expect(most).toBe(HEAVY_AT_ONCE);
  expect(done).toEqual(Array.from({ length: count }, (_, n) => n));
  const late = start(count);
  await new Promise((resolve) => setImmediate(resolve));
  ends.shift()?.();
  await late;
});

it("goes on after work that failed", async () => {
  const heavy = new HeavyWork();
  const failing = Array.from({ length: HEAVY_AT_ONCE + 1 }, () => heavy.run(() => Promise.reject(new Error("no"))));
  expect((await Promise.allSettled(failing)).every(({ status }) => status === "rejected")).toBe(true);
  await expect(heavy.run(async () => "yes")).resolves.toBe("yes");
});

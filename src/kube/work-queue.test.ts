import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { FakeClock } from "#common/clock.ts";
import { createWorkQueue, USER_TURNS_MAX, type WorkQueue } from "./work-queue.ts";

let clock: FakeClock;
let queue: WorkQueue;
let abort: AbortController;
let running: Promise<void>;
beforeEach(() => {
  clock = new FakeClock();
  queue = createWorkQueue({ clock, backoff: { initialMillis: 1000, maxMillis: 8000 } });
  abort = new AbortController();
  running = queue.run(abort.signal);
});
afterEach(async () => {
  abort.abort();
  await running;
});

async function drain(): Promise<string[]> {
  const keys: string[] = [];
  while (queue.sizes().ready > 0) {
    const key = await queue.next(abort.signal);
    if (key === undefined) break;
    keys.push(key);
    queue.done(key);
  }
  return keys;
}

describe("a work queue", () => {
  it("gives each key once, in order", async () => {
    for (const key of ["a", "b", "a"]) queue.add(key);
    expect(await drain()).toEqual(["a", "b"]);
  });
  it("gives a key to one worker at a time and again when it was added meanwhile", async () => {
    queue.add("a");
    expect(await queue.next(abort.signal)).toBe("a");
    queue.add("a");
    queue.add("a");
    expect(queue.sizes()).toEqual({ ready: 0, waiting: 0, working: 1 });
    queue.done("a");
    expect(await drain()).toEqual(["a"]);
  });
  it("puts what users wait for first and lets an edit overtake its own refresh", async () => {
    queue.add("r1", "refresh");
    queue.add("r2", "refresh");
    queue.add("u1", "user");
    queue.add("r2", "user");
    expect(await drain()).toEqual(["u1", "r2", "r1"]);
  });
  it("starves no refresh", async () => {
    queue.add("r", "refresh");
    for (let i = 0; i < USER_TURNS_MAX + 5; i++) queue.add(`u${i}`);
    expect((await drain()).indexOf("r")).toBe(USER_TURNS_MAX);
  });
  it("wakes a waiting worker", async () => {
    const taken = queue.next(abort.signal);
    queue.add("a");
    expect(await taken).toBe("a");
  });
  it("adds keys when their time has come, the earliest time counting", async () => {
    queue.addAfter("a", 5000);
    queue.addAfter("b", 60_000);
    queue.addAfter("b", 1000);
    queue.addAfter("b", 30_000);
    await clock.advance(0);
    await clock.advance(1000);
    expect(await drain()).toEqual(["b"]);
    await clock.advance(4000);
    expect(await drain()).toEqual(["a"]);
    await clock.advance(120_000);
    expect(queue.sizes()).toEqual({ ready: 0, waiting: 0, working: 0 });
  });
  it("waits longer after each failure, up to the maximum, and starts anew when forgotten", () => {
    const waits = Array.from({ length: 6 }, () => queue.addFailed("a"));
    const full = [1000, 2000, 4000, 8000, 8000, 8000];
    waits.forEach((wait, i) => {
      expect(wait).toBeGreaterThanOrEqual((full[i] ?? 0) / 2);
      expect(wait).toBeLessThanOrEqual(full[i] ?? 0);
    });
    queue.forget("a");
    expect(queue.addFailed("a")).toBeLessThanOrEqual(1000);
  });
  it("does not do planned work again that was done early", async () => {
    queue.addAfter("a", 5000);
    queue.add("a");
    expect(await drain()).toEqual(["a"]);
    await clock.advance(6000);
    expect(await drain()).toEqual([]);
  });
  it("lets every worker go when it ends", async () => {
    const takers = [queue.next(abort.signal), queue.next(abort.signal)];
    abort.abort();
    expect(await Promise.all(takers)).toEqual([undefined, undefined]);
  });
});

import { describe, expect, it } from "vitest";
import { FakeClock } from "#common/clock.ts";
import { TURN_WAIT_MILLIS_MAX, Turns } from "./turns.ts";

/** Lets everything that can go on do so. */
const settle = () => new Promise((resolve) => setImmediate(resolve));

describe("turns", () => {
  it("are given one at a time, first come first served, in each lane by itself", async () => {
    const turns = new Turns(new FakeClock());
    const order: string[] = [];
    const take = async (name: string, lane: string) => {
      const turn = await turns.take(lane);
      order.push(name);
      return turn;
    };
    const first = await take("a1", "a");
    const later = [take("a2", "a"), take("a3", "a")] as const;
    await take("b1", "b");
    await settle();
    expect(order).toEqual(["a1", "b1"]);
    first[Symbol.dispose]();
    const second = await later[0];
    first[Symbol.dispose]();
    await settle();
    expect(order).toEqual(["a1", "b1", "a2"]);
    second[Symbol.dispose]();
    (await later[1])[Symbol.dispose]();
    await take("a4", "a");
    expect(order).toEqual(["a1", "b1", "a2", "a3", "a4"]);
  });

  it("are not waited for for ever, and who went on without has none to end", async () => {
    const clock = new FakeClock();
    const turns = new Turns(clock);
    const slow = await turns.take("a");
    const impatient = turns.take("a");
    await clock.advance(TURN_WAIT_MILLIS_MAX);
    const without = await impatient;
    const third = turns.take("a");
    without[Symbol.dispose]();
    const isThird = await Promise.race([third.then(() => true), settle().then(() => false)]);
    expect(isThird).toBe(false);
    slow[Symbol.dispose]();
    (await third)[Symbol.dispose]();
  });
});

// The queue before a device: deadline, order, bounds, recovery, what is lost and told.
import { createSecretKey } from "node:crypto";
import { describe, expect, it } from "vitest";
import { FakeClock } from "#common/clock.ts";
import { silentLog } from "#common/log.ts";
import { createMetrics } from "#common/metrics.ts";
import type { AuditDevice } from "./audit-device.ts";
import { declareAuditMetrics } from "./audit-metrics.ts";
import { ChainWriter } from "./chain-writer.ts";
import { DeviceQueue, QUEUE_CHARACTERS_MAX, QUEUE_LINES_MAX } from "./device-queue.ts";
import { firstAcceptance } from "./first-acceptance.ts";

type Behaviour = "take" | "refuse" | "hang" | "hang for good";

function setUp(lineBytesMax?: number) {
  const clock = new FakeClock();
  const metrics = createMetrics();
  const declared = declareAuditMetrics(metrics);
  const peer = { behaviour: "take" as Behaviour, batches: [] as string[][], release: () => {} };
  const device: AuditDevice = {
    ...(lineBytesMax !== undefined && { lineBytesMax }),
    probe: async () => {},
    async write(lines, signal) {
      if (peer.behaviour === "refuse") throw new Error("no");
      if (peer.behaviour === "hang" || peer.behaviour === "hang for good") {
        const { behaviour } = peer;
        await new Promise<void>((resolve, reject) => {
          peer.release = resolve;
          if (behaviour === "hang") signal.addEventListener("abort", () => reject(new Error("cut")));
        });
      }
      peer.batches.push(lines.map((line) => String(/"n":"?(\w+)/.exec(line)?.[1])));
    },
    close: async () => {},
  };
  const queue = new DeviceQueue({
    ...{ path: "d/", device, clock, log: silentLog, timeoutMillis: 1_000, metrics: () => declared },
    chain: new ChainWriter(createSecretKey(Buffer.alloc(32))),
    lostLine: (lines) => `{"n":"lost${lines}"}`,
  });
  const write = (n: string) => queue.write(`{"n":"${n}"}`);
  const outcome = (write: Promise<void>) =>
    write.then(
      () => "taken",
      (error: Error) => error.message,
    );
  return { clock, metrics, peer, queue, write, outcome };
}

const settle = () => new Promise((resolve) => setImmediate(resolve));

describe("the queue of an audit device", () => {
  it("keeps the order and writes at once what comes in one turn of the event loop", async () => {
    const { peer, write } = setUp();
    await Promise.all(["a", "b", "c"].map(write));
    await write("d");
    expect(peer.batches).toEqual([["a", "b", "c"], ["d"]]);
  });

  it("puts what comes during a write into one batch", async () => {
    const { peer, write } = setUp();
    peer.behaviour = "hang";
    const first = write("a");
    await settle();
    const others = ["b", "c"].map(write);
    await settle();
    others.push(write("d"));
    peer.behaviour = "take";
    peer.release();
    await Promise.all([first, ...others]);
    expect(peer.batches).toEqual([["a"], ["b", "c", "d"]]);
  });

  it("tells the callers of a device that refuses at once, and gives it the lines later", async () => {
    const { peer, write, outcome } = setUp();
    peer.behaviour = "refuse";
    expect(await outcome(write("a"))).toBe("no");
    expect(await outcome(write("b"))).toBe("no");
    peer.behaviour = "take";
    expect(await outcome(write("c"))).toBe("taken");
    expect(peer.batches).toEqual([["a"], ["b", "c"]]);
  });

  it("costs one deadline when a device hangs; later lines wait for it, their callers do not", async () => {
    const { clock, peer, write, outcome, metrics } = setUp();
    peer.behaviour = "hang";
    const first = [outcome(write("a")), outcome(write("b"))];
    await settle();
    await clock.advance(999);
    expect(await Promise.race([first[0], "waits"])).toBe("waits");
    await clock.advance(1);
    expect(await Promise.all(first)).toEqual(Array(2).fill("the audit device did not answer within 1000 ms"));
    expect(await outcome(write("c"))).toBe("the audit device does not answer; the line waits for it");
    expect(metrics.render()).toContain('coffer_audit_device_up{device="d/"} 0');
    expect(metrics.render()).toContain('coffer_audit_queue_lines{device="d/"} 3');
    peer.behaviour = "take";
    await clock.advance(1_000);
    for (let i = 0; i < 3; i++) await settle();
    expect(peer.batches).toEqual([["a", "b"], ["c"]]);
    expect(await outcome(write("d"))).toBe("taken");
    expect(metrics.render()).toContain('coffer_audit_device_up{device="d/"} 1');
    expect(metrics.render()).toContain('coffer_audit_lines_total{device="d/"} 4');
  });

  it("goes on with a device that cannot be cut off when it answers after all", async () => {
    const { clock, peer, write, outcome } = setUp();
    peer.behaviour = "hang for good";
    const first = outcome(write("a"));
    await settle();
    await clock.advance(1_000);
    expect(await first).toContain("did not answer");
    expect(await outcome(write("b"))).toContain("the line waits for it");
    peer.behaviour = "take";
    peer.release();
    for (let i = 0; i < 3; i++) await settle();
    expect(peer.batches).toEqual([["a"], ["b"]]);
  });

  it("holds as many lines as it may and tells of the others", async () => {
    const { clock, peer, write, outcome, metrics } = setUp();
    peer.behaviour = "hang";
    const first = outcome(write("a"));
    await settle();
    await clock.advance(1_000);
    await first;
    const waits = (i: number) => outcome(write(`w${i}`));
    const waiting = await Promise.all(Array.from({ length: QUEUE_LINES_MAX }, (_, i) => waits(i)));
    expect(new Set(waiting)).toEqual(new Set(["the audit device does not answer; the line waits for it"]));
    expect(await outcome(write("x"))).toBe("the queue of the audit device is full");
    expect(await outcome(write("y"))).toBe("the queue of the audit device is full");
    expect(metrics.render()).toContain('coffer_audit_lost_lines_total{device="d/"} 2');
    peer.behaviour = "take";
    await clock.advance(1_000);
    for (let i = 0; i < 20; i++) await settle();
    expect(peer.batches.slice(0, 2).map((batch) => batch.slice(0, 2))).toEqual([["a"], ["lost2", "w0"]]);
    expect(peer.batches.flat()).toHaveLength(QUEUE_LINES_MAX + 2);
  });

  it("bounds the characters too, and the length of a line", async () => {
    const full = setUp();
    full.peer.behaviour = "hang for good";
    const big = "x".repeat(QUEUE_CHARACTERS_MAX / 2);
    void full.outcome(full.write("a"));
    await settle();
    void full.outcome(full.queue.write(big));
    void full.outcome(full.queue.write(big));
    expect(await full.outcome(full.write("b"))).toBe("the queue of the audit device is full");
    const short = setUp(1_000);
    expect(await short.outcome(short.queue.write(`{"n":"${"x".repeat(1_000)}"}`))).toContain(
      "longer than the 1000 bytes",
    );
    expect(await short.outcome(short.write("a"))).toBe("taken");
  });

  it("gives what waits to the device before it closes, and takes no more", async () => {
    const { peer, write, queue, outcome } = setUp();
    const writes = ["a", "b"].map(write);
    await queue.close();
    await Promise.all(writes);
    expect(peer.batches).toEqual([["a", "b"]]);
    expect(await outcome(write("c"))).toBe("the audit device is closed");
  });
});

describe("the first acceptance", () => {
  const taken = () => ({ queue: { behind: false }, done: Promise.resolve() });
  const refused = () => ({ queue: { behind: false }, done: Promise.reject(new Error("no")) });
  const never = () => ({ queue: { behind: false }, done: new Promise<void>(() => {}) });

  it("needs one device", async () => {
    const clock = new FakeClock();
    expect(await firstAcceptance([taken()], clock)).toBe(true);
    expect(await firstAcceptance([refused(), taken()], clock)).toBe(true);
    expect(await firstAcceptance([refused()], clock)).toBe(false);
    expect(await firstAcceptance([refused(), refused()], clock)).toBe(false);
    expect(await firstAcceptance([], clock)).toBe(false);
  });

  it("waits a moment for a slow one, and the next time not at all", async () => {
    const clock = new FakeClock();
    const slow = never();
    const first = firstAcceptance([taken(), slow], clock);
    expect(await Promise.race([first, settle().then(() => "waits")])).toBe("waits");
    await clock.advance(50);
    expect(await first).toBe(true);
    expect(slow.queue.behind).toBe(true);
    expect(await firstAcceptance([taken(), slow], clock)).toBe(true);
  });
});

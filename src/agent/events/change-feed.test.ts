// The feed over a client that is told what to say, with a clock that is moved by hand.
import { describe, expect, it } from "vitest";
import type { ApiClient } from "#client/api-client.ts";
import { ApiError } from "#client/api-error.ts";
import { FakeClock } from "#common/clock.ts";
import { silentLog } from "#common/log.ts";
import { ChangeFeed } from "./change-feed.ts";
import { changedPath } from "./changed-path.ts";

const PATHS = new Set(["secret/data/a", "secret/data/b"]);
const eventOf = (path: string) => JSON.stringify({ data: { event: { metadata: { data_path: path } } } });

/** One connection as the feed asked for it. */
interface Connection {
  readonly query: Readonly<Record<string, unknown>>;
  open(): void;
  tell(text: string): void;
  end(error: Error): void;
}

function setUp() {
  const clock = new FakeClock();
  const end = new AbortController();
  const connections: Connection[] = [];
  const messages = async function* (
    _path: string,
    { query = {}, signal, onOpen }: Parameters<ApiClient["messages"]>[1] = {},
  ) {
    const waiting: (string | Error)[] = [];
    let wake = Promise.withResolvers<void>();
    const add = (what: string | Error) => {
      waiting.push(what);
      wake.resolve();
    };
    signal?.addEventListener("abort", () => wake.resolve());
    connections.push({ query: { ...query }, open: () => onOpen?.(), tell: add, end: add });
    while (signal?.aborted !== true) {
      for (const what of waiting.splice(0)) {
        if (what instanceof Error) throw what;
        yield what;
      }
      await wake.promise;
      wake = Promise.withResolvers();
    }
  };
  const feed = new ChangeFeed({ client: { messages }, clock, log: silentLog, signal: end.signal });
  const connection = async (n: number) => {
    await expect.poll(() => connections.length).toBeGreaterThan(n);
    return connections[n] ?? expect.unreachable();
  };
  return { clock, end, connections, feed, connection };
}

/** Lets what is settled go on. */
const settle = () => new Promise((resolve) => setImmediate(resolve));
const HOUR = 3_600_000;

function waiting(feed: ChangeFeed, interval = HOUR, until = Number.POSITIVE_INFINITY) {
  const state = { done: false };
  void feed.wait(interval, until).then(() => {
    state.done = true;
  });
  return state;
}

const failure = (status: number) =>
  new ApiError({
    method: "GET",
    path: "p",
    address: "a",
    status,
    errors: [],
    ...(status === 0 && { connection: "closed" }),
  });

describe("a feed of changes", () => {
  it("asks for its paths alone, and wakes for a change of one of them, within two seconds", async () => {
    const { clock, feed, connection, end } = setUp();
    feed.watch(PATHS);
    void feed.run();
    const made = await connection(0);
    expect(made.query).toEqual({
      json: true,
      filter: 'data_path == "secret/data/a" or data_path == "secret/data/b"',
    });
    made.open();
    const first = waiting(feed);
    await clock.advance(1_500);
    await settle();
    await clock.advance(2_000);
    await settle();
    expect(first.done).toBe(true);
    const second = waiting(feed);
    made.tell(eventOf("secret/data/other"));
    await settle();
    await clock.advance(2_000);
    await settle();
    expect(second.done).toBe(false);
    made.tell(eventOf("secret/data/b"));
    await settle();
    await clock.advance(2_000);
    await settle();
    expect(second.done).toBe(true);
    end.abort();
  });

  it("polls six times more slowly while it is live, and never beyond the end of a lease", async () => {
    const { clock, feed, connection, end } = setUp();
    feed.watch(PATHS);
    void feed.run();
    const before = waiting(feed, 10_000);
    await clock.advance(10_000);
    await settle();
    expect(before.done).toBe(true);
    (await connection(0)).open();
    const settled = waiting(feed);
    await clock.advance(1_500);
    await settle();
    await clock.advance(2_000);
    await settle();
    expect(settled.done).toBe(true);
    const after = waiting(feed, 10_000);
    const leased = waiting(feed, 10_000, 5_000);
    await clock.advance(5_000);
    await settle();
    expect([after.done, leased.done]).toEqual([false, true]);
    await clock.advance(54_999);
    await settle();
    expect(after.done).toBe(false);
    await clock.advance(1);
    await settle();
    expect(after.done).toBe(true);
    end.abort();
  });

  it("connects again after a loss, spread over seconds, and reads once more then", async () => {
    const { clock, feed, connection, connections, end } = setUp();
    feed.watch(PATHS);
    void feed.run();
    const first = await connection(0);
    first.open();
    expect(feed.isLive).toBe(true);
    first.end(failure(0));
    await expect.poll(() => feed.isLive).toBe(false);
    expect(connections).toHaveLength(1);
    await clock.advance(5_250);
    (await connection(1)).open();
    const state = waiting(feed);
    await clock.advance(1_500);
    await settle();
    await clock.advance(2_000);
    await settle();
    expect(state.done).toBe(true);
    end.abort();
  });

  it.each([403, 404, 405, 429])("leaves a server in peace that answers %i", async (status) => {
    const { clock, feed, connection, connections, end } = setUp();
    feed.watch(PATHS);
    void feed.run();
    (await connection(0)).end(failure(status));
    await settle();
    await clock.advance(59_000);
    await settle();
    expect(connections).toHaveLength(1);
    await clock.advance(HOUR);
    await connection(1);
    end.abort();
  });

  it("does without a filter where the server does not know it, or it would be too long", async () => {
    const { feed, connection, end } = setUp();
    feed.watch(PATHS);
    void feed.run();
    (await connection(0)).end(failure(400));
    expect((await connection(1)).query).toEqual({ json: true });
    feed.watch(new Set(Array.from({ length: 17 }, (_, i) => `secret/data/${i}`)));
    expect((await connection(2)).query).toEqual({ json: true });
    end.abort();
  });

  it("connects anew for other paths, and not for the same", async () => {
    const { feed, connection, connections, end } = setUp();
    feed.watch(PATHS);
    void feed.run();
    await connection(0);
    feed.watch(new Set(PATHS));
    await settle();
    expect(connections).toHaveLength(1);
    feed.watch(new Set(["kv/c"]));
    expect((await connection(1)).query).toEqual({ json: true, filter: 'data_path == "kv/c"' });
    end.abort();
  });

  it("asks for nothing without a path", async () => {
    const { feed, connections, end } = setUp();
    const running = feed.run();
    await settle();
    expect(connections).toHaveLength(0);
    end.abort();
    await running;
  });
});

it("takes an event that it cannot read for a change", () => {
  expect(changedPath("{")).toBeUndefined();
  expect(changedPath("{}")).toBeUndefined();
  expect(changedPath(eventOf("a"))).toBe("a");
});

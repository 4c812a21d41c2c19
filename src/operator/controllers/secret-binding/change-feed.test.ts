import { describe, expect, it } from "vitest";
import { ApiError } from "#client/api-error.ts";
import { systemClock } from "#common/clock.ts";
import { silentLog } from "#common/log.ts";
import { eventually } from "#test/kube/eventually.ts";
import { cluster } from "#test/operator/fixtures.ts";
import { type ChangeFeedsOptions, createChangeFeeds, writtenPaths } from "./change-feed.ts";

describe("paths as people write them", () => {
  it.each([
    ["secret/data/team/db", ["secret/data/team/db", "secret/team/db"]],
    ["secret/metadata/team/db", ["secret/metadata/team/db", "secret/team/db"]],
    ["a/b/data/data/x", ["a/b/data/data/x", "a/b/data/x", "a/b/data/x"]],
    ["kv/team/db", ["kv/team/db"]],
    ["data/x", ["data/x"]],
  ])("%s", (path, expected) => {
    expect(writtenPaths(path)).toEqual(expected);
  });
});

describe("a feed of changes", () => {
  const event = (path: string) => JSON.stringify({ data: { event: { metadata: { data_path: path } } } });

  it("tells changes while it is live, nothing at first, and everything after a lost connection", async () => {
    const end = new AbortController();
    const told: (string | undefined)[] = [];
    let connections = 0;
    const lost = Promise.withResolvers<void>();
    const servers: ChangeFeedsOptions["servers"] = {
      withSession: async (_cluster, signal, work) =>
        work({
          async *messages(_path, options) {
            connections++;
            options?.onOpen?.();
            yield event("secret/data/team/db");
            if (connections === 1) await lost.promise;
            else await new Promise((resolve) => signal.addEventListener("abort", resolve));
            throw new ApiError({ method: "GET", path: "x", address: "a", status: 0, errors: [], connection: "closed" });
          },
        }),
    };
    const main = cluster();
    const feeds = createChangeFeeds({
      servers,
      clusters: () => [main],
      onChange: (_, path) => void told.push(path),
      clock: { ...systemClock, sleep: (_, signal) => systemClock.sleep(1, signal) },
      log: silentLog,
    });
    const running = feeds.run(end.signal);
    await eventually(() => told.length === 1 && feeds.isLive(main));
    lost.resolve();
    await eventually(() => told.length === 3);
    expect(told).toEqual(["secret/data/team/db", undefined, "secret/data/team/db"]);
    end.abort();
    await running;
    expect(feeds.isLive(main)).toBe(false);
  });
});

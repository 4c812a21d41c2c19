// Leased credentials over their life: renewed while that is worth it, replaced while they are still valid, kept while the
// server is away.
import { expect, it } from "vitest";
import { createApiClient } from "#client/api-client.ts";
import { FakeClock } from "#common/clock.ts";
import { HastyClock } from "#test/hasty-clock.ts";
import { enveloped, refused, type ScriptedAnswer, startScriptedApi } from "#test/scripted-api.ts";
import { LeaseBook } from "./lease-book.ts";

const forever = new AbortController().signal;
const HOUR = 3600;

async function startBook(answer: () => ScriptedAnswer, renewable = true) {
  const api = await startScriptedApi(answer);
  const clock = new FakeClock();
  const client = createApiClient({ address: api.address, token: "t", retries: 0, clock: new HastyClock() });
  const book = new LeaseBook({ client, clock, renewAt: 0.5 });
  const lease = { id: "database/creds/app/1", seconds: HOUR, renewable };
  const kept = book.keep(
    "db",
    "database/creds/app",
    { kind: "data", data: { user: "u1" }, lease },
    clock.now() + 1_800_000,
  );
  return {
    ...{ api, clock, book, kept },
    current: () => book.current("db", "database/creds/app", forever),
  };
}

const renewal = (seconds: number) => () => enveloped(null, { lease_duration: seconds, renewable: true });

it("gives what it keeps, asks nobody before it is due, and then renews", async () => {
  const { api, clock, kept, current } = await startBook(renewal(HOUR));
  await using _ = api;
  // Put off by a tenth of the rest at most.
  expect(kept.readAgainAt - clock.now()).toBeGreaterThanOrEqual(1_800_000);
  expect(kept.readAgainAt - clock.now()).toBeLessThan(1_980_000);
  await clock.advance(1_700_000);
  expect((await current())?.data).toEqual({ user: "u1" });
  expect(api.seen).toEqual([]);
  await clock.advance(300_000);
  const renewed = await current();
  expect(api.seen[0]).toMatchObject({
    path: "sys/leases/renew",
    body: { lease_id: "database/creds/app/1", increment: HOUR },
  });
  expect(renewed?.readAgainAt).toBe(clock.now() + 1_800_000);
});

it("has another one read while the last is still valid, once renewing gives little or is refused", async () => {
  for (const answer of [renewal(HOUR / 4), () => refused(400, "lease is not renewable")]) {
    const { api, clock, current } = await startBook(answer);
    await using _ = api;
    await clock.advance(2_000_000);
    expect(await current()).toBeUndefined();
  }
});

it("asks for no renewal of what cannot be renewed", async () => {
  const { api, clock, current } = await startBook(renewal(HOUR), false);
  await using _ = api;
  await clock.advance(2_000_000);
  expect(await current()).toBeUndefined();
  expect(api.seen).toEqual([]);
});

it("goes on with what is valid while the server is away, and no longer", async () => {
  const { api, clock, book, current } = await startBook(() => refused(503, "sealed"));
  await using _ = api;
  await clock.advance(2_000_000);
  expect((await current())?.data).toEqual({ user: "u1" });
  expect(book.stillValid("db", "database/creds/app")?.data).toEqual({ user: "u1" });
  await clock.advance(1_600_000);
  expect(await current()).toBeUndefined();
  expect(book.stillValid("db", "database/creds/app")).toBeUndefined();
});

it("replaces all when another token follows, and knows none of another path", async () => {
  const { api, book, current } = await startBook(renewal(HOUR));
  await using _ = api;
  expect(await book.current("db", "database/creds/other", forever)).toBeUndefined();
  book.replaceAll();
  expect(await current()).toBeUndefined();
  expect(api.seen).toEqual([]);
});

it("goes on where it was after a restart", async () => {
  const { api, clock, book, kept } = await startBook(renewal(HOUR));
  await using _ = api;
  const client = createApiClient({ address: api.address, retries: 0, clock: new HastyClock() });
  const again = new LeaseBook({ client, clock, renewAt: 0.5, saved: JSON.parse(JSON.stringify(book.saved())) });
  expect(await again.current("db", "database/creds/app", forever)).toEqual(kept);
});

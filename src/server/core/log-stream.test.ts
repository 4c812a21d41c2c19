import { describe, expect, it } from "vitest";
import type { JsonObject } from "#common/json.ts";
import { createLog, type Log } from "#common/log.ts";
import { TAP_LINES_MAX, TAPS_MAX } from "#common/log-tap.ts";
import { type Core, requestOf, startCore } from "#test/kit/core.ts";
import type { LogStream } from "./log-stream.ts";
import type { Answer } from "./request.ts";

const POLICY = 'path "sys/monitor" { capabilities = ["read", "sudo"] }';

async function start(): Promise<{ core: Core; log: Log }> {
  const log = createLog({ level: "error", format: "json", write: () => {}, now: () => 0 });
  const core = await startCore({ log });
  await core.policy("reader", POLICY);
  return { core, log };
}

function ask(core: Core, token: string, query: JsonObject = {}): Promise<Answer> {
  return core.server.serve(requestOf(token, "read", "sys/monitor", query));
}

async function follow(core: Core, token: string, query: JsonObject = {}): Promise<LogStream> {
  const { status, lines, body } = await ask(core, token, query);
  if (!lines) throw new Error(`answered ${status} ${String(body)}`);
  return lines;
}

const never = new AbortController().signal;

describe("sys/monitor", () => {
  it("tells what is logged from then on, as it is asked for", async () => {
    const { core, log } = await start();
    const plain = await follow(core, core.rootToken, { log_level: "WARN" });
    const json = await follow(core, core.rootToken, { log_level: "trace", log_format: "json" });
    log.debug("small");
    log.warn("big", { n: 1 });
    expect(await plain.next(never)).toEqual(["1970-01-01T00:00:00.000Z WARN  big n=1\n"]);
    expect((await json.next(never))?.map((line) => JSON.parse(line).message)).toEqual(["small", "big"]);
    plain.close();
    json.close();
    expect(log.taps.size).toBe(0);
  });

  it.each([
    ["is revoked", (core: Core, token: string) => core.send(token, "update", "auth/token/revoke-self")],
    ["expires", (core: Core) => core.clock.advance(3_600_000)],
    ["has no sudo any more", (core: Core) => core.policy("reader", POLICY.replace(', "sudo"', ""))],
  ])("ends when its token %s, and tells nothing after that", async (_what, happen) => {
    const { core, log } = await start();
    const token = await core.token({ policies: ["default", "reader"], ttl: "1h" });
    const stream = await follow(core, token);
    await happen(core, token);
    log.error("afterwards");
    expect(await stream.next(never)).toBe(undefined);
  });

  it("ends while nothing is logged, too", async () => {
    const { core } = await start();
    const token = await core.token({ policies: ["default", "reader"], ttl: "1h" });
    const waiting = (await follow(core, token, { log_level: "error" })).next(never);
    await core.send(token, "update", "auth/token/revoke-self");
    await core.clock.advance(5_000);
    expect(await waiting).toBe(undefined);
  });

  it("ends for who reads too slowly", async () => {
    const { core, log } = await start();
    const stream = await follow(core, core.rootToken);
    for (let i = 0; i <= TAP_LINES_MAX; i++) log.info("x");
    expect(stream.overflowed.aborted).toBe(true);
    expect(await stream.next(never)).toBe(undefined);
  });

  it("is refused without sudo, for what it does not know, and beyond the number of readers", async () => {
    const { core, log } = await start();
    await core.policy("weak", POLICY.replace(', "sudo"', ""));
    expect((await ask(core, await core.token({ policies: ["weak"] }))).status).toBe(403);
    expect((await ask(core, "")).status).toBe(403);
    expect((await ask(core, core.rootToken, { log_level: "loud" })).status).toBe(400);
    expect((await ask(core, core.rootToken, { log_format: "xml" })).status).toBe(400);
    for (let i = 0; i < TAPS_MAX; i++) log.taps.open({ wants: () => true, format: "json" });
    expect((await ask(core, core.rootToken)).status).toBe(429);
  });
});

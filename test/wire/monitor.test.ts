// The log as a stream, by a real server process: over HTTP by hand, and by the CLI.
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { systemClock } from "#common/clock.ts";
import { type OpenServer, startDevelopmentServer } from "#test/kit/server.ts";
import { cli } from "#test/run-cli.ts";

describe("sys/monitor", () => {
  let server: OpenServer;
  beforeAll(async () => {
    server = await startDevelopmentServer();
  });
  afterAll(async () => {
    await server?.stop();
  });

  const ask = (path: string, init: RequestInit = {}) =>
    fetch(`${server.address}/v1/${path}`, { headers: { "X-Vault-Token": server.rootToken }, ...init });

  it("comes in chunks, at once, and ends when the server stops", async () => {
    const own = await startDevelopmentServer();
    const response = await fetch(`${own.address}/v1/sys/monitor?log_format=json`, {
      headers: { "X-Vault-Token": own.rootToken },
    });
    expect([response.status, response.headers.get("content-length")]).toEqual([200, null]);
    expect(response.headers.get("content-type")).toContain("text/plain");
    const text = response.text();
    await own.stop();
    const lines = (await text).trimEnd().split("\n");
    expect(lines.map((line) => JSON.parse(line).message)).toEqual(["stopping"]);
  });

  it("makes room when a client goes", async () => {
    for (let i = 0; i < 30; i++) {
      const stop = new AbortController();
      const response = await ask("sys/monitor", { signal: stop.signal });
      expect(response.status).toBe(200);
      stop.abort();
    }
  });

  it("is refused for a severity that is none", async () => {
    expect((await ask("sys/monitor?log_level=loud")).status).toBe(400);
  });

  it("is shown by the CLI, which says why it is refused or ends", async () => {
    const own = await startDevelopmentServer();
    const setting = { address: own.address, env: { VAULT_TOKEN: own.rootToken } };
    const refused = await cli(setting, "monitor", "-log-level=loud");
    expect([refused.code, refused.stderr]).toEqual([2, expect.stringContaining("unknown log_level")]);
    const running = cli(setting, "monitor", "-log-level=debug");
    // Long enough for a CLI to have connected.
    await systemClock.sleep(1_000);
    await own.stop();
    const { code, stdout, stderr } = await running;
    expect(stdout).toMatch(/ INFO {2}stopping\n/);
    expect([code, stderr]).toEqual([0, ""]);
  });
});

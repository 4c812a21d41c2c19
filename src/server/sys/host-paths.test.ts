import { beforeEach, describe, expect, it } from "vitest";
import { createLog, LOG_LEVELS } from "#common/log.ts";
import { type InProcessServer, startInProcessServer } from "#test/kit/in-process-server.ts";

let server: InProcessServer;
let lines: string[];
beforeEach(async () => {
  lines = [];
  const log = createLog({ level: "info", format: "text", write: (line) => lines.push(line), now: () => 0 });
  server = await startInProcessServer({ parts: { log } });
});

describe("what a node says of itself", () => {
  it("names its machine", async () => {
    const { status, data } = await server.call("read", "sys/host-info");
    expect(status).toBe(200);
    expect(Object.keys(data)).toEqual(expect.arrayContaining(["cpu", "cpu_times", "host", "memory", "timestamp"]));
  });

  it("shows the disks that are mounted, with what is left of them", async () => {
    const { data } = await server.call("read", "sys/host-info");
    const disks = Array.isArray(data["disk"]) ? data["disk"] : [];
    for (const disk of disks)
      expect(disk).toMatchObject({
        path: expect.stringMatching(/^\//),
        total: expect.any(Number),
        free: expect.any(Number),
      });
    expect(data["host"]).toMatchObject({ hostname: expect.any(String), kernelArch: expect.any(String) });
  });

  it("replicates nothing, and says so to anybody, as its health does", async () => {
    const { data } = await server.call("read", "sys/replication/status", {}, { token: "" });
    expect(data).toEqual({ dr: { mode: "disabled" }, performance: { mode: "disabled" } });
    expect((await server.call("read", "sys/health")).body).toMatchObject({ replication_dr_mode: "disabled" });
  });

  it("has none to step down", async () => {
    expect((await server.call("update", "sys/step-down")).status).toBe(204);
    expect((await server.call("read", "sys/seal-status")).body["sealed"]).toBe(false);
  });

  it("says what reloads by itself", async () => {
    for (const subsystem of ["license", "tls"]) {
      const { status, error } = await server.call("update", `sys/config/reload/${subsystem}`);
      expect([status, error]).toEqual([400, expect.stringContaining(subsystem)]);
    }
  });

  it("lists the request that asks", async () => {
    const { body } = await server.call("read", "sys/in-flight-req");
    expect(Object.values(body)).toEqual([
      expect.objectContaining({ request_path: "/v1/sys/in-flight-req", request_method: "GET" }),
    ]);
    expect(server.server.services.barrier.isSealed).toBe(false);
  });

  it("knows the versions that have opened the store", async () => {
    const { data } = await server.call("list", "sys/version-history");
    expect(data).toEqual({
      keys: ["1.0.0"],
      key_info: {
        "1.0.0": {
          build_date: "2026-01-01T00:00:00Z",
          previous_version: null,
          timestamp_installed: "2026-01-01T00:00:00.000Z",
        },
      },
    });
  });

  it("counts tokens and entities", async () => {
    const total = async () => (await server.call("read", "sys/internal/counters/tokens")).data["counters"];
    expect(await total()).toEqual({ service_tokens: { total: 1 } });
    await server.call("update", "auth/token/create");
    expect(await total()).toEqual({ service_tokens: { total: 2 } });
    expect((await server.call("read", "sys/internal/counters/entities")).data).toEqual({
      counters: { entities: { total: 0 } },
    });
  });
});

describe("sys/loggers", () => {
  const level = async () => (await server.call("read", "sys/loggers")).data["coffer"];

  it("changes the level of the whole process and takes it back", async () => {
    const { log } = server.server.services;
    const part = log.with({ part: "x" });
    expect(await level()).toBe("info");
    for (const wanted of LOG_LEVELS) {
      expect((await server.call("update", "sys/loggers/coffer", { level: wanted })).status).toBe(204);
      expect(await level()).toBe(wanted);
    }
    lines.length = 0;
    part.warn("not written");
    expect(lines).toEqual([]);
    expect((await server.call("delete", "sys/loggers")).status).toBe(204);
    part.info("written");
    expect(lines).toEqual([expect.stringContaining("written")]);
  });

  it("refuses levels and loggers that there are not", async () => {
    expect((await server.call("update", "sys/loggers", { level: "loud" })).error).toContain("debug, info, warn, error");
    expect((await server.call("update", "sys/loggers")).error).toContain("level is missing");
    expect((await server.call("update", "sys/loggers/other", { level: "info" })).status).toBe(400);
    expect((await server.call("read", "sys/loggers/other")).status).toBe(404);
  });

  it("needs sudo", async () => {
    await server.call("update", "sys/policies/acl/p", { policy: 'path "sys/loggers" { capabilities = ["update"] }' });
    const { body } = await server.call("update", "auth/token/create", { policies: ["p"] });
    const token = JSON.parse(JSON.stringify(body["auth"])).client_token;
    expect((await server.call("update", "sys/loggers", { level: "debug" }, { token })).status).toBe(403);
  });
});

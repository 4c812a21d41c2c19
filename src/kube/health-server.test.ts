import { request } from "node:http";
import { describe, expect, it } from "vitest";
import { createMetrics } from "#common/metrics.ts";
import { type HealthServerOptions, startHealthServer } from "./health-server.ts";

async function ask(
  options: HealthServerOptions,
  path: string,
): Promise<{ status: number; type: string; text: string }> {
  await using server = await startHealthServer({ ...options, host: "127.0.0.1", port: 0 });
  return await new Promise((resolve, reject) => {
    request({ host: "127.0.0.1", port: server.port, path, agent: false }, (response) => {
      let text = "";
      response.on("data", (chunk) => {
        text += String(chunk);
      });
      response.on("end", () =>
        resolve({ status: response.statusCode ?? 0, type: response.headers["content-type"] ?? "", text }),
      );
    })
      .on("error", reject)
      .end();
  });
}

describe("the health server", () => {
  it("is healthy without checks", async () => {
    expect(await ask({}, "/healthz")).toMatchObject({ status: 200, text: "ok\n" });
    expect(await ask({}, "/readyz")).toMatchObject({ status: 200 });
  });
  it("names what failed, and lets a check that throws fail", async () => {
    const broken = () => {
      throw new Error("broken");
    };
    const options = { live: { loop: () => true }, ready: { certificate: () => false, cache: broken } };
    expect(await ask(options, "/healthz")).toMatchObject({ status: 200 });
    expect(await ask(options, "/readyz")).toMatchObject({
      status: 503,
      text: "[+]loop ok\n[-]certificate failed\n[-]cache failed\nnot ok\n",
    });
  });
  it("shows the metrics where there are any", async () => {
    const metrics = createMetrics();
    metrics.counter("x_total", "X.").add({}, 3);
    const answer = await ask({ metrics }, "/metrics");
    expect(answer.type).toContain("version=0.0.4");
    expect(answer.text).toContain("x_total 3");
    expect(await ask({}, "/metrics")).toMatchObject({ status: 404 });
  });
  it("says so when the port is taken", async () => {
    await using server = await startHealthServer({ host: "127.0.0.1", port: 0 });
    await expect(startHealthServer({ host: "127.0.0.1", port: server.port })).rejects.toMatchObject({
      code: "unavailable",
    });
  });
});

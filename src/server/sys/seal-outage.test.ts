// One hour without the KMS, in fake time, while clients work: the server that runs goes on, one that starts waits and
// comes up by itself, and status and metrics say what is the matter.
import { expect, it } from "vitest";
import { silentLog } from "#common/log.ts";
import { createMetrics } from "#common/metrics.ts";
import { testSeal } from "#test/kit/core.ts";
import { startInProcessServer } from "#test/kit/in-process-server.ts";
import { bringUp } from "../core/unseal-loop.ts";
import { type AutoSeal, SealError } from "../seal/seal.ts";
import { registerServerMetrics } from "../server-metrics.ts";

const MINUTE = 60_000;
const TURNS = 10;

function kms() {
  const inner = testSeal("kms", 1);
  if (inner.kind !== "auto") throw new Error("the static seal opens by itself");
  const state = { down: false };
  const reached = async <T>(work: () => Promise<T>): Promise<T> => {
    if (state.down) throw new SealError("Unreachable", "KMS cannot be reached", { transient: true });
    return work();
  };
  const seal: AutoSeal = {
    ...inner,
    wrap: (key, purpose) => reached(() => inner.wrap(key, purpose)),
    unwrap: (copy, purpose) => reached(() => inner.unwrap(copy, purpose)),
    probe: () => reached(() => inner.probe()),
  };
  return { seal, state };
}

it("an hour without the KMS seals nobody", { timeout: 60_000 }, async () => {
  const { seal, state } = kms();
  const server = await startInProcessServer({ seals: [seal] });
  const { clock, storage } = server;
  const metrics = createMetrics();
  registerServerMetrics(metrics, server.server.services, server.server.sealWatch);
  const stop = new AbortController();
  server.server.sealWatch.start(stop.signal);
  await server.call("update", "sys/mounts/kv", { type: "kv" });
  const turns = async () => {
    for (let i = 0; i < TURNS; i++) await new Promise((resolve) => setImmediate(resolve));
  };
  await turns();
  expect(metrics.render()).toContain('coffer_seal_healthy{seal="kms"} 1');

  state.down = true;
  const starting = await startInProcessServer({ seals: [seal], uninitialised: true, parts: { storage, clock } });
  const { node } = starting.server.services;
  const up = bringUp({ node, clock, log: silentLog, initialize: undefined }, stop.signal);
  for (let minute = 0; minute < 60; minute++) {
    await clock.advance(MINUTE);
    await turns();
    const data = { minute };
    expect((await server.call("update", `kv/m${minute}`, data)).status).toBe(204);
    expect((await server.call("read", `kv/m${minute}`)).data).toEqual(data);
  }
  expect((await server.call("read", "sys/seal-status")).body).toMatchObject({ sealed: false });
  const since = (await server.call("read", "sys/seal-backend-status")).body;
  expect(since).toMatchObject({
    ...{ healthy: false, unhealthy_since: expect.any(String) },
    backends: [{ name: "kms", healthy: false, reason: "Unreachable", message: "KMS cannot be reached", wrapped: true }],
  });
  expect(metrics.render()).toContain('coffer_seal_healthy{seal="kms"} 0');
  expect(metrics.render()).toMatch(/coffer_seal_probe_faults_total\{seal="kms",reason="Unreachable"\} \d{2}/);
  expect((await starting.call("read", "sys/seal-status")).body).toMatchObject({
    ...{ sealed: true, seal_troubles: [{ seal: "kms", reason: "Unreachable" }] },
  });

  state.down = false;
  await clock.advance(MINUTE);
  await turns();
  await up;
  expect(node.state).toBe("unsealed");
  expect((await server.call("read", "sys/seal-backend-status")).body).toMatchObject({ healthy: true });
  stop.abort();
  await server.server.sealWatch.stopped();
});

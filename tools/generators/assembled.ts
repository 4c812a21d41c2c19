// A server with every part and nothing in it, for pages that describe what its parts say of themselves. Nothing listens,
// nothing is written, no seal is asked.

import { systemClock } from "#common/clock.ts";
import { createLog } from "#common/log.ts";
import { createMetrics, type Metrics } from "#common/metrics.ts";
import { type AssembledServer, assemble } from "#server/assemble.ts";
import { HeavyWork } from "#server/framework/heavy-work.ts";
import { openMemoryStorage } from "#server/storage/memory/memory-storage.ts";

export interface Described {
  readonly server: AssembledServer;
  readonly metrics: Metrics;
}

/** Joins the server's parts over an empty store in memory. */
export function assembleForDescription(): Described {
  const log = createLog({ level: "error", format: "text", write: () => {}, now: () => 0 });
  const metrics = createMetrics();
  const clock = systemClock;
  const readFile = () => Promise.reject(new Error("a description reads no file"));
  const server = assemble({
    storage: openMemoryStorage(),
    storageType: "memory",
    seals: [],
    retiredSeals: [],
    host: { clock, log, readFile, environment: {}, heavy: new HeavyWork() },
    clock,
    log,
    metrics,
    ttl: { defaultLeaseTtlSeconds: 0, maxLeaseTtlSeconds: 0 },
    userLockouts: [],
    clusterName: "",
    version: "",
    buildDate: "",
    sanitizedConfig: {},
  });
  return { server, metrics };
}

// The state of the node in the shapes that clients poll: seal-status, health, leader.
import { hostname } from "node:os";
import { isFipsMode } from "#common/fips-mode.ts";
import type { JsonObject } from "#common/json.ts";
import { readCluster } from "../core/initial-records.ts";
import { isComplete } from "../core/seal-copies.ts";
import type { SealConfig, SealKeys } from "../core/seal-store.ts";
import type { SealHealth } from "../core/seal-watch.ts";
import type { SysServices } from "./services.ts";

export type StatusServices = Pick<
  SysServices,
  "node" | "barrier" | "clock" | "version" | "buildDate" | "storageType" | "storageTrouble"
>;

export async function sealStatus(services: StatusServices): Promise<JsonObject> {
  const { node } = services;
  const state = await node.refresh();
  const auto = node.isAutoSeal;
  const config = node.config;
  const progress = await node.progress();
  const storageTrouble = services.storageTrouble?.();
  return {
    type: node.sealType,
    initialized: state !== "uninitialised",
    sealed: state !== "unsealed",
    t: (auto ? config?.recoveryThreshold : config?.threshold) ?? 0,
    n: (auto ? config?.recoveryShares : config?.shares) ?? 0,
    progress: progress.count,
    nonce: progress.nonce,
    version: services.version,
    build_date: services.buildDate,
    migration: node.migration !== undefined,
    recovery_seal: auto,
    ...(auto && { recovery_seal_type: "shamir" }),
    ...emergencyOf(node.config),
    ...(isFipsMode() && { fips: true }),
    storage_type: services.storageType,
    ...(storageTrouble !== undefined && { storage_trouble: storageTrouble }),
    ...(await clusterOf(services)),
    ...(node.troubles.length > 0 && { seal_troubles: troublesOf(services) }),
  };
}

/** The set whose shares open the store when no seal does. */
function emergencyOf(config: SealConfig | undefined): JsonObject {
  if (config?.emergencyShares === undefined || config.emergencyThreshold === undefined) return {};
  return { emergency: { n: config.emergencyShares, t: config.emergencyThreshold } };
}

/** Why it is sealed: what each seal said at the last try. */
function troublesOf({ node }: StatusServices): readonly JsonObject[] {
  return node.troubles.map((trouble) => ({
    seal: trouble.seal,
    reason: trouble.fault,
    message: trouble.message,
    since: new Date(trouble.sinceMillis).toISOString(),
  }));
}

/** Whether the seals that open by themselves can, and hold the keys. */
export async function sealBackendStatus({ node, seals, sealWatch, copies }: SysServices): Promise<JsonObject> {
  await node.refresh();
  const keys = node.config ? (await copies.stored()).keys : undefined;
  const health = await sealWatch.health();
  const down = health.filter(({ isHealthy }) => isHealthy === false);
  const since = Math.min(...down.map(({ sinceMillis }) => sinceMillis));
  const isWrapped = health.every(({ name, keyId }) => keys !== undefined && isWrappedBy(keys, name, keyId));
  return {
    healthy: down.length === 0,
    ...(down.length > 0 && { unhealthy_since: new Date(since).toISOString() }),
    fully_wrapped: isWrapped,
    backends: [
      ...health.map((each) => backend(each, keys)),
      ...seals.retired.map(({ name, type }) => ({
        name,
        type,
        configured: true,
        disabled: true,
        ...copyOf(keys, name),
      })),
    ],
  };
}

/** With both keys, and by the key that the seal uses today as far as that is known. */
function isWrappedBy(keys: SealKeys, name: string, keyId: string): boolean {
  const own = [...keys.root, ...keys.recovery].filter(({ seal }) => seal === name);
  return isComplete(keys, name) && own.every((copy) => keyId === "" || copy.keyId === keyId);
}

function backend(health: SealHealth, keys: SealKeys | undefined): JsonObject {
  const { name, type, isHealthy, sinceMillis, probedMillis, keyId, latencyMillis, fault, message, machinery } = health;
  return {
    ...{ name, type, configured: true, disabled: false, healthy: isHealthy !== false },
    ...(isHealthy === false && {
      unhealthy_since: new Date(sinceMillis).toISOString(),
      reason: fault ?? "",
      message: message ?? "",
    }),
    ...(probedMillis !== undefined && { last_probe: new Date(probedMillis).toISOString() }),
    ...(latencyMillis !== undefined && { latency_ms: latencyMillis }),
    ...(keyId !== "" && { key_id: keyId }),
    ...copyOf(keys, name),
    ...(machinery !== undefined && { machinery }),
  };
}

/** What stands in the store by that seal. */
function copyOf(keys: SealKeys | undefined, name: string): JsonObject {
  const copy = keys?.root.find(({ seal }) => seal === name);
  if (!keys || !copy) return { wrapped: false };
  return {
    wrapped: isComplete(keys, name),
    wrapped_key_id: copy.keyId,
    ...(copy.generation !== undefined && { generation: copy.generation }),
    ...(copy.wrappedAt !== undefined && { wrapped_at: copy.wrappedAt }),
  };
}

/** Left out when it cannot be read: the rest of the state must be told all the same. */
async function clusterOf({ barrier }: StatusServices): Promise<JsonObject> {
  if (barrier.isSealed) return {};
  const cluster = await readCluster(barrier.begin()).catch(() => undefined);
  return cluster ? { cluster_name: cluster.name, cluster_id: cluster.id } : {};
}

/** Every node is active and needs to know of no other, so each names itself. */
export function haStatus(services: SysServices): JsonObject {
  const self = { hostname: hostname(), active_node: true, last_echo: null, version: services.version };
  return { nodes: [{ ...self, api_address: services.sanitizedConfig["api_addr"] ?? "", cluster_address: "" }] };
}

export async function health(
  services: StatusServices,
): Promise<{ body: JsonObject; kind: "active" | "sealed" | "uninit" }> {
  const state = await services.node.refresh();
  const kind = state === "unsealed" ? "active" : state === "uninitialised" ? "uninit" : "sealed";
  const body = {
    initialized: state !== "uninitialised",
    sealed: state !== "unsealed",
    standby: kind !== "active",
    performance_standby: false,
    replication_performance_mode: kind === "active" ? "disabled" : "unknown",
    replication_dr_mode: kind === "active" ? "disabled" : "unknown",
    server_time_utc: Math.floor(services.clock.now() / 1000),
    version: services.version,
    ...(await clusterOf(services)),
  };
  return { body, kind };
}

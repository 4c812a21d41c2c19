// sys: what this process is and does: its machine, its requests, its log, the versions that have been here. All but the
// versions is of this process alone; other nodes are asked one by one.
import { readFile, statfs } from "node:fs/promises";
import { cpus, freemem, hostname, loadavg, machine, platform, release, totalmem, uptime } from "node:os";
import { CofferError } from "#common/errors.ts";
import type { JsonObject } from "#common/json.ts";
import { isLogLevel, LOG_LEVELS } from "#common/log.ts";
import { listVersions } from "../core/version-history.ts";
import type { PrivilegedContext } from "../framework/context.ts";
import { field, withDefault } from "../framework/fields.ts";
import { definePrivilegedPath } from "../framework/path.ts";
import { dataReply, noContent, type Reply } from "../framework/reply.ts";
import type { SysServices } from "./services.ts";
import { haStatus } from "./status.ts";

export function hostPaths(services: SysServices) {
  return [
    definePrivilegedPath("host-info", {
      summary: "The machine that this node runs on.",
      operations: { read: { summary: "Show it.", handler: async () => dataReply(await hostInfo(services)) } },
    }),
    definePrivilegedPath("ha-status", {
      summary: "This node, among nodes that are all active.",
      operations: {
        read: { summary: "Show it.", handler: () => ({ data: haStatus(services), repeatAtTop: true }) },
      },
    }),
    definePrivilegedPath("replication/status", {
      summary: "Kept for clients: servers share a storage and replicate nothing to each other.",
      access: "public",
      operations: {
        read: {
          summary: "Show it.",
          handler: () => dataReply({ dr: { mode: "disabled" }, performance: { mode: "disabled" } }),
        },
      },
    }),
    definePrivilegedPath("step-down", {
      summary: "Kept for clients: every node is active, and none leads that could step down.",
      access: "sudo",
      operations: { update: { summary: "Does nothing.", handler: () => noContent } },
    }),
    definePrivilegedPath("in-flight-req", {
      summary: "The requests that this node is working on, in all its worker processes.",
      operations: {
        read: { summary: "Show them.", handler: async () => ({ bare: await requestsInFlight(services) }) },
      },
    }),
    definePrivilegedPath("version-history", {
      summary: "The versions that have opened this store.",
      operations: { list: { summary: "List them.", handler: versionHistory } },
    }),
    ...loggerPaths(services),
  ];
}

async function hostInfo({ clock }: SysServices): Promise<JsonObject> {
  const [total, free] = [totalmem(), freemem()];
  const processors = cpus();
  const bootSeconds = Math.floor(clock.now() / 1000 - uptime());
  return {
    timestamp: new Date(clock.now()).toISOString(),
    cpu: processors.map((cpu, index) => ({ cpu: index, modelName: cpu.model, mhz: cpu.speed })),
    cpu_times: processors.map(({ times }, index) => ({
      cpu: `cpu${index}`,
      user: times.user / 1000,
      system: times.sys / 1000,
      idle: times.idle / 1000,
      nice: times.nice / 1000,
      irq: times.irq / 1000,
    })),
    disk: await disks(),
    host: {
      hostname: hostname(),
      os: platform(),
      kernelVersion: release(),
      kernelArch: machine(),
      bootTime: bootSeconds,
      uptime: Math.floor(uptime()),
    },
    memory: { total, free, available: free, used: total - free, usedPercent: ((total - free) / total) * 100 },
    load: { load1: loadavg()[0] ?? 0, load5: loadavg()[1] ?? 0, load15: loadavg()[2] ?? 0 },
  };
}

/** What is mounted from a device, as Linux lists it; elsewhere there is no such list. */
async function disks(): Promise<readonly JsonObject[]> {
  const table = await readFile("/proc/self/mounts", "utf8").catch(() => "");
  const mounted = table.split("\n").map((line) => line.split(" "));
  const places = new Map(
    mounted.flatMap(([device = "", path = "", type = ""]) =>
      device.startsWith("/dev/") ? [[unescaped(path), type] as const] : [],
    ),
  );
  const shown = await Promise.all([...places].map(([path, fstype]) => diskAt(path, fstype)));
  return shown.filter((disk) => disk !== undefined);
}

/** Spaces and the like stand there in octal (fstab(5)). */
function unescaped(path: string): string {
  return path.replace(/\\([0-7]{3})/g, (_match, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
}

/** Undefined for one that may not be looked at. */
async function diskAt(path: string, fstype: string): Promise<JsonObject | undefined> {
  const found = await statfs(path).catch(() => undefined);
  if (!found || found.blocks === 0) return undefined;
  const [total, free] = [found.blocks * found.bsize, found.bavail * found.bsize];
  const used = (found.blocks - found.bfree) * found.bsize;
  return {
    path,
    fstype,
    total,
    free,
    used,
    usedPercent: (used / (used + free)) * 100,
    inodesTotal: found.files,
    inodesFree: found.ffree,
  };
}

/** Method names as HTTP has them; what was sent is not kept. */
const METHODS: Readonly<Record<string, string>> = {
  read: "GET",
  update: "PUT",
  create: "PUT",
  patch: "PATCH",
  delete: "DELETE",
  list: "LIST",
  scan: "SCAN",
  help: "GET",
};

async function requestsInFlight({ whole }: SysServices): Promise<JsonObject> {
  const notes = await whole.inFlight();
  return Object.fromEntries(
    notes.map(({ id, since, path, operation, remoteAddress, remotePort }) => [
      id,
      {
        start_time: new Date(since).toISOString(),
        client_remote_address: `${remoteAddress}:${remotePort}`,
        request_path: `/v1/${path}`,
        request_method: METHODS[operation] ?? "",
        client_id: "",
      },
    ]),
  );
}

async function versionHistory({ transaction }: PrivilegedContext): Promise<Reply> {
  const versions = await listVersions(transaction);
  const info = versions.map(({ version, buildDate, installedAtMillis }, index) => [
    version,
    {
      build_date: buildDate,
      previous_version: versions[index - 1]?.version ?? null,
      timestamp_installed: new Date(installedAtMillis).toISOString(),
    },
  ]);
  return dataReply({ keys: versions.map(({ version }) => version), key_info: Object.fromEntries(info) });
}

/** The one logger: every part of the server writes through it. */
const LOGGER = "coffer";

function loggerPaths({ log, whole }: SysServices) {
  const { threshold } = log;
  const levelField = { level: withDefault(field.lowerText(`One of ${LOG_LEVELS.join(", ")}.`), "") } as const;
  const set = async ({ level }: { level: string }): Promise<Reply> => {
    const known = level === "trace" ? "debug" : level;
    if (!isLogLevel(known)) {
      const given = level === "" ? "level is missing" : `unknown level ${JSON.stringify(level)}`;
      throw new CofferError("invalid_request", `${given}; use one of ${LOG_LEVELS.join(", ")}`);
    }
    await whole.setLogLevel(known);
    return noContent;
  };
  const reset = async (): Promise<Reply> => {
    await whole.setLogLevel(undefined);
    return noContent;
  };
  return [
    definePrivilegedPath("loggers", {
      summary: "The least severity that this node logs.",
      access: "sudo",
      fields: levelField,
      operations: {
        read: { summary: "Show it.", handler: () => dataReply({ [LOGGER]: threshold.level }) },
        update: { summary: "Change it until the next start.", handler: (_context, values) => set(values) },
        delete: { summary: "Back to what the configuration says.", handler: reset },
      },
    }),
    definePrivilegedPath("loggers/:name", {
      summary: "The least severity of one logger; there is one, named coffer.",
      access: "sudo",
      fields: levelField,
      operations: {
        read: {
          summary: "Show it.",
          handler: (_context, { name }) => (name === LOGGER ? dataReply({ [LOGGER]: threshold.level }) : undefined),
        },
        update: {
          summary: "Change it until the next start.",
          handler: (_context, { name, level }) => {
            assertLogger(name);
            return set({ level });
          },
        },
        delete: {
          summary: "Back to what the configuration says.",
          handler: (_context, { name }) => {
            assertLogger(name);
            return reset();
          },
        },
      },
    }),
  ];
}

function assertLogger(name: string): void {
  if (name !== LOGGER)
    throw new CofferError("invalid_request", `there is no logger ${JSON.stringify(name)}; the only one is ${LOGGER}`);
}

// The registry's entry for the embedded store: its configuration and how tests start one.
import { number, object, optional, string } from "#common/schema.ts";
import type { StorageKind } from "../registry.ts";

/** `map_size` in bytes; members of Vault's file and raft stanzas that mean nothing here are left alone. */
const configSchema = object({ path: string, map_size: optional(number) });

export const lmdbKind: StorageKind = {
  type: "lmdb",
  aliases: ["file", "raft"],
  doc: "Keeps everything in a directory of this machine, shared by its worker processes. The default.",
  sharing: "processes",
  durable: true,
  async open(config, context) {
    const { path, map_size } = configSchema.parse(config, "storage");
    const { openLmdbStorage } = await import("./lmdb-storage.ts");
    return openLmdbStorage({ ...context, path, ...(map_size !== undefined && { mapBytes: map_size }) });
  },
  async capacity(config) {
    const { path } = configSchema.parse(config, "storage");
    return (await import("./processes.ts")).capacityOf(path);
  },
  async users(config, { log }) {
    const { path } = configSchema.parse(config, "storage");
    return (await import("./processes.ts")).usersOf(path, log);
  },
  async copy(config, target, options, context) {
    const { path } = configSchema.parse(config, "storage");
    return (await import("./copy.ts")).copyStore({ ...context, ...options, path, target });
  },
  async compact(config, options, context) {
    const { path } = configSchema.parse(config, "storage");
    return (await import("./copy.ts")).compactStore({ ...context, ...options, path });
  },
  startFixture: async () => (await import("./fixture.ts")).startFixture(),
};

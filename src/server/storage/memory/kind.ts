// The registry's entry for storage in memory.
import type { StorageKind } from "../registry.ts";

export const memoryKind: StorageKind = {
  type: "memory",
  aliases: ["inmem"],
  doc: "Keeps everything in memory; for tests and for trying things out. Nothing survives a restart.",
  sharing: "none",
  durable: false,
  open: async () => (await import("./memory-storage.ts")).openMemoryStorage(),
  startFixture: async () => ({ config: {}, stop: async () => {} }),
};

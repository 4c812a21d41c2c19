// Starts a store of a registry's kind for one test and clears it away. A kind whose server is not installed here is
// skipped and says so; in CI that is a failure.
import { expect, type TestContext } from "vitest";
import { systemClock } from "#common/clock.ts";
import { silentLog } from "#common/log.ts";
import { postgresKind } from "#server/storage/postgres/kind.ts";
import { type StorageKind, storageRegistry } from "#server/storage/registry.ts";
import type { Storage } from "#server/storage/storage.ts";

export type StorageTest = (storage: Storage, reopen: () => Promise<Storage>) => Promise<void>;

/** PostgreSQL as a database without advisory locks, sequences and LISTEN is used. */
export const postgresByRow: StorageKind = {
  ...postgresKind,
  type: "postgres by row",
  open: (config, context) => postgresKind.open({ ...config, locking: "row" }, context),
};

/** Every kind, and those that have another way of working besides. */
export const storageVariants: readonly StorageKind[] = [...storageRegistry, postgresByRow];

export async function withStorage(kind: StorageKind, context: TestContext, run: StorageTest): Promise<void> {
  const fixture = await kind.startFixture();
  if (fixture === undefined) {
    expect(process.env["CI"], `storage ${kind.type} must be installed in CI`).not.toBe("true");
    return context.skip(`what storage ${kind.type} needs is not installed here`);
  }
  const open = () => kind.open(fixture.config, { log: silentLog, clock: systemClock });
  let storage = await open();
  try {
    await run(storage, async () => {
      await storage.close();
      storage = await open();
      return storage;
    });
  } finally {
    await storage.close();
    await fixture.stop();
  }
}

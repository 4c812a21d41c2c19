// The storages that several servers can share, each with the stanza of a fresh store.
import { expect } from "vitest";
import type { JsonObject } from "#common/json.ts";
import { type StorageKind, storageRegistry } from "#server/storage/registry.ts";

export interface SharedStorage extends AsyncDisposable {
  /** For the configuration's `storage`. */
  readonly stanza: JsonObject;
}

export const sharedKinds: readonly StorageKind[] = storageRegistry.filter(({ sharing }) => sharing !== "none");

/** Undefined when what it needs is not installed, which CI does not allow. */
export async function startSharedStorage(kind: StorageKind): Promise<SharedStorage | undefined> {
  const fixture = await kind.startFixture();
  if (fixture !== undefined)
    return { stanza: { [kind.type]: fixture.config }, [Symbol.asyncDispose]: () => fixture.stop() };
  expect(process.env["CI"], `storage ${kind.type} must be installed in CI`).not.toBe("true");
  return undefined;
}

// Opens the two sides of a migration from configuration files, after it has looked whether a server has the source open.
// Knows storages by the registry alone.
import { CofferError } from "#common/errors.ts";
import { type ConfigFile, parseStorageStanza } from "../config/server-config.ts";
import { findStorageKind, type StorageContext, type StorageKind, storageRegistry } from "../storage/registry.ts";
import { type MigrationOptions, type MigrationResult, migrateStorage } from "./migrate-storage.ts";

export interface StoreMigration extends Omit<MigrationOptions, "source" | "target" | "assertUnused"> {
  /** Configurations of servers, or files with a storage stanza alone. */
  readonly from: readonly ConfigFile[];
  readonly to: readonly ConfigFile[];
  readonly context: StorageContext;
}

export interface StoreMigrationResult extends MigrationResult {
  readonly fromType: string;
  readonly toType: string;
}

/** Migrates between the storages of two configurations. Throws `invalid_request`, `unavailable` or `conflict`. */
export async function migrateStores(options: StoreMigration): Promise<StoreMigrationResult> {
  const { context } = options;
  const [from, to] = [sideOf(options.from, "-from"), sideOf(options.to, "-to")];
  // Opening makes a store where there is none, so whether there is one is asked first.
  const users = await usersOf(from, context);
  if (!options.isOnline && !options.isDryRun) assertNone(users);
  await using opened = new AsyncDisposableStack();
  const source = await from.kind.open(from.config, context);
  opened.defer(() => source.close());
  const target = await to.kind.open(to.config, context);
  opened.defer(() => target.close());
  const capacity = (await to.kind.capacity?.(to.config, context)) ?? {};
  const result = await migrateStorage({
    ...options,
    assertUnused: async () => assertNone(await usersOf(from, context)),
    source: { storage: source, type: from.kind.type },
    target: { storage: target, type: to.kind.type, capacity },
  });
  return { ...result, fromType: from.kind.type, toType: to.kind.type };
}

type Side = { readonly kind: StorageKind; readonly config: ReturnType<typeof parseStorageStanza>["config"] };

function sideOf(files: readonly ConfigFile[], flag: string): Side {
  const { type, config } = parseStorageStanza(files);
  const kind = findStorageKind(type);
  const known = storageRegistry.filter((candidate) => candidate.durable).map((candidate) => candidate.type);
  if (kind?.durable === true) return { kind, config };
  const fault = kind === undefined ? `there is no storage type ${type}` : `${type} keeps nothing after its process`;
  throw new CofferError("invalid_request", `${flag}: ${fault}; name one of ${known.join(", ")}`);
}

async function usersOf({ kind, config }: Side, context: StorageContext): Promise<readonly number[]> {
  return (await kind.users?.(config, context)) ?? [];
}

function assertNone(users: readonly number[]): void {
  if (users.length === 0) return;
  const who = `process${users.length === 1 ? "" : "es"} ${users.join(", ")}`;
  const message = `${who} on this machine serve${users.length === 1 ? "s" : ""} the source; stop the server first, or copy beforehand with -online and finish when it is stopped`;
  throw new CofferError("invalid_request", message);
}

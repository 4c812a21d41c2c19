// Copies or compacts the store that a configuration names, for `coffer storage copy` and `coffer storage compact`. Knows
// storages by the registry alone.
import { CofferError } from "#common/errors.ts";
import { type ConfigFile, parseStorageStanza } from "../config/server-config.ts";
import { type CopyOptions, type CopyResult, findStorageKind, type StorageContext } from "../storage/registry.ts";

export interface StoreMaintenance extends CopyOptions {
  /** Configurations of a server, or a file with a storage stanza alone. */
  readonly files: readonly ConfigFile[];
  readonly context: StorageContext;
}

/** Copies to an empty directory. Throws `invalid_request` where the kind of storage has its own tools for that. */
export async function copyStoreOf(options: StoreMaintenance & { readonly target: string }): Promise<CopyResult> {
  const { type, config } = parseStorageStanza(options.files);
  const copy = findStorageKind(type)?.copy;
  if (copy === undefined) throw unsupported("copied", type);
  return copy(config, options.target, options, options.context);
}

/** Makes the store smaller. Throws as copyStoreOf. */
export async function compactStoreOf(options: StoreMaintenance): Promise<CopyResult> {
  const { type, config } = parseStorageStanza(options.files);
  const compact = findStorageKind(type)?.compact;
  if (compact === undefined) throw unsupported("compacted", type);
  return compact(config, options, options.context);
}

function unsupported(what: string, type: string): CofferError {
  const message = `a store of type ${type} is not ${what} by this command, which is for lmdb; see docs/guides/${type}.md`;
  return new CofferError("invalid_request", message);
}

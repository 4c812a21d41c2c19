// Which versions of the server have opened this store, and when each did so first. One record each:
//
//   core/version/<version>   { version, buildDate, installedAtMillis }
import type { Clock } from "#common/clock.ts";
import { messageOf } from "#common/errors.ts";
import type { Log } from "#common/log.ts";
import { type Infer, number, object, string } from "#common/schema.ts";
import type { Barrier } from "../barrier/barrier.ts";
import { recordKind, type Transaction } from "../barrier/transaction.ts";

const versionSchema = object({ version: string, buildDate: string, installedAtMillis: number });
export type VersionRecord = Infer<typeof versionSchema>;
const versionKind = recordKind("version", versionSchema);
const PREFIX = "core/version/";
/** A version a day for more than two years. */
const VERSIONS_MAX = 1_000;

export interface VersionHistoryDependencies {
  readonly barrier: Barrier;
  readonly clock: Clock;
  readonly log: Log;
}

/** Notes that this version has opened the store, once. Never rejects: the server works without this knowledge. */
export async function noteVersion(
  { barrier, clock, log }: VersionHistoryDependencies,
  version: string,
  buildDate: string,
): Promise<void> {
  try {
    const tx = barrier.begin();
    const key = PREFIX + encodeURIComponent(version);
    if (await tx.read(versionKind, key)) return;
    tx.write(versionKind, key, { version, buildDate, installedAtMillis: clock.now() });
    await tx.commit(); // a conflict: another process has just noted the same
  } catch (error) {
    log.warn("the version could not be noted", { error: messageOf(error) });
  }
}

/** All of them, the oldest first. */
export async function listVersions(tx: Transaction): Promise<readonly VersionRecord[]> {
  const found: VersionRecord[] = [];
  for (const name of await tx.list(PREFIX, { limit: VERSIONS_MAX })) {
    const record = await tx.read(versionKind, PREFIX + name);
    if (record) found.push(record);
  }
  return found.sort((a, b) => a.installedAtMillis - b.installedAtMillis);
}

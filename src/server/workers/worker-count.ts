// How many worker processes a server has: what the configuration says, else as many as the machine has room for.
import { availableParallelism } from "node:os";
import { CofferError } from "#common/errors.ts";
import type { StorageKind } from "../storage/registry.ts";

/** What one worker needs at rest and under load, and what the supervisor needs (docs/adr/0018-workers.md). */
const WORKER_BYTES = 192 * 2 ** 20;
const SUPERVISOR_BYTES = 96 * 2 ** 20;

export interface Machine {
  readonly cores: number;
  /** Of the control group; Infinity without a limit. */
  readonly memoryBytes: number;
}

/** What this process may use of the machine. */
export function thisMachine(): Machine {
  const limit = process.constrainedMemory();
  return { cores: availableParallelism(), memoryBytes: limit > 0 ? limit : Number.POSITIVE_INFINITY };
}

/** Throws `invalid_request` when the storage cannot have so many. */
export function workerCount(wanted: number | undefined, kind: StorageKind, machine: Machine): number {
  if (wanted === undefined) return kind.sharing === "processes" ? fitting(machine) : 1;
  if (wanted > 1 && kind.sharing === "none")
    throw new CofferError(
      "invalid_request",
      `workers is ${wanted}, but storage "${kind.type}" belongs to one process alone; set workers = 1 or take another storage`,
    );
  return wanted;
}

/** One for each core, but no more than the memory is enough for. */
function fitting({ cores, memoryBytes }: Machine): number {
  const room = Math.floor((memoryBytes - SUPERVISOR_BYTES) / WORKER_BYTES);
  return Math.max(1, Math.min(cores, room));
}

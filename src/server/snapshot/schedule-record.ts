// What all nodes know of the scheduled snapshots, as one record behind the barrier: whose turn it is, how the last ones
// went. A node takes the turn by a commit, so that each is taken once however many nodes there are; a turn that is not
// given back by its deadline is anybody's.
import { type Infer, number, object, optional, string } from "#common/schema.ts";
import { recordKind, type Transaction } from "../barrier/transaction.ts";

const outcome = object({
  /** Milliseconds since the epoch. */
  at: number,
  name: optional(string),
  entries: optional(number),
  message: optional(string),
});

const scheduleSchema = object({
  /** Number of the last interval, counted from the epoch, of which a snapshot was taken. */
  slot: number,
  claim: optional(object({ holder: string, deadline: number })),
  /** After a failure not before this. */
  retryAt: optional(number),
  success: optional(outcome),
  failure: optional(outcome),
  verified: optional(outcome),
  verifyFailure: optional(outcome),
});
export type ScheduleRecord = Infer<typeof scheduleSchema>;

const kind = recordKind("snapshot schedule", scheduleSchema);
const KEY = "core/snapshot-schedule";

export async function readSchedule(tx: Transaction): Promise<ScheduleRecord> {
  return (await tx.read(kind, KEY)) ?? { slot: -1 };
}

export function writeSchedule(tx: Transaction, record: ScheduleRecord): void {
  tx.write(kind, KEY, record);
}

// When a request may go on: as soon as one device has its line. The others get a moment more, so that in ordinary times
// all have it, and a slow one is then no longer waited for until it has caught up.
import { type Clock, within } from "#common/clock.ts";

/** What a healthy device needs at most; a slow one costs a request this, and only the first that notices. */
const GRACE_MILLIS = 50;

export interface PendingWrite {
  readonly queue: { behind: boolean };
  readonly done: Promise<void>;
}

/** True when a device has the line, false when none of them will have it in time. */
export async function firstAcceptance(writes: readonly PendingWrite[], clock: Clock): Promise<boolean> {
  const [only] = writes;
  if (only && writes.length === 1) return isAccepted(only);
  const pending = new Set(writes);
  const settled = writes.map(async (write) => {
    const accepted = await isAccepted(write);
    pending.delete(write);
    return accepted;
  });
  if (!(await anyTrue(settled))) return false;
  const waitFor = writes.filter((write) => pending.has(write) && !write.queue.behind);
  if (waitFor.length === 0) return true;
  await within(clock, GRACE_MILLIS, Promise.allSettled(waitFor.map(({ done }) => done)));
  for (const write of waitFor) if (pending.has(write)) write.queue.behind = true;
  return true;
}

async function isAccepted({ done }: PendingWrite): Promise<boolean> {
  try {
    await done;
    return true;
  } catch {
    return false; // logged by the queue, once, when the device stopped accepting
  }
}

/** Resolves with true as soon as one does, with false when all have given false. */
async function anyTrue(outcomes: readonly Promise<boolean>[]): Promise<boolean> {
  return Promise.any(
    outcomes.map(async (outcome) => {
      if (!(await outcome)) throw new Error("refused");
      return true;
    }),
  ).catch(() => false);
}

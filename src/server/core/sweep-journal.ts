// Undoes what requests made outside and did not commit, in the lane of its mount; and counts what is left, for metrics.
import type { Clock, Millis } from "#common/clock.ts";
import { messageOf } from "#common/errors.ts";
import { dueBucket } from "../journal/intent-record.ts";
import { countIntents } from "../journal/journal-store.ts";
import { namespaceNameOf } from "../namespaces/namespace-scope.ts";
import { namespaceView } from "../namespaces/namespace-transaction.ts";
import type { BackgroundDependencies } from "./background.ts";
import { dueWindow } from "./due-window.ts";
import type { Lanes } from "./lanes.ts";
import { tell } from "./sweep-work.ts";

const COUNT_MILLIS = 60_000;
/** A uuid, which an intent's id begins with. */
const UUID_LENGTH = 36;

/** One round. True when more is waiting that can be done at once. */
export async function sweepJournal(deps: BackgroundDependencies, lanes: Lanes): Promise<boolean> {
  const now = Math.floor(deps.clock.now() / 1000);
  const { keys, more } = await dueWindow(deps.barrier.begin(), dueBucket, now);
  const full = new Set<string>();
  let begun = 0;
  for (const key of keys) {
    const lane = mountOfKey(key);
    if (full.has(lane)) continue;
    if (await lanes.start(lane, () => undoAt(deps, key))) begun++;
    else full.add(lane);
  }
  return more && begun > 0;
}

function mountOfKey(key: string): string {
  return key.slice(dueBucket(0).length + 1).slice(0, UUID_LENGTH);
}

/** Never rejects: what cannot be done or noted now is due again. */
async function undoAt(deps: BackgroundDependencies, key: string): Promise<void> {
  try {
    const done = await deps.undoing.undoAt(key);
    if (done.outcome === "not ours") return;
    const { intent, error } = done;
    deps.counts.noteUndone(done.outcome);
    if (error !== undefined)
      deps.log.warn("an effect outside could not be undone", { intent: intent.id, mount: intent.mountPath, error });
    const namespace = await namespaceNameOf(namespaceView(deps.barrier.begin(), done.namespace));
    const data = { id: intent.id, mount: intent.mountPath, kind: intent.kind };
    const event = { operation: "revoke", path: "sys/journal", namespace, data } as const;
    await tell(deps, { ...event, ...(error !== undefined && { error }) });
  } catch (error) {
    if (!deps.barrier.isSealed) deps.log.warn("the journal could not be worked on", { error: messageOf(error) });
  }
}

/** Counts the journal for metrics, once a minute: it may be long when a system outside is away. */
export function journalCounter(clock: Clock): (deps: BackgroundDependencies) => Promise<void> {
  let next: Millis = 0;
  return async ({ barrier, counts }) => {
    if (clock.now() < next) return;
    next = clock.now() + COUNT_MILLIS;
    const { waiting, stuck } = await countIntents(barrier.begin());
    [counts.waiting, counts.stuck] = [waiting, stuck];
  };
}

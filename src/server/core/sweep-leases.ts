// Ends leases whose time has come. A token's, or one that ends within the server, in one transaction: of two nodes at
// one lease, one commits. One that ends outside, under a claim and in a lane of its mount.
import { messageOf } from "#common/errors.ts";
import { forEachAtOnce } from "#common/for-each-at-once.ts";
import type { SystemEvent } from "../audit/system-entry.ts";
import type { Transaction } from "../barrier/transaction.ts";
import type { NamespaceName } from "../framework/context.ts";
import { expiryBucket, expiryKey, type LeaseRecord, leaseReferenceKind } from "../leases/lease-record.ts";
import { readLease } from "../leases/lease-store.ts";
import { namespaceNameOf } from "../namespaces/namespace-scope.ts";
import { namespaceView } from "../namespaces/namespace-transaction.ts";
import type { BackgroundDependencies } from "./background.ts";
import { dueWindow } from "./due-window.ts";
import type { Lanes } from "./lanes.ts";
import { pacing, tell, transact } from "./sweep-work.ts";

/** Leases that are ended at the same time: enough to share commits, few enough for the systems behind them. */
const AT_ONCE = 16;

/** A lease whose time has come, and its namespace's part of the transaction. */
interface DueLease {
  readonly lease: LeaseRecord;
  readonly view: Transaction;
}

interface LeasePlace {
  readonly leaseId: string;
  readonly namespace: NamespaceName;
}

/** One round. True when more is waiting that can be done at once. */
export async function sweepLeases(deps: BackgroundDependencies, lanes: Lanes): Promise<boolean> {
  const pause = pacing(deps.clock);
  const now = Math.floor(deps.clock.now() / 1000);
  const { keys, more } = await dueWindow(deps.barrier.begin(), expiryBucket, now);
  const full = new Set<string>();
  let left = 0;
  const end = async (key: string) => {
    if ((await endDue(deps, lanes, full, key)) === "left") left++;
  };
  for (let i = 0; i < keys.length; i += AT_ONCE) {
    await forEachAtOnce(keys.slice(i, i + AT_ONCE), AT_ONCE, end);
    if (more) await pause();
  }
  return more && left < keys.length;
}

/** "left": for another round, because the system behind it is slow. */
async function endDue(
  deps: BackgroundDependencies,
  lanes: Lanes,
  full: Set<string>,
  key: string,
): Promise<"seen to" | "left"> {
  const tx = deps.barrier.begin();
  const due = await leaseAt(tx, key);
  const lane = due && (await deps.expiration.endsOutside(due.view, due.lease));
  if (!due || lane === undefined) {
    await endHere(deps, key, tx);
    return "seen to";
  }
  const place = await placeOf(due);
  if (!full.has(lane) && (await lanes.start(lane, () => endOutside(deps, key, place)))) return "seen to";
  full.add(lane);
  return "left";
}

/** Never rejects: what cannot be done or noted now is due again. */
async function endHere(deps: BackgroundDependencies, key: string, first: Transaction): Promise<void> {
  const at: { place?: LeasePlace } = {};
  await noting(deps, key, at, async () => {
    const ended = await transact(
      deps,
      "leases",
      async (tx) => {
        const due = await leaseAt(tx, key);
        if (!due) {
          if (await tx.get(key)) tx.delete(key);
          return undefined;
        }
        at.place = await placeOf(due);
        await deps.expiration.endHere(due.view, due.lease.leaseId);
        return at.place;
      },
      first,
    );
    if (ended) await tell(deps, leaseEnd(ended));
  });
}

/** Never rejects either. Who has the claim of it already is left to it. */
function endOutside(deps: BackgroundDependencies, key: string, place: LeasePlace): Promise<void> {
  return noting(deps, key, { place }, async () => {
    const ended = await deps.expiration.endOutside(place.namespace.id, place.leaseId);
    if (ended === "ended") await tell(deps, leaseEnd(place));
  });
}

async function noting(
  deps: BackgroundDependencies,
  key: string,
  at: { readonly place?: LeasePlace },
  work: () => Promise<void>,
): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (!deps.barrier.isSealed) await noteFailure(deps, key, at.place, error);
  }
}

async function noteFailure(
  deps: BackgroundDependencies,
  key: string,
  place: LeasePlace | undefined,
  cause: unknown,
): Promise<void> {
  const error = messageOf(cause);
  deps.log.warn("a lease could not be ended", { ...(place && { leaseId: place.leaseId }), error });
  try {
    // One that ends outside has been postponed by who had the claim, and is not at this key any more.
    await transact(deps, "leases", async (tx) => {
      const due = await leaseAt(tx, key);
      if (due) deps.expiration.postpone(due.view, due.lease, cause);
    });
    if (place) await tell(deps, { ...leaseEnd(place), error });
  } catch (second) {
    if (!deps.barrier.isSealed) deps.log.warn("a failure could not be noted", { error: messageOf(second) });
  }
}

/** The lease of an index key; undefined when the key is left over from another expiry of it. */
async function leaseAt(tx: Transaction, key: string): Promise<DueLease | undefined> {
  const reference = await tx.read(leaseReferenceKind, key);
  const view = namespaceView(tx, reference?.namespace ?? "");
  const lease = reference && (await readLease(view, reference.leaseId));
  return lease && expiryKey(lease) === key ? { lease, view } : undefined;
}

async function placeOf({ lease, view }: DueLease): Promise<LeasePlace> {
  return { leaseId: lease.leaseId, namespace: await namespaceNameOf(view) };
}

function leaseEnd({ leaseId, namespace }: LeasePlace): SystemEvent {
  return { operation: "revoke", path: "sys/leases/revoke", namespace, data: { lease_id: leaseId } };
}

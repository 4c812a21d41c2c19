// The journal as requests use it: an intent is committed before its effect, the request's own commit removes it, and
// what a request leaves behind that came to nothing is handed to the sweep (undoing.ts) at once. Knows nothing of what
// the effects are.
import { type Clock, within } from "#common/clock.ts";
import { CofferError, messageOf } from "#common/errors.ts";
import type { Log } from "#common/log.ts";
import type { Barrier } from "../barrier/barrier.ts";
import type { Transaction } from "../barrier/transaction.ts";
import { EFFECT_SECONDS, EFFECT_SECONDS_MAX, type Intent, type OutsideJournal } from "../framework/outside.ts";
import type { MountRecord } from "../mounts/mount-record.ts";
import { readMount } from "../mounts/mount-table.ts";
import { namespaceIdOf, namespaceView } from "../namespaces/namespace-transaction.ts";
import { type IntentRecord, newIntentId } from "./intent-record.ts";
import { deleteIntent, moveIntent, putIntent, readIntent } from "./journal-store.ts";

/** Others hardly ever touch a fresh intent; who loses this often has met something else than a race. */
const ATTEMPTS_MAX = 10;

/** An intent of a request under way. */
interface Pending {
  readonly namespace: string;
  intent: IntentRecord;
  /** The effect is there, and the request's transaction removes the intent. */
  made: boolean;
}

/**
 * What became of a request's transaction. "failed": it certainly did not commit; "unknown": its commit was under way,
 * and has removed the intents if it came through.
 */
export type Outcome = "committed" | "failed" | "unknown";

export interface JournalDependencies {
  readonly barrier: Barrier;
  readonly clock: Clock;
  readonly log: Log;
}

export class Journal {
  readonly #deps: JournalDependencies;
  readonly #pending = new WeakMap<Transaction, Pending[]>();
  constructor(dependencies: JournalDependencies) {
    this.#deps = dependencies;
  }

  /** What a request's handler is given; `tx` is the request's, of the mount's namespace. */
  lend(tx: Transaction, mount: MountRecord): OutsideJournal {
    return { make: (intent, effect) => this.#make(tx, mount, intent, effect) };
  }

  async #make<T>(
    tx: Transaction,
    mount: MountRecord,
    wanted: Intent,
    effect: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const intent = this.#intentOf(mount, wanted);
    // A request that cannot commit any more need not make anything; the pipeline runs it again.
    if (!(await tx.isCurrent())) throw new CofferError("conflict", "what this request reads is changing; try again");
    const pending: Pending = { namespace: namespaceIdOf(tx), intent, made: false };
    await this.#write(pending, mount);
    this.#note(tx, pending);
    // In the request's read set: once the sweep has begun to undo it, the request cannot commit.
    await readIntent(tx, intent.id);
    const made = await this.#inTime(intent, effect);
    pending.intent = { ...intent, settled: true };
    if (made.status === "rejected") throw made.reason;
    deleteIntent(tx, intent);
    pending.made = true;
    return made.value;
  }

  #intentOf(mount: MountRecord, { kind, data, withinSeconds = EFFECT_SECONDS }: Intent): IntentRecord {
    if (!(withinSeconds >= 1 && withinSeconds <= EFFECT_SECONDS_MAX))
      throw new CofferError("internal", `withinSeconds must be from 1 to ${EFFECT_SECONDS_MAX}`);
    const now = this.#nowSeconds();
    return {
      ...{ id: newIntentId(mount.uuid), kind, data },
      ...{ mountPath: mount.path, mountUuid: mount.uuid, mountAccessor: mount.accessor },
      ...{ createdSeconds: now, dueSeconds: now + Math.ceil(withinSeconds), settled: false, attempts: 0 },
    };
  }

  /** Durable before it returns. The mount is in the read set: one that has ended takes no more intents. */
  async #write({ namespace, intent }: Pending, mount: MountRecord): Promise<void> {
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
      const own = namespaceView(this.#deps.barrier.begin(), namespace);
      if ((await readMount(own, mount.path))?.uuid !== mount.uuid) break;
      putIntent(own, intent);
      if ((await own.commit()) === "committed") return;
    }
    throw new CofferError("conflict", "the mount has ended or is changing too fast; try again");
  }

  #note(tx: Transaction, pending: Pending): void {
    const whole = namespaceView(tx, "");
    const noted = this.#pending.get(whole);
    if (noted) noted.push(pending);
    else this.#pending.set(whole, [pending]);
  }

  /** Throws when the time of the intent is over first; the effect is then not known to be. */
  async #inTime<T>(
    intent: IntentRecord,
    effect: (signal: AbortSignal) => Promise<T>,
  ): Promise<PromiseSettledResult<Awaited<T>>> {
    const { clock } = this.#deps;
    const end = new AbortController();
    const late = () => {
      end.abort("its time is over");
      return new CofferError("upstream_failed", `what the mount ${intent.mountPath} makes outside took too long`);
    };
    const millisLeft = intent.dueSeconds * 1000 - clock.now();
    if (millisLeft <= 0) throw late();
    const settled = Promise.allSettled([(async () => effect(end.signal))()]);
    const made = await within(clock, millisLeft, settled);
    if (made === "late") throw late();
    return made[0];
  }

  /**
   * Hands what a transaction made outside in vain to the sweep, at once: all of it unless the transaction committed,
   * and then those effects that failed. Never throws: what cannot be handed over now is found by its deadline.
   */
  async settle(tx: Transaction | undefined, outcome: Outcome): Promise<void> {
    const whole = tx && namespaceView(tx, "");
    const pending = whole && this.#pending.get(whole);
    if (!pending) return;
    this.#pending.delete(whole);
    for (const each of pending) {
      if (each.made && outcome === "committed") continue;
      try {
        await this.#abandon(each, each.made && outcome === "unknown");
      } catch (error) {
        this.#deps.log.warn("what a failed request made outside is undone only at its deadline", {
          ...{ intent: each.intent.id, mount: each.intent.mountPath, error: messageOf(error) },
        });
      }
    }
  }

  /** `mayBeKept`: an intent that is gone may be so because the request came through. */
  async #abandon({ namespace, intent }: Pending, mayBeKept: boolean): Promise<void> {
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
      const own = namespaceView(this.#deps.barrier.begin(), namespace);
      const stored = await readIntent(own, intent.id);
      const after = { ...intent, dueSeconds: this.#nowSeconds() };
      // The sweep has undone it already, perhaps before the effect was there: once more, by an intent of its own.
      if (!stored && mayBeKept) return;
      if (!stored) putIntent(own, after);
      else if (stored.claim === undefined) moveIntent(own, stored, after);
      // Somebody undoes it, perhaps before the effect was there: he cannot commit the end of this one as it was.
      else moveIntent(own, stored, { ...stored, settled: intent.settled });
      if ((await own.commit()) === "committed") return;
    }
    throw new CofferError("conflict", "the intent is changing too fast");
  }

  #nowSeconds(): number {
    return Math.floor(this.#deps.clock.now() / 1000);
  }
}

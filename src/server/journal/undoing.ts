// The sweep of the journal: what requests made outside and did not commit is undone, each intent under a claim, so that
// one node at a time is at it. Failures are tried again ever later; after UNDO_ATTEMPTS_MAX an intent is stuck: kept,
// counted and shown (sys/journal), for an administrator.
import type { Clock } from "#common/clock.ts";
import { CofferError, messageOf } from "#common/errors.ts";
import type { Log } from "#common/log.ts";
import type { Barrier } from "../barrier/barrier.ts";
import type { Transaction } from "../barrier/transaction.ts";
import type { EffectKind, UndoContext } from "../framework/outside.ts";
import { type Claim, isHeld, newClaim, underClaim } from "../leases/claim.ts";
import { mountAnywhere } from "../leases/mount-of.ts";
import type { Backends } from "../mounts/backends.ts";
import { mountInfo, type TtlDefaults } from "../mounts/mount-info.ts";
import { mountStorage } from "../mounts/wrapped-mount.ts";
import { namespaceView } from "../namespaces/namespace-transaction.ts";
import { type IntentRecord, indexKey, intentReferenceKind } from "./intent-record.ts";
import { deleteIntent, moveIntent, readIntent } from "./journal-store.ts";

/** With the waits below, about four hours: longer than most systems are away. */
export const UNDO_ATTEMPTS_MAX = 20;
/** First wait after a failure; doubles with each. */
const BACKOFF_SECONDS = 10;
const BACKOFF_SECONDS_MAX = 900;
/**
 * An effect whose maker fell silent may still be made: a process that was stopped between intent and effect goes on.
 * So what was undone without a word from its maker is undone again after this time.
 */
export const CONFIRM_SECONDS = 600;
/** Commits that note a failure and that others may be in the way of. */
const ATTEMPTS_MAX = 10;
const ERROR_CHARACTERS_MAX = 500;

export interface UndoingDependencies {
  readonly barrier: Pick<Barrier, "begin" | "isSealed">;
  backends(): Backends;
  readonly clock: Clock;
  readonly log: Log;
  readonly ttl: TtlDefaults;
  readonly claimSeconds: number;
  /** CONFIRM_SECONDS but in tests. */
  readonly confirmSeconds: number;
}

/** "not ours": another node is at it, or there is nothing any more. */
export type Undone =
  | { readonly outcome: "undone" | "failed"; readonly intent: IntentRecord; readonly namespace: string; error?: string }
  | { readonly outcome: "not ours" };

export class Undoing {
  readonly #deps: UndoingDependencies;
  constructor(dependencies: UndoingDependencies) {
    this.#deps = dependencies;
  }

  /** Undoes what stands at a key of the index. Throws only while the server is sealed. */
  async undoAt(key: string): Promise<Undone> {
    const claimed = await this.#claim(key);
    if (!claimed) return { outcome: "not ours" };
    const { intent, namespace, claim } = claimed;
    try {
      const { clock } = this.#deps;
      const begin = () => namespaceView(this.#deps.barrier.begin(), namespace);
      const tx = await underClaim({ begin, clock }, claim, (own, signal) => this.#undo(own, intent.id, claim, signal));
      return tx ? { outcome: "undone", intent, namespace } : { outcome: "not ours" };
    } catch (error) {
      if (this.#deps.barrier.isSealed) throw error;
      await this.#postpone(claimed, error);
      return { outcome: "failed", intent, namespace, error: messageOf(error) };
    }
  }

  /** Undefined when it is another's or gone. One commit; who meets a conflict leaves it to the one who won. */
  async #claim(key: string): Promise<Claimed | undefined> {
    const whole = this.#deps.barrier.begin();
    const reference = await whole.read(intentReferenceKind, key);
    if (!reference) return undefined;
    const { id, namespace } = reference;
    const tx = namespaceView(whole, namespace);
    const intent = await readIntent(tx, id);
    const now = this.#nowSeconds();
    if (!intent || indexKey(intent, namespace) !== key || isHeld(intent.claim, now)) return undefined;
    const claim = newClaim(now, this.#deps.claimSeconds);
    moveIntent(tx, intent, { ...intent, claim, dueSeconds: claim.untilSeconds });
    return (await tx.commit()) === "committed" ? { intent, namespace, claim } : undefined;
  }

  /** False when the claim is lost. */
  async #undo(tx: Transaction, id: string, claim: Claim, signal: AbortSignal): Promise<boolean> {
    const intent = await readIntent(tx, id);
    if (intent?.claim?.holder !== claim.holder) return false;
    const { effect, context } = await this.#effectOf(tx, intent, signal);
    await effect.undo(context, intent.data);
    if (intent.settled || intent.undoneSeconds !== undefined) deleteIntent(tx, intent);
    else {
      const now = this.#nowSeconds();
      const { claim: _, lastError: __, ...rest } = intent;
      moveIntent(tx, intent, { ...rest, attempts: 0, undoneSeconds: now, dueSeconds: now + this.#deps.confirmSeconds });
    }
    return true;
  }

  async #effectOf(
    tx: Transaction,
    { kind, mountPath, mountUuid }: IntentRecord,
    signal: AbortSignal,
  ): Promise<{ effect: EffectKind; context: UndoContext }> {
    const place = await mountAnywhere(tx, mountPath, mountUuid);
    if (!place) throw new CofferError("internal", `the mount ${mountPath} is gone with all it would take to undo this`);
    const { mount, view } = place;
    const effect = this.#deps.backends().of(mount).backend.effects?.[kind];
    if (!effect) throw new CofferError("internal", `the backend of ${mount.path} has no effect "${kind}"`);
    const { clock, log, ttl } = this.#deps;
    const storage = mountStorage(view, mount, this.#deps.backends());
    return { effect, context: { storage, clock, log, mount: mountInfo(mount, ttl), signal } };
  }

  /** Notes that it failed, and when to try again; unless the claim is another's by now. */
  async #postpone({ intent: { id }, namespace, claim }: Claimed, error: unknown): Promise<void> {
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
      const tx = namespaceView(this.#deps.barrier.begin(), namespace);
      const intent = await readIntent(tx, id);
      if (intent?.claim?.holder !== claim.holder) return;
      moveIntent(tx, intent, afterFailure(intent, error, this.#nowSeconds()));
      if ((await tx.commit()) === "committed") return;
    }
  }

  #nowSeconds(): number {
    return Math.floor(this.#deps.clock.now() / 1000);
  }
}

interface Claimed {
  /** As it was before the claim. */
  readonly intent: IntentRecord;
  readonly namespace: string;
  readonly claim: Claim;
}

/** The intent after one more failure. */
export function afterFailure(intent: IntentRecord, error: unknown, nowSeconds: number): IntentRecord {
  const { claim: _, ...rest } = intent;
  const attempts = intent.attempts + 1;
  const wait = Math.min(BACKOFF_SECONDS * 2 ** (attempts - 1), BACKOFF_SECONDS_MAX);
  return {
    ...rest,
    attempts,
    lastError: messageOf(error).slice(0, ERROR_CHARACTERS_MAX),
    dueSeconds: attempts >= UNDO_ATTEMPTS_MAX ? 0 : nowSeconds + wait,
  };
}

// What engines do outside of the server's own storage (invariant I5): making database users, cloud tokens and the like.
// These are the shapes an engine sees; src/server/journal keeps the promise. How to write an engine with them:
// docs/guides/journal.md.
import { CofferError } from "#common/errors.ts";
import type { JsonObject } from "#common/json.ts";
import type { LeaseContext } from "./backend.ts";

/** What is about to be made outside, in the engine's own words. */
export interface Intent {
  /** Name of one of the backend's `effects`, which knows how to undo it. */
  readonly kind: string;
  /** What `undo` needs to find the thing: its name, chosen before it is made. Encrypted at rest and never shown. */
  readonly data: JsonObject;
  /**
   * How long the effect and the commit of the request may take together: EFFECT_SECONDS by default, EFFECT_SECONDS_MAX
   * at most. Afterwards the effect is undone.
   */
  readonly withinSeconds?: number;
}

/** A minute and a half: as long as a request may take, and the time to notice that it is over. */
export const EFFECT_SECONDS = 90;
/** What nobody vouches for must not stand longer than an hour. */
export const EFFECT_SECONDS_MAX = 3_600;

export interface OutsideJournal {
  /**
   * Makes something outside. The intent is durable before `effect` begins, and is removed by the commit of the request:
   * what the request returns and what stands outside become true together. When the request fails, is run again after a
   * conflict, or the process dies at any instant, the intent stays and the effect is undone by the backend's `effects`.
   *
   * The effect must be over when its promise settles, must make nothing that the intent's data does not name, and should
   * give up when the signal aborts: then its time is over and it will be undone. Call it once the handler has read and
   * checked all it needs, because a request that runs again makes another thing and has the first one undone.
   *
   * Throws what the effect throws; `upstream_failed` when it takes too long; `conflict` when the mount has ended.
   */
  make<T>(intent: Intent, effect: (signal: AbortSignal) => Promise<T>): Promise<T>;
}

/** A context in which something outside is ended, by one node at a time. */
export interface UndoContext extends LeaseContext {
  /** Aborts when the time of this attempt is over: another node may begin. */
  readonly signal: AbortSignal;
}

/** How a kind of effect is undone. */
export interface EffectKind {
  /**
   * Makes sure that what the intent names is not there. It is idempotent, and has to be: the thing may never have been
   * made, be made in part, be gone already, and after a failure, a crash or a conflict it is called again, also on
   * another node. Returns when the thing is not there any more; throws to be called again later. Writes to the storage
   * are committed together with the end of the intent.
   */
  undo(context: UndoContext, data: JsonObject): Promise<void>;
}

/** For contexts of backends that make nothing outside. Throws `internal`. */
export const nothingOutside: OutsideJournal = {
  make: async () => {
    throw new CofferError("internal", "nothing can be made outside from here");
  },
};

// What the agent keeps for a run after this one: its token and leased credentials, written whenever they have changed.
// Without a state nothing is kept. Tells sinks of each new token, and the leases that they end with the last one.
import { randomBytes } from "node:crypto";
import type { HeldToken } from "#client/renewal.ts";
import type { Clock } from "#common/clock.ts";
import { messageOf } from "#common/errors.ts";
import type { Log } from "#common/log.ts";
import type { LeaseBook } from "./lease-book.ts";
import type { AgentState, SavedLease, SavedState } from "./state/agent-state.ts";

const NAME_KEY_BYTES = 32;
/** A token with less left is not worth a call. */
const LEFT_MILLIS_MIN = 1_000;

export interface MemoryOptions {
  readonly state: AgentState | undefined;
  readonly clock: Clock;
  readonly log: Log;
  readonly onToken: ((token: string) => Promise<void>) | undefined;
}

export class AgentMemory {
  readonly #options: MemoryOptions;
  #token: HeldToken | undefined;
  #nameKey = randomBytes(NAME_KEY_BYTES);
  #leases: LeaseBook | undefined;
  #onNewToken = () => {};
  #work: Promise<void> = Promise.resolve();
  #written = "";
  constructor(options: MemoryOptions) {
    this.#options = options;
  }

  /** Of the names of requests with parameters. */
  get nameKey(): Buffer {
    return this.#nameKey;
  }

  /** What is left of before: a token that has not ended, and its leases. */
  async load(): Promise<{ token: HeldToken; leases: readonly SavedLease[] } | undefined> {
    const { state, clock, log } = this.#options;
    const saved = await state?.load();
    if (saved?.token === undefined) return undefined;
    const token = { ...saved.token, expiresAt: saved.token.expiresAt ?? Number.POSITIVE_INFINITY };
    if (token.expiresAt - clock.now() < LEFT_MILLIS_MIN) return undefined;
    this.#nameKey = Buffer.from(saved.nameKey, "hex");
    log.info("going on with the token of before", { leases: saved.leases.length });
    this.tokenChanged(token);
    return { token, leases: saved.leases };
  }

  /** `onNewToken` is called when another token has taken the place of one. */
  watch(leases: LeaseBook, onNewToken: () => void): void {
    this.#leases = leases;
    this.#onNewToken = onNewToken;
  }

  /** A login or a renewal. */
  tokenChanged(held: HeldToken): void {
    const before = this.#token?.token;
    this.#token = held;
    if (before !== undefined && before !== held.token) {
      this.#leases?.replaceAll();
      this.#onNewToken();
    }
    if (before !== held.token) this.#queue(() => this.#options.onToken?.(held.token));
    this.#queue(() => this.#write());
  }

  /** Writes what has changed. Never rejects. */
  save(): Promise<void> {
    this.#queue(() => this.#write());
    return this.#work;
  }

  /** The token is revoked. */
  async clear(): Promise<void> {
    await this.#work;
    await this.#options.state?.clear();
  }

  settled(): Promise<void> {
    return this.#work;
  }

  /** One after another, so that the last one written is the newest. */
  #queue(work: () => Promise<void> | undefined): void {
    this.#work = this.#work.then(work).catch((error: unknown) => {
      this.#options.log.warn("cannot keep the token or its state", { reason: messageOf(error) });
    });
  }

  async #write(): Promise<void> {
    const { state } = this.#options;
    if (state === undefined || this.#token === undefined) return;
    const saved: SavedState = {
      nameKey: this.#nameKey.toString("hex"),
      token: { ...this.#token, expiresAt: Number.isFinite(this.#token.expiresAt) ? this.#token.expiresAt : undefined },
      leases: this.#leases?.saved() ?? [],
    };
    const text = JSON.stringify(saved);
    if (text === this.#written) return;
    await state.save(saved);
    this.#written = text;
  }
}

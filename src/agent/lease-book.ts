// Leased credentials, each kept until it has to be renewed or replaced. Renewed as long as that gives most of a whole
// lease; then another is read while the last one is still valid, so that there is always one.
//
//   none --read--> kept --share of the lease--> due --renewed--> kept
//                                                `--refused, or the maximum is near--> none (the caller reads anew)
import { randomInt } from "node:crypto";
import type { ApiClient } from "#client/api-client.ts";
import { ApiError } from "#client/api-error.ts";
import type { Clock, Millis } from "#common/clock.ts";
import type { JsonObject } from "#common/json.ts";
import type { SavedLease } from "./state/agent-state.ts";

/** A renewal that gives less than this share of the first lease ran into the maximum. */
const WORTH_RENEWING = 1 / 2;
/** Part of what is left by which renewals are put off at random: what was made at once need not be renewed at once. */
const JITTER = 0.1;
/** A renewal that failed is tried again after this share of the rest. */
const TRY_AGAIN_AT = 1 / 4;
const TRY_AGAIN_MILLIS_MAX = 240_000;
const WAIT_MILLIS_MIN = 1_000;

export interface KeptLease {
  readonly kind: "data";
  readonly data: JsonObject;
  readonly readAgainAt: Millis;
  readonly lease: { readonly id: string; readonly seconds: number; readonly renewable: boolean };
}

export interface LeaseBookOptions {
  /** With the agent's token. */
  readonly client: ApiClient;
  readonly clock: Clock;
  readonly renewAt: number;
  readonly saved?: readonly SavedLease[] | undefined;
}

export class LeaseBook {
  readonly #options: LeaseBookOptions;
  readonly #kept: Map<string, SavedLease>;
  constructor(options: LeaseBookOptions) {
    this.#options = options;
    this.#kept = new Map((options.saved ?? []).map((lease) => [lease.name, lease]));
  }

  /** What need not be read now; renews it when that is due. Rejects only when aborted. */
  async current(name: string, path: string, signal: AbortSignal): Promise<KeptLease | undefined> {
    const kept = this.#kept.get(name);
    if (kept === undefined || kept.path !== path || kept.expiresAt <= this.#options.clock.now()) return undefined;
    if (kept.dueAt > this.#options.clock.now()) return asResult(kept);
    const renewed = kept.renewable && kept.id !== "" ? await this.#renew(kept, signal) : undefined;
    if (renewed === undefined) return undefined;
    this.#kept.set(name, renewed);
    return asResult(renewed);
  }

  /** Keeps what was read; gives it with the time at which it is due. */
  keep(name: string, path: string, result: Omit<KeptLease, "readAgainAt">, dueAt: Millis): KeptLease {
    const { data, lease } = result;
    const expiresAt = lease.id === "" ? Number.MAX_SAFE_INTEGER : this.#options.clock.now() + lease.seconds * 1000;
    const left = Math.floor((expiresAt - dueAt) * JITTER);
    const late = lease.id === "" || left <= 1 ? 0 : randomInt(Math.min(left, 2 ** 31));
    const saved = { name, path, data, ...lease, firstSeconds: lease.seconds, dueAt: dueAt + late, expiresAt };
    this.#kept.set(name, saved);
    return asResult(saved);
  }

  /** What is still valid though it could not be replaced, to be tried again soon. */
  stillValid(name: string, path: string): KeptLease | undefined {
    const kept = this.#kept.get(name);
    const now = this.#options.clock.now();
    if (kept === undefined || kept.path !== path || kept.expiresAt - now <= WAIT_MILLIS_MIN) return undefined;
    const again = {
      ...kept,
      dueAt: now + Math.max(Math.min(kept.expiresAt - now, TRY_AGAIN_MILLIS_MAX) * TRY_AGAIN_AT, WAIT_MILLIS_MIN),
    };
    this.#kept.set(name, again);
    return asResult(again);
  }

  /** Its token is gone, and they with it. */
  forget(): void {
    this.#kept.clear();
  }

  /** Another token follows: they end with the last one, so each is replaced at the next reading. */
  replaceAll(): void {
    const now = this.#options.clock.now();
    for (const [name, kept] of this.#kept) this.#kept.set(name, { ...kept, renewable: false, dueAt: now });
  }

  /** Drops what nobody asked for and is past: templates may ask for other secrets each time. */
  sweep(asked: ReadonlySet<string>): void {
    const now = this.#options.clock.now();
    for (const [name, { dueAt }] of this.#kept) if (!asked.has(name) && dueAt <= now) this.#kept.delete(name);
  }

  saved(): readonly SavedLease[] {
    return [...this.#kept.values()];
  }

  async #renew(kept: SavedLease, signal: AbortSignal): Promise<SavedLease | undefined> {
    const { client, clock, renewAt } = this.#options;
    try {
      const body = { lease_id: kept.id, increment: kept.firstSeconds };
      const { lease_duration: seconds, renewable } = await client.write("sys/leases/renew", body, { signal });
      if (seconds < kept.firstSeconds * WORTH_RENEWING) return undefined;
      const now = clock.now();
      return { ...kept, seconds, renewable, dueAt: now + seconds * 1000 * renewAt, expiresAt: now + seconds * 1000 };
    } catch (error) {
      if (signal.aborted) throw error;
      const left = kept.expiresAt - clock.now();
      const passes = error instanceof ApiError && error.retryable && left > WAIT_MILLIS_MIN;
      return passes ? { ...kept, dueAt: clock.now() + Math.max(left * TRY_AGAIN_AT, WAIT_MILLIS_MIN) } : undefined;
    }
  }
}

function asResult({ data, id, seconds, renewable, dueAt }: SavedLease): KeptLease {
  return { kind: "data", data, readAgainAt: dueAt, lease: { id, seconds, renewable } };
}

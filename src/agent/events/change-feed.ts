// Changes as the server tells them (docs/guides/events.md), so that an agent need not ask again and again. One
// connection for all KV secrets of an agent. Events are told at best effort: whoever connects reads once more, and the
// interval goes on, only slower.
//
//   off --paths--> connecting --open--> live --change--> refresh
//                   ^   `--refused (403, 404, 429 …)--> a long pause     `--lost--> a pause, then connecting
import { randomInt } from "node:crypto";
import type { ApiClient } from "#client/api-client.ts";
import { ApiError } from "#client/api-error.ts";
import { backoffMillis } from "#client/retry.ts";
import { CHANGES_PATH } from "#common/binding-names.ts";
import type { Clock, Millis } from "#common/clock.ts";
import { messageOf } from "#common/errors.ts";
import type { Log } from "#common/log.ts";
import { changedPath } from "./changed-path.ts";

/** What polling is stretched by while changes are told. */
const STRETCH = 6;
/** A change of a secret that many pods have must not make all of them read at the same instant. */
const REFRESH_SPREAD_MILLIS = 2_000;
/** After a start of the server everybody connects again; so many at least are they spread over. */
const RECONNECT_SPREAD_MILLIS = 5_000;
const RECONNECT_MILLIS_MAX = 60_000;
/** Other nodes notice a first subscriber within about a second; what they do meanwhile is not told. */
const SETTLE_MILLIS = 1_500;
/** A server that offers no events, or not to this token, may do so after an upgrade or a change of policies. */
const REFUSED_MILLIS = 1_800_000;
/** A full server has room again when others leave. */
const FULL_MILLIS = 120_000;
/** A filter of more paths is longer than servers should be asked to read; then everything is told and looked at here. */
const FILTER_PATHS_MAX = 16;
const FILTER_CHARACTERS_MAX = 2_000;

export interface ChangeFeedOptions {
  /** With the agent's token. */
  readonly client: Pick<ApiClient, "messages">;
  readonly clock: Clock;
  readonly log: Log;
  readonly signal: AbortSignal;
}

export class ChangeFeed {
  readonly #options: ChangeFeedOptions;
  #paths: ReadonlySet<string> = new Set();
  #isLive = false;
  #takesFilter = true;
  /** Aborted when the paths have changed. */
  #connection = new AbortController();
  /** Aborted when a refresh is due. */
  #change = new AbortController();
  constructor(options: ChangeFeedOptions) {
    this.#options = options;
  }

  /** Whether changes are told now. */
  get isLive(): boolean {
    return this.#isLive;
  }

  /** The paths of the API whose changes matter. */
  watch(paths: ReadonlySet<string>): void {
    if (paths.size === this.#paths.size && [...paths].every((path) => this.#paths.has(path))) return;
    this.#paths = new Set(paths);
    this.#connection.abort("paths");
  }

  /** Ends the wait, as a change would. */
  wake(): void {
    this.#change.abort("asked");
  }

  /** Resolves when something has changed, or after the interval, longer while changes are told; or when aborted. */
  async wait(intervalMillis: Millis, untilMillis: Millis): Promise<void> {
    const { clock, signal } = this.#options;
    const millis = Math.min(this.#isLive ? intervalMillis * STRETCH : intervalMillis, untilMillis);
    await clock.sleep(millis, AbortSignal.any([signal, this.#change.signal]));
    if (!this.#change.signal.aborted || signal.aborted) return;
    await clock.sleep(randomInt(REFRESH_SPREAD_MILLIS), signal);
    // What comes from now on is not in what is read next.
    this.#change = new AbortController();
  }

  /** Connects and listens until the signal aborts. Never rejects. */
  async run(): Promise<void> {
    const { clock, signal } = this.#options;
    for (let attempt = 0; !signal.aborted; ) {
      this.#connection = new AbortController();
      const stop = AbortSignal.any([signal, this.#connection.signal]);
      if (this.#paths.size === 0) {
        await clock.sleep(REFUSED_MILLIS, stop);
        continue;
      }
      const since = clock.now();
      const pause = await this.#listen(stop, attempt);
      // A connection that lasted is a new beginning.
      attempt = clock.now() - since > RECONNECT_MILLIS_MAX ? 0 : attempt + 1;
      if (pause > 0) await clock.sleep(pause, stop);
    }
  }

  /** One connection, to its end. Gives the pause before the next. */
  async #listen(stop: AbortSignal, attempt: number): Promise<Millis> {
    const { client, log } = this.#options;
    try {
      const query = { json: true, ...this.#filter() };
      const onOpen = () => this.#opened(stop);
      for await (const text of client.messages(CHANGES_PATH, { query, signal: stop, onOpen })) {
        const path = changedPath(text);
        if (path === undefined || this.#paths.has(path)) this.#change.abort("changed");
      }
      return 0;
    } catch (error) {
      return this.#pauseAfter(error, attempt);
    } finally {
      if (this.#isLive && !stop.aborted) log.info("changes are not told any more, asking at intervals until they are");
      this.#isLive = false;
    }
  }

  #opened(stop: AbortSignal): void {
    const { clock, log } = this.#options;
    this.#isLive = true;
    log.info("changes are told by the server", { paths: this.#paths.size });
    void clock.sleep(SETTLE_MILLIS, stop).then(() => {
      if (!stop.aborted) this.#change.abort("connected");
    });
  }

  #filter(): { readonly filter?: string } {
    if (!this.#takesFilter || this.#paths.size > FILTER_PATHS_MAX) return {};
    const filter = [...this.#paths].map((path) => `data_path == ${JSON.stringify(path)}`).join(" or ");
    return filter.length > FILTER_CHARACTERS_MAX ? {} : { filter };
  }

  #pauseAfter(error: unknown, attempt: number): Millis {
    const { log } = this.#options;
    const status = error instanceof ApiError ? error.status : 0;
    if (status === 400 && this.#takesFilter) {
      this.#takesFilter = false;
      return 0;
    }
    if (status >= 400 && status < 500 && status !== 408) {
      log.debug("the server does not tell changes to this role, asking at intervals", { reason: messageOf(error) });
      const pause = status === 429 ? FULL_MILLIS : REFUSED_MILLIS;
      return pause / 2 + randomInt(pause);
    }
    log.debug("the connection for changes ended", { reason: messageOf(error) });
    return randomInt(RECONNECT_SPREAD_MILLIS) + backoffMillis(attempt, RECONNECT_MILLIS_MAX);
  }
}

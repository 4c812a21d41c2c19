// The sessions of a store: at most so many, lent to one user at a time, made anew when they break. A call that hangs is
// cut off; a server that has become read-only loses all its sessions at once. Must not know the statements.
import type { Clock, Millis } from "#common/clock.ts";
import { CofferError } from "#common/errors.ts";
import type { ConnectOptions, HostAddress } from "./connect-options.ts";
import { endsSession, isReadOnly } from "./faults.ts";
import { PasswordSource } from "./password-source.ts";
import { connectSession, type Session } from "./session.ts";

/** The server itself ends a statement that takes too long; this much later the connection must be dead. */
const GRACE_MILLIS: Millis = 2_000;
const WATCHDOG_MILLIS: Millis = 1_000;

interface Borrower {
  resolve(session: Session): void;
  reject(error: unknown): void;
}

export class SessionPool {
  readonly #options: ConnectOptions;
  readonly #passwords: PasswordSource;
  readonly #max: number;
  readonly #clock: Clock;
  readonly #idle: Session[] = [];
  /** Lent sessions and when they were lent. */
  readonly #lent = new Map<Session, Millis>();
  readonly #waiting: Borrower[] = [];
  readonly #closing = new AbortController();
  #connecting = 0;
  #lastHost: HostAddress | undefined;
  #returned: () => void = () => {};

  constructor(options: ConnectOptions, max: number, clock: Clock) {
    this.#options = options;
    this.#passwords = new PasswordSource(options, clock);
    this.#max = max;
    this.#clock = clock;
    void this.#watch();
  }

  /** Lends a session for as long as `work` takes. Throws `unavailable` when none can be had. */
  async use<T>(work: (session: Session) => Promise<T>): Promise<T> {
    const session = await this.#borrow();
    try {
      return await work(session);
    } catch (error) {
      if (endsSession(error)) session.destroy();
      if (isReadOnly(error)) this.#dropAll();
      throw error;
    } finally {
      this.#lent.delete(session);
      this.#giveBack(session);
    }
  }

  /** A session outside the pool, on the host that the others use; the caller ends it. */
  async connect(): Promise<Session> {
    const session = await connectSession(this.#options, this.#passwords, this.#lastHost);
    if (this.#closing.signal.aborted) {
      session.destroy();
      throw closed();
    }
    this.#lastHost = session.state.host;
    return session;
  }

  assertOpen(): void {
    if (this.#closing.signal.aborted) throw closed();
  }

  /** Aborts when the pool is closed. */
  get closing(): AbortSignal {
    return this.#closing.signal;
  }

  /** Lets what is on its way come to its end, then ends the sessions. */
  async close(): Promise<void> {
    if (this.#closing.signal.aborted) return;
    this.#closing.abort();
    for (const borrower of this.#waiting.splice(0)) borrower.reject(closed());
    while (this.#lent.size > 0) {
      await new Promise<void>((resolve) => {
        this.#returned = resolve;
      });
    }
    await Promise.all(this.#idle.splice(0).map((session) => session.end()));
  }

  #borrow(): Promise<Session> {
    if (this.#closing.signal.aborted) return Promise.reject(closed());
    const idle = this.#nextIdle();
    if (idle) {
      this.#lent.set(idle, this.#clock.now());
      return Promise.resolve(idle);
    }
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      this.#grow();
    });
  }

  #nextIdle(): Session | undefined {
    for (;;) {
      const session = this.#idle.pop();
      if (session === undefined || session.alive) return session;
    }
  }

  #grow(): void {
    if (this.#lent.size + this.#idle.length + this.#connecting >= this.#max) return;
    if (this.#connecting >= this.#waiting.length) return;
    this.#connecting++;
    this.connect().then(
      (session) => {
        this.#connecting--;
        this.#giveBack(session);
      },
      (error: unknown) => {
        this.#connecting--;
        // While sessions are lent, those who wait get them in turn. Else nobody may come: who waits longest is told so,
        // and everybody when nothing is tried any more.
        if (this.#lent.size > 0) return;
        const hopeless = this.#connecting > 0 ? this.#waiting.splice(0, 1) : this.#waiting.splice(0);
        for (const borrower of hopeless) borrower.reject(error);
      },
    );
  }

  #giveBack(session: Session): void {
    const borrower = this.#waiting[0];
    if (!session.alive) {
      if (borrower) this.#grow();
    } else if (borrower) {
      this.#waiting.shift();
      this.#lent.set(session, this.#clock.now());
      borrower.resolve(session);
    } else this.#idle.push(session);
    this.#returned();
  }

  #dropAll(): void {
    for (const session of [...this.#idle.splice(0), ...this.#lent.keys()]) session.destroy();
    this.#lastHost = undefined;
  }

  async #watch(): Promise<void> {
    const limit = this.#options.statementTimeoutMillis + GRACE_MILLIS;
    const { signal } = this.#closing;
    while (!signal.aborted || this.#lent.size > 0) {
      await this.#clock.sleep(WATCHDOG_MILLIS, signal.aborted ? undefined : signal);
      const now = this.#clock.now();
      for (const [session, since] of this.#lent) if (now - since > limit) session.destroy();
    }
  }
}

const closed = () => new CofferError("unavailable", "the storage is closed");

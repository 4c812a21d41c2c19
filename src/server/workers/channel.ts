// Questions and answers between two processes over a port that carries messages in order. What is asked has a time
// limit; what is only told may be dropped when too much waits, and the other side is then told that. Knows nothing of
// what the messages mean.
import { type Clock, type Millis, within } from "#common/clock.ts";
import { CofferError, messageOf } from "#common/errors.ts";

/** One end of the connection to another process. */
export interface Port {
  /** `sent` runs when the message has left this process, or never will. */
  send(message: object, sent: () => void): void;
  onMessage(receive: (message: unknown) => void): void;
  onClose(closed: () => void): void;
}

/** Messages that wait to be sent; some 10 MiB of events at the most. */
export const UNSENT_MAX = 10_000;

/** `id` 0 wants no answer. */
type Frame<M, A> =
  | { readonly id: number; readonly message: M }
  | { readonly to: number; readonly answer: A }
  | { readonly to: number; readonly failure: string };

interface Question<A> {
  readonly resolve: (answer: A) => void;
  readonly reject: (error: Error) => void;
}

/** Sends `Out`, receives `In`; both are answered by `A`. */
export class Channel<Out, In, A> {
  readonly #port: Port;
  readonly #clock: Clock;
  readonly #questions = new Map<number, Question<A>>();
  #lastId = 0;
  #unsent = 0;
  #hasLost = false;
  #closed = false;

  /** `receive` answers a message; what it answers to one that was only told is dropped. */
  constructor(port: Port, clock: Clock, receive: (message: In) => Promise<A> | A) {
    this.#port = port;
    this.#clock = clock;
    port.onMessage((frame) => {
      if (isFrame<In, A>(frame)) void this.#take(frame, receive);
    });
    port.onClose(() => this.#close());
  }

  /** Rejects with `unavailable` when there is no answer in time or the other side ends. */
  async ask(message: Out, limit: Millis): Promise<A> {
    if (this.#closed) throw gone();
    const id = ++this.#lastId;
    const answered = new Promise<A>((resolve, reject) => this.#questions.set(id, { resolve, reject }));
    this.#send({ id, message });
    try {
      const answer = await within(this.#clock, limit, answered);
      if (answer === "late") throw new CofferError("unavailable", "another process of the server does not answer");
      return answer;
    } finally {
      this.#questions.delete(id);
    }
  }

  tell(message: Out): void {
    this.#send({ id: 0, message });
  }

  /** Tells it unless too much waits already; then `lost` is told in its place, once there is room. */
  offer(message: Out, lost: Out): void {
    if (this.#unsent >= UNSENT_MAX) {
      this.#hasLost = true;
      return;
    }
    if (this.#hasLost) this.tell(lost);
    this.#hasLost = false;
    this.tell(message);
  }

  #send(frame: Frame<Out, A>): void {
    if (this.#closed) return;
    this.#unsent++;
    this.#port.send(frame, () => {
      this.#unsent--;
    });
  }

  async #take(frame: Frame<In, A>, receive: (message: In) => Promise<A> | A): Promise<void> {
    if ("message" in frame) return this.#answer(frame.id, () => receive(frame.message));
    const question = this.#questions.get(frame.to);
    if ("answer" in frame) question?.resolve(frame.answer);
    else question?.reject(new CofferError("unavailable", frame.failure));
  }

  async #answer(id: number, receive: () => Promise<A> | A): Promise<void> {
    try {
      const answer = await receive();
      if (id !== 0) this.#send({ to: id, answer });
    } catch (error) {
      if (id !== 0) this.#send({ to: id, failure: messageOf(error) });
    }
  }

  #close(): void {
    this.#closed = true;
    for (const { reject } of this.#questions.values()) reject(gone());
    this.#questions.clear();
  }
}

function gone(): CofferError {
  return new CofferError("unavailable", "another process of the server has ended");
}

/** The messages inside are believed: see messages.ts. */
function isFrame<M, A>(value: unknown): value is Frame<M, A> {
  return typeof value === "object" && value !== null && ("id" in value || "to" in value);
}

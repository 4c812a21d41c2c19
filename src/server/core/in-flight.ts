// The requests that this process is working on, for `sys/in-flight-req`. In memory by nature: they end with the process.
import type { Clock, Millis } from "#common/clock.ts";
import type { Request } from "./request.ts";

export interface FlyingRequest {
  readonly request: Request;
  readonly since: Millis;
}

export class InFlight {
  readonly #clock: Clock;
  readonly #requests = new Map<string, FlyingRequest>();
  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Runs the work of a request; the request is listed until it ends. */
  async during<T>(request: Request, work: () => Promise<T>): Promise<T> {
    this.#requests.set(request.id, { request, since: this.#clock.now() });
    try {
      return await work();
    } finally {
      this.#requests.delete(request.id);
    }
  }

  list(): readonly FlyingRequest[] {
    return [...this.#requests.values()];
  }
}

// The requests that this process is working on, for `sys/in-flight-req`. In memory by nature: they end with the process.
import type { Clock, Millis } from "#common/clock.ts";
import type { Operation } from "../framework/context.ts";
import type { Request } from "./request.ts";

/** What may be told of a request: neither its token nor its body. */
export interface FlightNote {
  readonly id: string;
  readonly since: Millis;
  readonly path: string;
  readonly operation: Operation;
  readonly remoteAddress: string;
  readonly remotePort: number;
}

export class InFlight {
  readonly #clock: Clock;
  readonly #requests = new Map<string, FlightNote>();
  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Runs the work of a request; the request is listed until it ends. */
  async during<T>(request: Request, work: () => Promise<T>): Promise<T> {
    const { id, path, operation, remoteAddress, remotePort } = request;
    this.#requests.set(id, { id, since: this.#clock.now(), path, operation, remoteAddress, remotePort });
    try {
      return await work();
    } finally {
      this.#requests.delete(id);
    }
  }

  list(): readonly FlightNote[] {
    return [...this.#requests.values()];
  }
}

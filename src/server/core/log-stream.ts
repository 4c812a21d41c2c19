// The server's log as one client reads it (sys/monitor). Ends with the right to it, with the seal, and for who reads too
// slowly. Sending is the HTTP edge's.
import type { LogTap, TapSelection } from "#common/log-tap.ts";
import type { TokenRecord } from "../tokens/token-record.ts";
import type { CoreServices } from "./request-state.ts";
import { type StreamRequest, StreamRight } from "./stream-right.ts";

export class LogStream {
  readonly #services: CoreServices;
  readonly #tap: LogTap;
  readonly #right: StreamRight;
  /** Throws `rate_limited` when the log has too many readers. */
  constructor(services: CoreServices, token: TokenRecord, request: StreamRequest, selection: TapSelection) {
    this.#services = services;
    this.#right = new StreamRight(services, token, request, (acl, path) => {
      const { allowed, sudo } = acl.check({ operation: "read", path });
      return allowed && sudo;
    });
    this.#tap = services.log.taps.open(selection);
  }

  /** Aborts when the reader is too slow, even while it is being sent something. */
  get overflowed(): AbortSignal {
    return this.#tap.overflowed;
  }

  close(): void {
    this.#tap.close();
  }

  /** Waits for lines, newlines included; undefined when there are no more, or none wait and the signal aborts. */
  async next(signal: AbortSignal): Promise<readonly string[] | undefined> {
    const { clock, barrier } = this.#services;
    for (;;) {
      await this.#tap.wait(clock, this.#right.millisToLook(), signal);
      if (this.overflowed.aborted || barrier.isSealed) return undefined;
      if (!(await this.#right.acl(barrier.begin()))) return undefined;
      const lines = this.#tap.take();
      if (lines.length > 0) return lines;
      if (signal.aborted) return undefined;
    }
  }
}

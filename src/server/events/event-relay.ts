// How events come to subscribers who are connected to another worker process of the same server. Where there is one
// process there is no relay.
import type { ServerEvent } from "./event.ts";

export interface EventRelay {
  /** Whether somebody on another worker wants events. */
  isWanted(): boolean;
  send(event: ServerEvent): void;
  /** Whether somebody here wants events. Resolves when every other worker sends its own. */
  want(wanted: boolean): Promise<void>;
  /** What the others sent. `lost`: some of it never came, because there was too much of it. */
  onEvent(deliver: (event: ServerEvent | "lost") => void): void;
}

/** Nobody is there. */
export const noRelay: EventRelay = {
  isWanted: () => false,
  send: () => {},
  want: async () => {},
  onEvent: () => {},
};

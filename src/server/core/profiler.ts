// Profiles of this process by V8's own profilers, in the forms that Chrome's DevTools open (.cpuprofile, .heapprofile).
// They name functions and count; they hold no values. Heap snapshots, which hold every string in memory, are not taken.
// Protocol: https://chromedevtools.github.io/devtools-protocol/v8/
import { Session } from "node:inspector/promises";
import type { Clock } from "#common/clock.ts";
import { CofferError } from "#common/errors.ts";

/** Longer than that is no request: the listener ends those after 90 s by default. */
export const PROFILE_SECONDS_MAX = 60;
/** On the average one of so many bytes is looked at; V8's own default. */
const SAMPLED_BYTES = 32_768;

export class Profiler {
  readonly #clock: Clock;
  #isBusy = false;
  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Where processor time went for so many seconds. Throws `invalid_request`, `unavailable` while another is taken. */
  cpu(seconds: number): Promise<string> {
    return this.#during(seconds, async (session, wait) => {
      await session.post("Profiler.enable");
      await session.post("Profiler.start");
      await wait();
      return (await session.post("Profiler.stop")).profile;
    });
  }

  /** What was allocated in so many seconds and is still used, or all of it. Throws as `cpu` does. */
  allocations(seconds: number, which: "live" | "all"): Promise<string> {
    const collected = which === "all";
    return this.#during(seconds, async (session, wait) => {
      await session.post("HeapProfiler.startSampling", {
        samplingInterval: SAMPLED_BYTES,
        includeObjectsCollectedByMajorGC: collected,
        includeObjectsCollectedByMinorGC: collected,
      });
      await wait();
      return (await session.post("HeapProfiler.stopSampling")).profile;
    });
  }

  /** V8 takes one profile at a time, and each costs every request something. */
  async #during(
    seconds: number,
    take: (session: Session, wait: () => Promise<void>) => Promise<object>,
  ): Promise<string> {
    if (!Number.isInteger(seconds) || seconds < 1 || seconds > PROFILE_SECONDS_MAX)
      throw new CofferError("invalid_request", `seconds must be from 1 to ${PROFILE_SECONDS_MAX}`);
    if (this.#isBusy) throw new CofferError("unavailable", "another profile is being taken; try again when it is done");
    this.#isBusy = true;
    const session = new Session();
    try {
      session.connect();
      return JSON.stringify(await take(session, () => this.#clock.sleep(seconds * 1000)));
    } finally {
      session.disconnect();
      this.#isBusy = false;
    }
  }
}

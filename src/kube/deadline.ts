// Work with a time limit: an abort signal that follows its parent and also fires when the time is over.
import type { Clock, Millis } from "#common/clock.ts";
import { CofferError } from "#common/errors.ts";

/** The reason a deadline's signal is aborted with, and so what the work usually rejects with. */
export class DeadlineExceeded extends CofferError {
  constructor(millis: Millis) {
    super("unavailable", `not finished within ${millis} ms`);
    this.name = "DeadlineExceeded";
  }
}

/**
 * Runs `work` with a signal that aborts when `parent` does or after `millis`. Leaves no timer and no listener behind.
 * Throws whatever the work throws; the work has to heed its signal.
 */
export async function withDeadline<T>(
  clock: Clock,
  millis: Millis,
  parent: AbortSignal | undefined,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const inner = new AbortController();
  const ended = new AbortController();
  const follow = () => inner.abort(parent?.reason);
  if (parent?.aborted) follow();
  parent?.addEventListener("abort", follow, { once: true });
  void clock.sleep(millis, ended.signal).then(() => {
    if (!ended.signal.aborted) inner.abort(new DeadlineExceeded(millis));
  });
  try {
    return await work(inner.signal);
  } finally {
    ended.abort();
    parent?.removeEventListener("abort", follow);
  }
}

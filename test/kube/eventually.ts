// Waits in tests for something that other parts of the process bring about, without a fixed sleep.
import { messageOf } from "#common/errors.ts";

/** Far longer than anything in the same process takes, so that only a real fault comes to it. */
const PATIENCE_MILLIS = 10_000;

/** Resolves as soon as the check neither throws nor gives false; fails with the check's last complaint. */
export async function eventually(check: () => unknown): Promise<void> {
  const startedAt = performance.now();
  for (;;) {
    let complaint = "it stayed false";
    try {
      if ((await check()) !== false) return;
    } catch (error) {
      complaint = messageOf(error);
    }
    if (performance.now() - startedAt > PATIENCE_MILLIS) throw new Error(`did not come about: ${complaint}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

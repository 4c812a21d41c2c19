// The agent with a clock that hurries: its waits take so many times less, so that 2,000 refreshes are over in a minute.
// All else is the agent's own. For memory alone; nothing of its times means anything.
import { run } from "#agent/main.ts";
import { systemClock } from "#common/clock.ts";

const FASTER = 40;

const end = new AbortController();
process.once("SIGTERM", () => end.abort());
process.exitCode = await run([], {
  stdout: process.stdout,
  stderr: process.stderr,
  readStdin: async () => Buffer.alloc(0),
  env: process.env,
  cwd: process.cwd(),
  clock: {
    now: () => systemClock.now(),
    sleep: (millis, signal) => systemClock.sleep(millis / FASTER, signal),
    after: (millis, wake) => systemClock.after(millis / FASTER, wake),
  },
  signal: end.signal,
});

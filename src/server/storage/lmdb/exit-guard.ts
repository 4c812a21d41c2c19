// What a process must do that ends while commits are under way. The package's thread holds LMDB's write lock, which is
// everybody's, and waits for the main thread to run a callback; the main thread, once it ends, waits for that thread: the
// process stays for ever and nobody can write any more. SIGKILL ends both, and LMDB takes the lock of the dead
// (a robust mutex). node:cluster ends a worker in this way when its supervisor is gone, Node any process that has failed.
import { writeSync } from "node:fs";

/** Of standard error. */
const STDERR = 2;

/** Watches over the end of this process until it is disposed. `isBusy`: whether commits are under way. */
export function guardExit(isBusy: () => boolean): Disposable {
  const end = () => {
    if (isBusy()) process.kill(process.pid, "SIGKILL");
  };
  // Node would say it only after the listeners of "exit".
  const tell = (error: Error) => {
    if (isBusy()) writeSync(STDERR, `${error.stack ?? String(error)}\n`);
  };
  process.on("exit", end);
  process.on("uncaughtExceptionMonitor", tell);
  return {
    [Symbol.dispose]: () => {
      process.removeListener("exit", end);
      process.removeListener("uncaughtExceptionMonitor", tell);
    },
  };
}

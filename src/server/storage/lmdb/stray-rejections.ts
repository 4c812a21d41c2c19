// lmdb-js rejects, after a commit that failed, now and then one promise more than it has given away, and Node ends a process
// for such a one (seen on a full disk, about once in ten runs of test/parts/lmdb.test.ts). Whoever committed has been told
// by his own promise; this one is nobody's. Every other rejection without a handler ends the process as ever.

/** Until it is disposed. */
export function takeStrayRejections(): Disposable {
  const take = (reason: unknown) => {
    if (!isOfCommit(reason)) throw reason;
  };
  process.on("unhandledRejection", take);
  return { [Symbol.dispose]: () => void process.removeListener("unhandledRejection", take) };
}

/** lmdb-js hangs the cause on the error as a promise. */
function isOfCommit(reason: unknown): boolean {
  if (!(reason instanceof Error) || !("commitError" in reason) || !(reason.commitError instanceof Promise))
    return false;
  // The cause would be the next one without a handler.
  reason.commitError.catch(() => undefined);
  return true;
}

// The two ends of the channel that node:cluster gives a worker: a socket pair that only these two processes have.
import type { Serializable } from "node:child_process";
import cluster, { type Worker } from "node:cluster";
import type { Port } from "./channel.ts";
import type { ClosablePort } from "./link.ts";

/** By this a process knows that it is a worker, and which. */
export const WORKER_VARIABLE = "COFFER_WORKER";

/** Whether this process was started by a supervisor. */
export function isWorker(environment: Readonly<Record<string, string | undefined>>): boolean {
  return cluster.isWorker && environment[WORKER_VARIABLE] !== undefined;
}

/** The supervisor's end of the channel to a worker. */
export function portOf(worker: Worker): Port {
  return {
    send: (message: Serializable, sent) => void worker.process.send?.(message, undefined, undefined, sent),
    onMessage: (receive) => void worker.on("message", receive),
    onClose: (closed) => void worker.on("disconnect", closed),
  };
}

/** The end of this process, which is a worker. When the supervisor ends, node:cluster ends this process at once. */
export function ownPort(): ClosablePort {
  return {
    send: (message: Serializable, sent) => void process.send?.(message, undefined, undefined, sent),
    onMessage: (receive) => void process.on("message", receive),
    onClose: (closed) => void process.on("disconnect", closed),
    close: () => void cluster.worker?.disconnect(),
  };
}

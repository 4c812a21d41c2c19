// Connections on their way to a worker. node:cluster gives one to a worker and waits to hear that the worker has taken
// it; when the worker dies in between it waits for ever, and so does the client (measured: one client in a few hundred
// while workers are killed under load). Nothing has been read from such a connection, so another worker can have it: it
// is answered in the dead worker's place that it did not take it, and node:cluster goes on as with one that is closing.
//
// This knows two things of node:cluster that its documentation does not say (lib/internal/cluster of Node 24): a
// connection goes out as { act: "newconn", seq } and is answered by { ack: seq, accepted }. Should they change, nothing
// happens here and test/parts/workers.test.ts, which kills workers under load, fails.
import type { Worker } from "node:cluster";

/** Begins right after the fork. */
export function passOnAtDeath({ process }: Pick<Worker, "process">): void {
  const unanswered = new Set<number>();
  process.send = new Proxy(process.send, {
    apply: (send, self, given: unknown[]) => {
      const [message] = given;
      const seq = isNewConnection(message) ? message.seq : undefined;
      if (seq !== undefined) unanswered.add(seq);
      return Reflect.apply(send, self, given);
    },
  });
  process.on("internalMessage", (message: unknown) => {
    if (isAnswer(message)) unanswered.delete(message.ack);
  });
  process.once("exit", () => {
    for (const ack of unanswered) process.emit("internalMessage", { cmd: "NODE_CLUSTER", ack, accepted: false });
    unanswered.clear();
  });
}

function isNewConnection(message: unknown): message is { readonly seq: number } {
  return isObject(message) && "act" in message && message.act === "newconn" && "seq" in message;
}

function isAnswer(message: unknown): message is { readonly ack: number } {
  return isObject(message) && "ack" in message && typeof message.ack === "number";
}

function isObject(value: unknown): value is object {
  return typeof value === "object" && value !== null;
}

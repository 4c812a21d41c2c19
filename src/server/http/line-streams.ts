// Answers that go on: lines sent in chunks until the client goes, the stream ends or the server stops. A client that does
// not read is waited for only until its stream has had enough of it; then the connection is cut.
import type { ServerResponse } from "node:http";
import { messageOf } from "#common/errors.ts";
import type { Log } from "#common/log.ts";
import type { LogStream } from "../core/log-stream.ts";

/** TCP asks clients that have gone without a word whether they are there after this long. */
const KEEP_ALIVE_MILLIS = 30_000;

export class LineStreams {
  readonly #log: Log;
  readonly #stop = new AbortController();
  constructor(log: Log) {
    this.#log = log;
  }

  /** Ends all streams, and those that begin later at once. */
  close(): void {
    this.#stop.abort();
  }

  /** Sends to a response whose header is written, until one side ends it; closes the stream. Never rejects. */
  async send(response: ServerResponse, stream: LogStream): Promise<void> {
    const gone = new AbortController();
    response.once("close", () => gone.abort());
    if (response.destroyed) gone.abort();
    response.flushHeaders();
    response.socket?.setKeepAlive(true, KEEP_ALIVE_MILLIS);
    const closed = AbortSignal.any([gone.signal, this.#stop.signal]);
    const until = AbortSignal.any([closed, stream.overflowed]);
    try {
      for (;;) {
        const lines = await stream.next(closed);
        if (!lines) break;
        for (const line of lines) await written(response, line, until);
      }
    } catch (error) {
      this.#log.warn("a stream of the log ended", { error: messageOf(error) });
    } finally {
      stream.close();
      if (stream.overflowed.aborted || response.writableNeedDrain) response.destroy();
      else response.end();
    }
  }
}

/** Until the line is taken, or there is no use in waiting any more: what is said last is sent without. */
function written(response: ServerResponse, line: string, until: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (response.destroyed || response.write(line) || until.aborted) return resolve();
    const done = () => {
      response.removeListener("drain", done);
      until.removeEventListener("abort", done);
      resolve();
    };
    response.once("drain", done);
    until.addEventListener("abort", done);
  });
}

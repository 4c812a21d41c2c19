// Tells an application over HTTP that its files have changed: POST with {"files": ["/vault/secrets/db"]}, names alone.

import { createTransport } from "#client/transport.ts";
import type { Clock, Millis } from "#common/clock.ts";
import { CofferError } from "#common/errors.ts";

/** Nobody reads the answer; it is only received. */
const ANSWER_BYTES_MAX = 64 * 1024;

/** Throws when there is no answer in time, or one that is not 2xx. */
export async function postChange(
  url: string,
  files: readonly string[],
  { timeoutMillis, clock, signal }: { timeoutMillis: Millis; clock: Clock; signal: AbortSignal },
): Promise<void> {
  const transport = createTransport({ tls: {}, clock });
  try {
    const body = JSON.stringify({ files });
    const headers = { "Content-Type": "application/json", "Content-Length": String(Buffer.byteLength(body)) };
    const request = { method: "POST", url: new URL(url), headers, body, timeoutMillis, signal };
    const { status } = await transport.exchange({ ...request, responseBytesMax: ANSWER_BYTES_MAX });
    if (status < 200 || status >= 300) throw new CofferError("upstream_failed", `the answer has status ${status}`);
  } finally {
    transport.close();
  }
}

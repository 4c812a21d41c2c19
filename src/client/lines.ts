// Lines of text from a path of the API that goes on answering: the server's log. One connection of its own, no retries.
import http from "node:http";
import https from "node:https";
import { createInterface } from "node:readline";
import { parseJson } from "#common/json.ts";
import { ApiError } from "./api-error.ts";
import { errorLines } from "./envelope.ts";
import type { MessagesRequest } from "./messages.ts";
import { classify, TransportError, tlsSettings } from "./transport.ts";

const REFUSAL_CHARACTERS_MAX = 64 * 1024;

/**
 * Connects, and gives lines as they come, without their ends. Ends when the signal aborts or the server ends the answer;
 * throws ApiError when the server refuses, cannot be reached, or cuts the connection.
 */
export async function* openLines(request: Omit<MessagesRequest, "timeoutMillis">): AsyncGenerator<string> {
  const { signal } = request;
  try {
    const response = await respond(request);
    if (response.statusCode !== 200) throw await refusalOf(response, request);
    // Readline does not pass on what ends its input early.
    const cut = Promise.withResolvers<never>();
    cut.promise.catch(() => {});
    response.on("error", cut.reject);
    const lines = createInterface({ input: response, crlfDelay: Number.POSITIVE_INFINITY })[Symbol.asyncIterator]();
    for (;;) {
      const { done, value } = await Promise.race([lines.next(), cut.promise]);
      if (done) break;
      yield value;
    }
    if (!response.complete) throw new TransportError("closed", "the server cut the connection");
  } catch (error) {
    if (signal?.aborted) return;
    if (error instanceof ApiError) throw error;
    const known = classify(error);
    const connection = known instanceof TransportError ? known.failure : "closed";
    const errors = [error instanceof Error ? error.message : String(error)];
    throw new ApiError({ ...placeOf(request), status: 0, errors, connection, cause: error });
  }
}

function respond({ url, headers, tls, signal }: Omit<MessagesRequest, "timeoutMillis">): Promise<http.IncomingMessage> {
  return new Promise((resolve, reject) => {
    const settings = { headers, agent: false, ...(signal && { signal }) };
    const call =
      url.protocol === "https:"
        ? https.request(url, { ...settings, ...tlsSettings(tls) })
        : http.request(url, settings);
    call.on("response", resolve);
    call.on("error", reject);
    call.end();
  });
}

async function refusalOf(
  response: http.IncomingMessage,
  request: Omit<MessagesRequest, "timeoutMillis">,
): Promise<ApiError> {
  let text = "";
  response.setEncoding("utf8");
  for await (const chunk of response) {
    text += String(chunk);
    if (text.length > REFUSAL_CHARACTERS_MAX) break;
  }
  return new ApiError({ ...placeOf(request), status: response.statusCode ?? 0, errors: linesOf(text) });
}

function linesOf(text: string): readonly string[] {
  try {
    return errorLines(parseJson(text));
  } catch {
    return []; // a proxy's page
  }
}

function placeOf({ url, path }: Pick<MessagesRequest, "url" | "path">) {
  return { method: "GET", path, address: url.origin };
}

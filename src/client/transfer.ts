// Bytes without a limit of size or time, in one direction: snapshots. One connection of its own, no retries, no
// redirects; back-pressure goes through.
import http from "node:http";
import https from "node:https";
import { pipeline } from "node:stream/promises";
import { isJsonObject, type JsonObject, parseJson } from "#common/json.ts";
import { ApiError } from "./api-error.ts";
import { errorLines } from "./envelope.ts";
import type { MessagesRequest } from "./messages.ts";
import { classify, TransportError, tlsSettings } from "./transport.ts";

export type TransferRequest = Omit<MessagesRequest, "timeoutMillis">;

const ANSWER_CHARACTERS_MAX = 1024 * 1024;

/** The bytes of a path. Throws ApiError when it is refused, cannot be reached, or is cut before its end. */
export async function* openDownload(request: TransferRequest): AsyncGenerator<Uint8Array> {
  try {
    const response = await answerTo(begin("GET", request));
    if (response.statusCode !== 200) throw await refusalOf("GET", response, request);
    for await (const chunk of response) if (Buffer.isBuffer(chunk)) yield chunk;
    if (!response.complete) throw new TransportError("closed", "the server cut the connection");
  } catch (error) {
    throw failureOf("GET", error, request);
  }
}

/** Sends bytes to a path; gives the answer's data. Throws ApiError as above. */
export async function sendUpload(
  request: TransferRequest,
  bytes: AsyncIterable<Uint8Array>,
): Promise<JsonObject | undefined> {
  const call = begin("POST", request);
  const answer = answerTo(call);
  try {
    // A server that refuses answers before it has read everything, and may cut what is still being sent.
    const sent = pipeline(bytes, call).catch((error: unknown) => error);
    const response = await Promise.race([answer, sent.then((error) => (error ? lateAnswer(answer, error) : answer))]);
    if ((response.statusCode ?? 0) >= 300) throw await refusalOf("POST", response, request);
    const body = parsed(await textOf(response));
    return isJsonObject(body?.["data"]) ? body["data"] : undefined;
  } catch (error) {
    throw failureOf("POST", error, request);
  } finally {
    call.destroy();
  }
}

/** The refusal that made sending fail, if there is one; else why it failed. */
async function lateAnswer(answer: Promise<http.IncomingMessage>, error: unknown): Promise<http.IncomingMessage> {
  return answer.catch(() => {
    throw error;
  });
}

function begin(method: string, { url, headers, tls, signal }: TransferRequest): http.ClientRequest {
  const settings = { method, headers, agent: false, ...(signal && { signal }) };
  return url.protocol === "https:"
    ? https.request(url, { ...settings, ...tlsSettings(tls) })
    : http.request(url, settings).on("error", () => {});
}

function answerTo(call: http.ClientRequest): Promise<http.IncomingMessage> {
  const { promise, resolve, reject } = Promise.withResolvers<http.IncomingMessage>();
  promise.catch(() => {});
  call.on("response", resolve);
  call.on("error", reject);
  if (call.method === "GET") call.end();
  return promise;
}

async function textOf(response: http.IncomingMessage): Promise<string> {
  let text = "";
  response.setEncoding("utf8");
  for await (const chunk of response) {
    text += String(chunk);
    if (text.length > ANSWER_CHARACTERS_MAX) break;
  }
  return text;
}

function parsed(text: string): JsonObject | undefined {
  try {
    const value = parseJson(text);
    return isJsonObject(value) ? value : undefined;
  } catch {
    return undefined; // empty, or a proxy's page
  }
}

async function refusalOf(method: string, response: http.IncomingMessage, request: TransferRequest): Promise<ApiError> {
  const errors = errorLines(parsed(await textOf(response)));
  return new ApiError({ ...placeOf(method, request), status: response.statusCode ?? 0, errors });
}

function failureOf(method: string, error: unknown, request: TransferRequest): ApiError {
  if (error instanceof ApiError) return error;
  const known = classify(error);
  const connection = known instanceof TransportError ? known.failure : "closed";
  const errors = [error instanceof Error ? error.message : String(error)];
  return new ApiError({ ...placeOf(method, request), status: 0, errors, connection, cause: error });
}

function placeOf(method: string, { url, path }: TransferRequest) {
  return { method, path, address: url.origin };
}

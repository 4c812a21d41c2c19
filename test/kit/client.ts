// Requests to a real server for tests of what happens to it, and what a lost connection looks like to them.
import { messageOf } from "#common/errors.ts";
import { isJsonObject, type JsonObject, type JsonValue, parseJson } from "#common/json.ts";

export interface Answer {
  readonly status: number;
  readonly body: JsonObject;
}

/** Sends a request; undefined when the server went away before it answered. */
export function send(...request: Parameters<typeof exchange>): Promise<Answer | undefined> {
  return exchange(...request).catch(() => undefined);
}

/** The same where the server must answer, and with success. */
export async function must(...request: Parameters<typeof exchange>): Promise<JsonObject> {
  const answer = await exchange(...request).catch((error: Error) => {
    throw new Error(`${request[2]} ${request[3]}: ${messageOf(error)}: ${messageOf(error.cause)}`, { cause: error });
  });
  if (answer.status >= 300) throw new Error(`${request[2]} ${request[3]}: ${JSON.stringify(answer)}`);
  return answer.body;
}

/** Sends a request; `token` "" is none. Rejects when the server cannot be reached. */
export async function exchange(
  address: string,
  token: string,
  method: string,
  path: string,
  body?: JsonObject,
): Promise<Answer> {
  const response = await fetch(`${address}/v1/${path}`, {
    method,
    headers: token === "" ? {} : { "X-Vault-Token": token },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  return { status: response.status, body: text === "" ? {} : objectOf(parseJson(text)) };
}

/** A member of nested objects, or undefined. */
export function at(value: JsonValue | undefined, ...path: string[]): JsonValue | undefined {
  return path.reduce((inner, name) => (isJsonObject(inner) ? inner[name] : undefined), value);
}

function objectOf(value: JsonValue): JsonObject {
  return isJsonObject(value) ? value : {};
}

// The agent's token is used for the pod and not shown to it: taken out of what the server says of it.
import { isJsonObject, type JsonObject, parseJson } from "#common/json.ts";
import type { ProxyAnswer } from "./exchange.ts";

const SELF = new Set(["auth/token/lookup-self", "auth/token/renew-self"]);

/** An answer to a request that the agent sent with its own token. */
export function hideToken(path: string, answer: ProxyAnswer): ProxyAnswer {
  if (!SELF.has(path.replace(/\/+$/, "")) || answer.status !== 200 || answer.rest !== undefined) return answer;
  const document = parseJson(answer.body.toString("utf8"));
  if (!isJsonObject(document)) return answer;
  const body = Buffer.from(
    JSON.stringify({ ...document, ...without(document, "data", "id"), ...without(document, "auth", "client_token") }),
  );
  return { ...answer, body };
}

function without(document: JsonObject, member: string, name: string): JsonObject {
  const value = document[member];
  if (!isJsonObject(value)) return {};
  const { [name]: _hidden, ...rest } = value;
  return { [member]: rest };
}

// The table's shape: what clients rely on, by number and sentence, each with what shows it; and a client that hides
// nothing of an answer.
import { expect } from "vitest";
import { isJsonObject, type JsonObject, type JsonValue, parseJson } from "#common/json.ts";

/** One thing that clients rely on. A number may stand several times, with a part each. */
export interface Item {
  readonly number: number;
  readonly says: string;
  shows(api: Api): Promise<void>;
  /** It seals the server for a moment, so it comes last. */
  readonly comesLast?: boolean;
}

export interface Answer {
  readonly status: number;
  readonly text: string;
  /** Undefined for no body and for one that is no JSON object. */
  readonly body: JsonObject | undefined;
  readonly headers: Headers;
}

export interface AskOptions {
  readonly body?: JsonValue;
  /** The body as it stands. */
  readonly raw?: string;
  /** Undefined: the root token. Null: none. */
  readonly token?: string | null;
  readonly headers?: Readonly<Record<string, string>>;
}

export class Api {
  readonly address: string;
  readonly rootToken: string;
  readonly unsealKey: string;
  constructor(server: { readonly address: string; readonly rootToken: string; readonly unsealKey: string }) {
    this.address = server.address;
    this.rootToken = server.rootToken;
    this.unsealKey = server.unsealKey;
  }

  /** `call` is "METHOD path" below /v1/. */
  async ask(call: string, options: AskOptions = {}): Promise<Answer> {
    const [method = "", ...path] = call.split(" ");
    const headers = new Headers();
    if (options.token !== null) headers.set("X-Vault-Token", options.token ?? this.rootToken);
    if (method === "PATCH") headers.set("Content-Type", "application/merge-patch+json");
    for (const [name, value] of Object.entries(options.headers ?? {})) headers.set(name, value);
    const body = options.raw ?? (options.body === undefined ? undefined : JSON.stringify(options.body));
    const response = await fetch(`${this.address}/v1/${path.join(" ")}`, {
      method,
      headers,
      redirect: "manual",
      ...(body !== undefined && { body }),
    });
    const text = await response.text();
    return { status: response.status, text, body: objectOf(text), headers: response.headers };
  }

  /** The same, for what must succeed. */
  async must(call: string, options: AskOptions = {}): Promise<Answer> {
    const answer = await this.ask(call, options);
    if (answer.status >= 300) throw new Error(`${call}: ${answer.status} ${answer.text}`);
    return answer;
  }

  async expectError(
    status: number,
    message: string | undefined,
    call: string,
    options: AskOptions = {},
  ): Promise<void> {
    const { status: got, body } = await this.ask(call, options);
    expect({ status: got, ...body }).toEqual({ status, errors: message === undefined ? [] : [message] });
  }

  /** Writes a policy and gives a token that has it. */
  async tokenWith(policy: string, parameters: JsonObject = {}): Promise<string> {
    const name = `p${Math.trunc(performance.now() * 1000)}`;
    await this.must(`PUT sys/policies/acl/${name}`, { body: { policy } });
    return this.newToken({ policies: [name], ...parameters });
  }

  async newToken(parameters: JsonObject): Promise<string> {
    const { body } = await this.must("POST auth/token/create", { body: { ttl: "1h", ...parameters } });
    return textAt(body, "auth", "client_token");
  }
}

function objectOf(text: string): JsonObject | undefined {
  try {
    const value = parseJson(text);
    return isJsonObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

export function at(body: JsonObject | undefined, ...names: readonly string[]): JsonValue | undefined {
  let value: JsonValue | undefined = body;
  for (const name of names) value = isJsonObject(value) ? value[name] : undefined;
  return value;
}

export function textAt(body: JsonObject | undefined, ...names: readonly string[]): string {
  const value = at(body, ...names);
  if (typeof value !== "string") throw new Error(`no text at ${names.join(".")}: ${JSON.stringify(body)}`);
  return value;
}

/** Go's form of several errors, as some refusals have it. */
export function multi(message: string): string {
  return `1 error occurred:\n\t* ${message}\n\n`;
}

export const DENIED = multi("permission denied");

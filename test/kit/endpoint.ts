// A node as a client that must know what became of its request sees it.
import type { JsonObject } from "#common/json.ts";
import type { Answer } from "./client.ts";

export type Method = "GET" | "POST" | "DELETE";

export interface Endpoint {
  readonly name: string;
  /** "refused": it certainly did not arrive. "lost": nobody knows. */
  send(method: Method, path: string, body?: JsonObject): Promise<Answer | "refused" | "lost">;
}

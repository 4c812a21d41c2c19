// What the OIDC paths are given by the composition root.
import { isJsonArray, isJsonObject, type JsonObject, type JsonValue } from "#common/json.ts";
import type { TokenService } from "../../tokens/token-service.ts";

export interface OidcServices {
  readonly tokens: Pick<TokenService, "find">;
  /** Scheme, host and port at which clients reach the server: the issuer of its tokens, unless configured otherwise. */
  readonly apiAddress: string;
}

/** The address of a server's configuration: `api_addr`, else that of its first listener. */
export function apiAddressOf(configuration: JsonObject): string {
  const configured = configuration["api_addr"];
  if (typeof configured === "string" && configured !== "") return configured.replace(/\/+$/, "");
  const { listeners } = configuration;
  const first = isJsonArray(listeners) ? member(listeners[0], "config") : undefined;
  const address = member(first, "address");
  if (typeof address !== "string") return "http://127.0.0.1:8200";
  const reachable = address.replace(/^(0\.0\.0\.0|::|\[::\])(?=:\d+$)/, "127.0.0.1");
  return `${member(first, "tls_disable") === false ? "https" : "http"}://${reachable}`;
}

function member(value: JsonValue | undefined, name: string): JsonValue | undefined {
  return isJsonObject(value) ? value[name] : undefined;
}

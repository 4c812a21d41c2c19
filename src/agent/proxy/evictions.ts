// Which requests end cached tokens and leases: the paths of the API that revoke. Pure. Paths as the API documents them
// (auth/token/revoke*, sys/leases/revoke*, and sys/revoke*, their older names).
import { isJsonObject, type JsonObject, parseJson } from "#common/json.ts";

export type Eviction =
  | { readonly kind: "token"; readonly token: string; readonly keepsChildren?: true }
  | { readonly kind: "accessor"; readonly accessor: string }
  | { readonly kind: "lease"; readonly leaseId: string }
  /** Leases, and the tokens of logins below it. */
  | { readonly kind: "prefix"; readonly prefix: string };

const LEASES = /^sys\/(?:leases\/)?revoke(-prefix|-force)?(?:\/(.*))?$/;

/** What a request ends, should the server agree; undefined for all others. `token` is the one that it is sent with. */
export function evictionOf(
  method: string,
  path: string,
  body: Buffer,
  token: string | undefined,
): Eviction | undefined {
  if (method !== "PUT" && method !== "POST") return undefined;
  if (path === "auth/token/revoke-self") return token === undefined ? undefined : { kind: "token", token };
  const below = path.startsWith("auth/token/revoke") ? path.slice("auth/token/revoke".length) : undefined;
  if (below !== undefined) return tokenEviction(below, membersOf(body));
  const found = LEASES.exec(path);
  return found === null ? undefined : leaseEviction(found[1], found[2], membersOf(body));
}

function tokenEviction(below: string, members: JsonObject): Eviction | undefined {
  const [verb, given] = below.split("/", 2);
  const text = (name: string) => given ?? textOf(members[name]);
  if (verb === "-accessor") return whole(text("accessor"), (accessor) => ({ kind: "accessor", accessor }));
  if (verb === "-orphan") return whole(text("token"), (token) => ({ kind: "token", token, keepsChildren: true }));
  return verb === "" ? whole(text("token"), (token) => ({ kind: "token", token })) : undefined;
}

function leaseEviction(
  suffix: string | undefined,
  rest: string | undefined,
  members: JsonObject,
): Eviction | undefined {
  if (suffix !== undefined) return whole(rest ?? textOf(members["prefix"]), (prefix) => ({ kind: "prefix", prefix }));
  return whole(rest ?? textOf(members["lease_id"]), (leaseId) => ({ kind: "lease", leaseId }));
}

function whole(text: string, make: (text: string) => Eviction): Eviction | undefined {
  return text === "" ? undefined : make(text);
}

function textOf(value: unknown): string {
  return typeof value === "string" ? value : "";
}

/** What is no JSON object is refused by the server. */
function membersOf(body: Buffer): JsonObject {
  try {
    const value = body.length === 0 ? undefined : parseJson(body.toString("utf8"));
    return isJsonObject(value) ? value : {};
  } catch {
    return {};
  }
}

// Connection strings of libpq, both forms: a URI with any number of hosts ("postgres://u:p@a:1,b:2/db?sslmode=require")
// and keywords ("host=a,b port=1,2 dbname=db"). Gives keywords and values; must not know what they mean. Specified in
// "Connection Strings" of PostgreSQL's manual.
import { CofferError } from "#common/errors.ts";

const URI = /^postgres(?:ql)?:\/\/(?:([^@/?#]*)@)?([^/?#]*)(?:\/([^?#]*))?(?:\?([^#]*))?$/;
/** keyword = value; a value with spaces stands in single quotes, a backslash escapes. */
const KEYWORD = /\s*([a-z_]+)\s*=\s*(?:'((?:[^'\\]|\\.)*)'|((?:[^\s'\\]|\\.)*))(?:\s+|$)/y;

/** The keywords of a connection string. Throws `invalid_request` without repeating it: it may hold a password. */
export function parseDsn(text: string): ReadonlyMap<string, string> {
  return /^postgres(ql)?:/.test(text) ? parseUri(text) : parseKeywords(text);
}

function parseUri(text: string): ReadonlyMap<string, string> {
  const match = URI.exec(text);
  if (match === null) throw malformed("it is no URI such as postgres://user@host:5432/database");
  const [, credentials, authority = "", database = "", query = ""] = match;
  const found = new Map<string, string>();
  const set = (name: string, value: string) => value !== "" && found.set(name, decoded(value));
  const colon = credentials?.indexOf(":") ?? -1;
  set("user", colon < 0 ? (credentials ?? "") : (credentials ?? "").slice(0, colon));
  set("password", colon < 0 ? "" : (credentials ?? "").slice(colon + 1));
  const hosts = authority.split(",").map(splitHost);
  set("host", hosts.map(({ host }) => host).join(","));
  if (hosts.some(({ port }) => port !== "")) set("port", hosts.map(({ port }) => port).join(","));
  set("dbname", database);
  for (const pair of query.split("&").filter((part) => part !== "")) {
    const [name = "", value = ""] = pair.split("=", 2);
    set(decoded(name), value);
  }
  return found;
}

function splitHost(part: string): { host: string; port: string } {
  const match = /^(\[[^\]]*\]|[^:]*)(?::(\d*))?$/.exec(part);
  if (match === null) throw malformed("a host is written host:port");
  return { host: (match[1] ?? "").replace(/^\[(.*)\]$/, "$1"), port: match[2] ?? "" };
}

function parseKeywords(text: string): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  const trimmed = text.trim();
  KEYWORD.lastIndex = 0;
  for (let at = 0; at < trimmed.length; at = KEYWORD.lastIndex) {
    const match = KEYWORD.exec(trimmed);
    if (match === null) throw malformed("it is neither a URI nor a list of keyword=value");
    const [, name = "", quotedValue, plain = ""] = match;
    found.set(name, (quotedValue ?? plain).replace(/\\(.)/g, "$1"));
  }
  return found;
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw malformed("a % is not followed by two hexadecimal digits");
  }
}

function malformed(reason: string): CofferError {
  return new CofferError("invalid_request", `storage.connection_url cannot be read: ${reason}`);
}

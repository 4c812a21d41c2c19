// The API as its own OpenAPI document describes it, against the paths of another server (test/wire/paths.json, a copy of
// what was recorded). What is missing on purpose is in path-exclusions.ts, with the reason; an exclusion that is no
// longer needed fails.
import { readFile } from "node:fs/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { isJsonObject, type JsonObject, parseJson } from "#common/json.ts";
import { type ShamirServer, startShamirServer } from "#test/kit/server.ts";
import { missingFrom } from "./api-comparison.ts";
import { PATH_EXCLUSIONS } from "./path-exclusions.ts";

/** Where there is one mount of each and its path is its name. */
const IN_SCOPE = /^\/(sys|identity|cubbyhole|secret|kv1|auth\/(token|approle|userpass|kubernetes))\b/;
const AUTH_METHODS = ["approle", "userpass", "kubernetes"];

let server: ShamirServer;
let missing: readonly string[];

async function call(method: string, path: string, body?: JsonObject): Promise<JsonObject> {
  const response = await fetch(`${server.address}/v1/${path}`, {
    method,
    headers: { "X-Vault-Token": server.rootToken },
    ...(body && { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`${path}: ${response.status} ${text}`);
  const parsed = text === "" ? {} : parseJson(text);
  return isJsonObject(parsed) ? parsed : {};
}

beforeAll(async () => {
  server = await startShamirServer({
    raw_storage_endpoint: true,
    introspection_endpoint: true,
    listener: {
      tcp: {
        ...{ address: "127.0.0.1:0", tls_disable: true },
        ...{ disable_unauthed_rekey_endpoints: false, disable_unauthed_generate_root_endpoints: false },
      },
    },
  });
  for (const type of AUTH_METHODS) await call("POST", `sys/auth/${type}`, { type });
  await call("POST", "sys/mounts/secret", { type: "kv", options: { version: "2" } });
  await call("POST", "sys/mounts/kv1", { type: "kv" });
  const recorded = parseJson(await readFile(new URL("paths.json", import.meta.url), "utf8"));
  if (!isJsonObject(recorded)) throw new Error("paths.json is no object");
  const document = await call("GET", "sys/internal/specs/openapi");
  missing = missingFrom(document, recorded, (path) => IN_SCOPE.test(path));
});
afterAll(() => server?.stop());

describe("the paths of peers", () => {
  it("are all there, but for those with a reason", () => {
    const excluded = (line: string) => PATH_EXCLUSIONS.some(({ lines }) => lines.test(line));
    expect(missing.filter((line) => !excluded(line))).toEqual([]);
  });

  it.each(PATH_EXCLUSIONS.map((exclusion) => [exclusion.reason, exclusion] as const))(
    "still lack what they do: %s",
    (_reason, { lines }) => {
      expect(missing.some((line) => lines.test(line))).toBe(true);
    },
  );
});

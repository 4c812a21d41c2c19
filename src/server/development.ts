// The development server: `coffer server -dev`. Unsealed by a key that lies beside its data, so that nothing has to be
// typed; never for secrets that matter.
import { randomBytes } from "node:crypto";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { CofferError } from "#common/errors.ts";
import type { JsonObject } from "#common/json.ts";
import type { ServerConfig } from "./config/server-config.ts";
import { parseServerConfig } from "./config/server-config.ts";
import type { ServerFlags } from "./flags.ts";

export interface Development {
  readonly config: ServerConfig;
  readonly rootToken: string;
}

/** The configuration of a development server as a file would say it, and its root token. */
export async function developmentSetup(flags: ServerFlags): Promise<Development> {
  const inMemory = flags.devStorage === "";
  if (!inMemory) await mkdir(flags.devStorage, { recursive: true, mode: 0o700 });
  const kept = async (name: string, make: () => string) =>
    inMemory ? make() : keep(join(flags.devStorage, name), make);
  const sealKey = await kept("development-seal-key", () => randomBytes(32).toString("base64"));
  const rootToken =
    flags.devRootToken || (await kept("development-root-token", () => `hvs.${randomBytes(18).toString("base64url")}`));
  const { host, port } = splitAddress(flags.devListenAddress);
  const document = {
    storage: inMemory ? { memory: {} } : { lmdb: { path: join(flags.devStorage, "data") } },
    listener: { tcp: { address: `${host}:${port}`, tls_disable: true } },
    seal: { static: { current_key: sealKey, current_key_id: "development" } },
    bootstrap: { request: { secret: { operation: "update", path: "sys/mounts/secret", data: KV2 } } },
    log_level: flags.logLevel ?? "info",
    log_format: "standard",
  };
  return { config: parseServerConfig([{ name: "-dev", text: JSON.stringify(document) }]), rootToken };
}

const KV2: JsonObject = { type: "kv", options: { version: "2" }, description: "key/value secret storage" };

function splitAddress(text: string): { host: string; port: string } {
  const match = /^(.+):(\d{1,5})$/.exec(text);
  if (!match?.[1] || !match[2])
    throw new CofferError("invalid_request", `-dev-listen-address must be HOST:PORT, not ${text}`);
  return { host: match[1], port: match[2] };
}

async function keep(file: string, make: () => string): Promise<string> {
  try {
    return (await readFile(file, "utf8")).trim();
  } catch {
    const text = make();
    await writeFile(file, `${text}\n`, { mode: 0o600 });
    return text;
  }
}

/** What a person sees who starts one. */
export function developmentBanner(address: string, rootToken: string, storage: string): string {
  return `
Coffer runs in development mode: unsealed, without TLS, data ${storage === "" ? "in memory only" : `in ${storage}`}.
Do not keep secrets in it that matter.

    export VAULT_ADDR='${address}'
    export VAULT_TOKEN='${rootToken}'

Try it:

    curl -H "X-Vault-Token: $VAULT_TOKEN" -d '{"data":{"password":"swordfish"}}' $VAULT_ADDR/v1/secret/data/hello
    bin/coffer kv get secret/hello

`;
}

// The seal whose key is in the transit engine of another server that speaks Vault's API. The stored ciphertext is
// transit's own text ("vault:v1:…") in base64; the key id has the version of the key, so that a rotation is noticed.
// Cluster and purpose are bound as associated data, and as the context that derived keys want.
import { type ApiClient, createApiClient } from "#client/api-client.ts";
import { ApiError } from "#client/api-error.ts";
import type { Clock } from "#common/clock.ts";
import { CofferError, messageOf } from "#common/errors.ts";
import { SecretBytes } from "#common/secret-bytes.ts";
import { probeByNonce } from "../probe-by-nonce.ts";
import { type AutoSeal, SealError, type SealFault, type WrappedKey } from "../seal.ts";
import type { SealType } from "../seal-types.ts";
import { parseTransitConfig, type TransitConfig } from "./config.ts";

const CIPHERTEXT = /^[a-z]+:v(\d{1,9}):[A-Za-z0-9+/=]+$/;

export const transitSealType: SealType = {
  type: "transit",
  parse: async (config, dependencies) =>
    createTransitSeal(await parseTransitConfig(config, dependencies), dependencies),
};

/** A seal over another server's transit engine. Nothing is contacted before the first call. */
export function createTransitSeal(config: TransitConfig, { clock }: { clock: Clock }): AutoSeal {
  const { address, namespace, timeoutMillis, tls } = config;
  const client = createApiClient({ address, namespace, timeoutMillis, clock, retries: 1, ...tls });
  const call = (operation: Operation, body: Readonly<Record<string, string>>, purpose: string, signal?: AbortSignal) =>
    callTransit({ client, config, signal }, operation, { ...body, ...boundTo(config, purpose) });
  const wrap = async (key: SecretBytes, purpose: string, signal?: AbortSignal): Promise<WrappedKey> => {
    const text = await call("encrypt", { plaintext: key.expose().toString("base64") }, purpose, signal);
    const version = CIPHERTEXT.exec(text)?.[1];
    if (version === undefined) throw unexpected(config, "a ciphertext of an unknown form");
    const keyId = `${config.mount}/${config.keyName}:v${version}`;
    return { seal: config.name, keyId, ciphertext: Buffer.from(text).toString("base64") };
  };
  const unwrap = async (wrapped: WrappedKey, purpose: string, signal?: AbortSignal): Promise<SecretBytes> => {
    const ciphertext = Buffer.from(wrapped.ciphertext, "base64").toString("utf8");
    return new SecretBytes(Buffer.from(await call("decrypt", { ciphertext }, purpose, signal), "base64"));
  };
  return {
    ...{ kind: "auto", type: "transit", name: config.name, wrap, unwrap },
    probe: async (signal) => {
      const found = await probeByNonce({ name: config.name, wrap, unwrap }, { clock, keeper: address, signal });
      if (config.renews) await renew(client, config, signal);
      return found;
    },
    close: async () => client[Symbol.dispose](),
  };
}

type Operation = "encrypt" | "decrypt";

function boundTo({ clusterName }: TransitConfig, purpose: string) {
  const binding = Buffer.from(`coffer ${clusterName} ${purpose}`).toString("base64");
  return { context: binding, associated_data: binding };
}

interface Asked {
  readonly client: ApiClient;
  readonly config: TransitConfig;
  readonly signal: AbortSignal | undefined;
}

async function callTransit(
  { client, config, signal }: Asked,
  operation: Operation,
  body: Readonly<Record<string, string>>,
): Promise<string> {
  const path = `${config.mount}/${operation}/${config.keyName}`;
  try {
    const { data } = await client.write(path, body, { token: await config.token(), signal });
    const found = data?.[operation === "encrypt" ? "ciphertext" : "plaintext"];
    if (typeof found === "string") return found;
  } catch (error) {
    throw faultOf(error, config, operation);
  }
  throw unexpected(config, `no ${operation}ed text`);
}

/** A token that cannot be renewed says so by itself when it is over; until then it works. */
async function renew(client: ApiClient, config: TransitConfig, signal: AbortSignal | undefined): Promise<void> {
  await client.write("auth/token/renew-self", {}, { token: await config.token(), signal }).catch(() => undefined);
}

function faultOf(error: unknown, config: TransitConfig, operation: Operation): Error {
  const fault = (kind: SealFault, what: string, transient: boolean) =>
    new SealError(kind, `seal ${config.name}: ${what}`, { transient, cause: error });
  if (error instanceof CofferError && error.code === "invalid_request")
    return fault("CredentialsInvalid", messageOf(error), false);
  if (!(error instanceof ApiError)) return error instanceof Error ? error : new Error(String(error));
  const key = `${config.mount}/${operation}/${config.keyName} at ${config.address}`;
  switch (error.status) {
    case 0:
      return fault("Unreachable", `${config.address} cannot be reached: ${messageOf(error)}`, true);
    case 400:
      return operation === "decrypt"
        ? fault(
            "InvalidCiphertext",
            "the transit key does not open the stored key: it is another key, or another cluster's",
            false,
          )
        : fault("Misconfigured", `${key} refuses: ${messageOf(error)}`, false);
    case 401:
    case 403:
      return fault("AccessDenied", `the token may not use ${key}: renew it, or allow update on that path`, false);
    case 404:
      return fault("KeyNotFound", `there is nothing at ${key}: check mount_path, key_name and namespace`, false);
    case 429:
      return fault("Throttled", `${config.address} limits requests`, true);
    default:
      return fault("Unreachable", `${config.address} answers ${error.status}: ${messageOf(error)}`, true);
  }
}

function unexpected({ name, address }: TransitConfig, what: string): SealError {
  return new SealError("Failed", `seal ${name}: ${address} gave ${what}`, { transient: false });
}

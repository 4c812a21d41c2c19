// What an auto-auth method is: a type, the settings of its `config` block, and how it logs in. A method proves who this
// machine or pod is; it keeps no token. Settings are those of Vault's agent
// (https://developer.hashicorp.com/vault/docs/agent-and-proxy/autoauth).
import { readFile } from "node:fs/promises";
import type { ApiClient } from "#client/api-client.ts";
import type { Envelope } from "#client/envelope.ts";
import type { TlsOptions } from "#client/transport.ts";
import type { Clock } from "#common/clock.ts";
import { CofferError, messageOf } from "#common/errors.ts";
import { type ConfigFields, type ConfigValues, readFields } from "#common/hcl/config-fields.ts";
import type { HclObject } from "#common/hcl/syntax-tree.ts";
import type { JsonObject } from "#common/json.ts";

/** One attempt to log in. Throws ApiError when the server refuses, `unavailable` when what proves it is not there. */
export type Login = (signal: AbortSignal) => Promise<Envelope>;

/** What a method works with. */
export interface LoginPlace {
  /** Without a token, in the namespace of the mount. */
  readonly client: ApiClient;
  /** Of the method, without slashes at its ends: "auth/approle". */
  readonly mountPath: string;
  /** The answer is to be wrapped, for so many seconds. */
  readonly wrapTtlSeconds?: number | undefined;
  /** A client for the same server with other certificates. */
  readonly openClient: (tls: TlsOptions) => ApiClient;
  readonly clock: Clock;
  readonly env: Readonly<Record<string, string | undefined>>;
}

export interface AuthMethod {
  readonly type: string;
  readonly doc: string;
  readonly fields: ConfigFields;
  /** Reads the `config` block; what it gives makes the login. Throws `invalid_request` with the position. */
  read(config: HclObject, context: { where: string; warnings: string[] }): (place: LoginPlace) => Login;
}

/** Files of credentials are small; more is another file. */
const CREDENTIAL_BYTES_MAX = 64 * 1024;

/** A method, with its settings typed. */
export function defineAuthMethod<const F extends ConfigFields>(definition: {
  readonly type: string;
  readonly doc: string;
  readonly fields: F;
  /** Says what is missing or does not go together; undefined when all is well. */
  readonly check: (values: ConfigValues<F>) => string | undefined;
  readonly create: (values: ConfigValues<F>, place: LoginPlace) => Login;
}): AuthMethod {
  const { type, doc, fields, check, create } = definition;
  return {
    ...{ type, doc, fields },
    read(config, context) {
      const values = readFields(config, fields, context);
      const problem = check(values);
      if (problem !== undefined) throw new CofferError("invalid_request", `${context.where}: ${problem}`);
      return (place) => create(values, place);
    },
  };
}

/** Sends a proof to the method's login path. */
export function sendLogin(place: LoginPlace, body: JsonObject, signal: AbortSignal): Promise<Envelope> {
  const wrapTtl = place.wrapTtlSeconds === undefined ? undefined : `${place.wrapTtlSeconds}s`;
  return place.client.write(`${place.mountPath}/login`, body, { token: "", signal, wrapTtl });
}

/** The text of a file of credentials, trimmed. Throws `unavailable` naming it. */
export async function readCredential(what: string, file: string): Promise<string> {
  try {
    const bytes = await readFile(file);
    if (bytes.length > CREDENTIAL_BYTES_MAX) throw new Error(`${file} has more than ${CREDENTIAL_BYTES_MAX} bytes`);
    return bytes.toString("utf8").trim();
  } catch (cause) {
    throw new CofferError("unavailable", `cannot read ${what}: ${messageOf(cause)}`, { cause });
  }
}

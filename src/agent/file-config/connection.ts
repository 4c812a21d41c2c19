// How the agent reaches its server: variables of the environment go before the file, as with Vault's agent.
import { readdirSync, readFileSync } from "node:fs";
import { resolve } from "node:path";
import { type ApiClient, type ApiClientOptions, createApiClient } from "#client/api-client.ts";
import type { TlsOptions } from "#client/transport.ts";
import { CofferError, messageOf } from "#common/errors.ts";
import type { ProgramIo } from "#common/program.ts";
import type { AgentFile } from "./agent-file.ts";

const ADDRESS_DEFAULT = "https://127.0.0.1:8200";
/** Read in this order, as by the CLI. */
const FAMILIES = ["COFFER", "VAULT", "BAO"];
const TIMEOUT_MILLIS = 60_000;
/** As in pods: secrets are small, and a mistake must not cost the machine its memory. */
const RESPONSE_BYTES_MAX = 8 * 1024 * 1024;

export interface Connection {
  readonly address: string;
  readonly namespace: string | undefined;
  readonly tls: TlsOptions;
  open(change?: Partial<ApiClientOptions>): ApiClient;
}

/** Throws `invalid_request` or `unavailable` naming the file of a certificate that cannot be read. */
export function connectionOf({ vault, retries }: AgentFile, io: Pick<ProgramIo, "env" | "cwd" | "clock">): Connection {
  const variable = (name: string) => FAMILIES.map((family) => io.env[`${family}_${name}`]).find((value) => value);
  const path = (value: string | undefined) => (value === undefined ? undefined : resolve(io.cwd, value));
  const caFile = path(variable("CACERT") ?? vault.ca_cert);
  const caDirectory = path(variable("CAPATH") ?? vault.ca_path);
  const certificate = path(variable("CLIENT_CERT") ?? vault.client_cert);
  const key = path(variable("CLIENT_KEY") ?? vault.client_key);
  if ((certificate === undefined) !== (key === undefined))
    throw new CofferError("invalid_request", "a client certificate and its key go together; give both or none");
  const skip = variable("SKIP_VERIFY");
  const tls: TlsOptions = {
    ca: () => authorities(caFile, caDirectory),
    clientCertificate:
      certificate === undefined || key === undefined ? undefined : { cert: readPem(certificate), key: readPem(key) },
    serverName: variable("TLS_SERVER_NAME") ?? vault.tls_server_name,
    skipVerify: skip === undefined ? vault.tls_skip_verify : /^(1|t|true)$/i.test(skip),
  };
  const address = variable("ADDR") ?? vault.address ?? ADDRESS_DEFAULT;
  const namespace = variable("NAMESPACE") ?? vault.namespace;
  return {
    ...{ address, namespace, tls },
    open: (change = {}) =>
      createApiClient({
        ...tls,
        ...{ address, namespace, retries, timeoutMillis: TIMEOUT_MILLIS, responseBytesMax: RESPONSE_BYTES_MAX },
        ...{ userAgent: "coffer-agent", clock: io.clock },
        ...change,
      }),
  };
}

/** Of a file, else of all files of a directory; undefined for those of the system. */
function authorities(file: string | undefined, directory: string | undefined): Buffer | undefined {
  if (file !== undefined) return readPem(file);
  if (directory === undefined) return undefined;
  const names = readdirSync(directory, { withFileTypes: true }).filter((entry) => !entry.isDirectory());
  return Buffer.concat(names.flatMap(({ name }) => [readPem(resolve(directory, name)), Buffer.from("\n")]));
}

function readPem(file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (cause) {
    throw new CofferError("unavailable", `cannot read a certificate or key: ${messageOf(cause)}`, { cause });
  }
}

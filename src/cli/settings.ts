// Where a command's connection comes from: flags, then COFFER_*, VAULT_* and BAO_* variables, then the token file that
// `login` writes (~/.vault-token, shared with Vault's own CLI). It makes the client.
import { chmod, readFile, rename, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { type ApiClient, createApiClient } from "#client/api-client.ts";
import { CofferError, messageOf } from "#common/errors.ts";
import type { CliIo } from "./cli-io.ts";
import type { FlagValues } from "./flags.ts";

/** Flags of every command that talks to a server. */
export const connectionFlags = {
  address: { kind: "text", help: "Address of the server (VAULT_ADDR)." },
  token: { kind: "text", help: "Token, instead of VAULT_TOKEN or the one that login stored." },
  namespace: { kind: "text", help: "Namespace of the path (VAULT_NAMESPACE)." },
  ns: { kind: "text", help: "Short for -namespace." },
  "ca-cert": { kind: "text", help: "PEM file with the CA of the server's certificate (VAULT_CACERT)." },
  "client-cert": { kind: "text", help: "PEM file with a client certificate (VAULT_CLIENT_CERT)." },
  "client-key": { kind: "text", help: "PEM file with its key (VAULT_CLIENT_KEY)." },
  "tls-server-name": { kind: "text", help: "Name that the certificate must have (VAULT_TLS_SERVER_NAME)." },
  "tls-skip-verify": { kind: "switch", help: "Accept any certificate (VAULT_SKIP_VERIFY)." },
} as const;
export type ConnectionFlags = FlagValues<typeof connectionFlags>;

/** Read in this order; the first that is set wins. */
const FAMILIES = ["COFFER", "VAULT", "BAO"] as const;
const ADDRESS_DEFAULT = "https://127.0.0.1:8200";
const TOKEN_FILE = ".vault-token";

/** A variable of the three families; the empty text counts as not set. */
export function variable(io: Pick<CliIo, "env">, name: string): string | undefined {
  for (const family of FAMILIES) {
    const value = io.env[`${family}_${name}`];
    if (value !== undefined && value !== "") return value;
  }
  return undefined;
}

/** The address a command will use. */
export function addressOf(flags: Pick<ConnectionFlags, "address">, io: CliIo): string {
  return flags.address ?? variable(io, "ADDR") ?? ADDRESS_DEFAULT;
}

/** A client as flags, variables and the token file say. Throws when a named file cannot be read. */
export async function connect(flags: ConnectionFlags, io: CliIo): Promise<ApiClient> {
  const file = (flag: string | undefined, name: string) => readNamed(flag ?? variable(io, name), io);
  const [ca, cert, key] = await Promise.all([
    file(flags["ca-cert"], "CACERT"),
    file(flags["client-cert"], "CLIENT_CERT"),
    file(flags["client-key"], "CLIENT_KEY"),
  ]);
  if ((cert === undefined) !== (key === undefined)) {
    throw new CofferError("invalid_request", "a client certificate and its key go together; give both or none");
  }
  return createApiClient({
    address: addressOf(flags, io),
    token: await tokenOf(flags, io),
    namespace: flags.namespace ?? flags.ns ?? variable(io, "NAMESPACE"),
    ca,
    clientCertificate: cert === undefined || key === undefined ? undefined : { cert, key },
    serverName: flags["tls-server-name"] ?? variable(io, "TLS_SERVER_NAME"),
    skipVerify: flags["tls-skip-verify"] || /^(1|t|true)$/i.test(variable(io, "SKIP_VERIFY") ?? ""),
    userAgent: "coffer-cli",
    signal: io.signal,
    clock: io.clock,
  });
}

/** The token a command will use, if there is one. */
export async function tokenOf(flags: Pick<ConnectionFlags, "token">, io: CliIo): Promise<string | undefined> {
  return flags.token ?? variable(io, "TOKEN") ?? (await readTokenFile(io));
}

/** Stores a token for later commands, readable by its owner only. */
export async function writeTokenFile(io: CliIo, token: string): Promise<void> {
  const path = tokenFile(io);
  if (path === undefined) throw new CofferError("invalid_request", "HOME is not set, so the token cannot be stored");
  const temporary = `${path}.tmp`;
  await writeFile(temporary, token, { mode: 0o600 });
  await chmod(temporary, 0o600);
  await rename(temporary, path);
}

async function readTokenFile(io: CliIo): Promise<string | undefined> {
  const path = tokenFile(io);
  if (path === undefined) return undefined;
  try {
    return (await readFile(path, "utf8")).trim();
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw new CofferError("invalid_request", `cannot read the token file: ${messageOf(error)}`, { cause: error });
  }
}

function tokenFile(io: CliIo): string | undefined {
  const home = io.env["HOME"];
  return home === undefined || home === "" ? undefined : join(home, TOKEN_FILE);
}

async function readNamed(name: string | undefined, io: CliIo): Promise<Buffer | undefined> {
  if (name === undefined) return undefined;
  try {
    return await readFile(resolve(io.cwd, name));
  } catch (cause) {
    throw new CofferError("invalid_request", messageOf(cause), { cause });
  }
}

// The stanza of the transit seal, with Vault's names of settings. The token may be in a file, which is read for each call,
// so that whoever renews it needs no restart.
import { CofferError, messageOf } from "#common/errors.ts";
import type { JsonObject } from "#common/json.ts";
import { boolean, type Infer, object, optional, string } from "#common/schema.ts";
import type { SealDependencies } from "../seal-types.ts";
import { assertKnownMembers, durationMillis, sealName } from "../stanza.ts";

const stanza = object({
  address: optional(string),
  token: optional(string),
  token_file: optional(string),
  key_name: string,
  mount_path: optional(string),
  namespace: optional(string),
  tls_ca_cert: optional(string),
  tls_client_cert: optional(string),
  tls_client_key: optional(string),
  tls_server_name: optional(string),
  tls_skip_verify: optional(boolean),
  disable_renewal: optional(boolean),
});
type Given = Infer<typeof stanza>;
const MEMBERS = [
  ...["address", "token", "token_file", "key_name", "mount_path", "namespace", "timeout", "disable_renewal"],
  ...["tls_ca_cert", "tls_client_cert", "tls_client_key", "tls_server_name", "tls_skip_verify"],
];
const TIMEOUT_DEFAULT = "10s";

export interface TransitTls {
  /** PEM. */
  readonly ca: string | undefined;
  readonly clientCertificate: { readonly cert: string; readonly key: string } | undefined;
  readonly serverName: string | undefined;
  readonly skipVerify: boolean;
}

export interface TransitConfig {
  readonly name: string;
  readonly clusterName: string;
  readonly address: string;
  readonly keyName: string;
  /** Without slashes around. */
  readonly mount: string;
  readonly namespace: string | undefined;
  readonly timeoutMillis: number;
  readonly renews: boolean;
  readonly tls: TransitTls;
  /** The token as it is now. Throws when its file cannot be read. */
  token(): Promise<string>;
}

/** Throws `invalid_request` naming the setting. */
export async function parseTransitConfig(config: JsonObject, deps: SealDependencies): Promise<TransitConfig> {
  assertKnownMembers("transit", config, MEMBERS);
  const given = stanza.parse(config, "seal transit");
  const address = given.address ?? deps.environment("VAULT_TRANSIT_SEAL_ADDR");
  if (address === undefined || !URL.canParse(address))
    throw invalid("address must be a URL such as https://vault.example:8200");
  const segment = /^[A-Za-z0-9][A-Za-z0-9._-]*$/;
  if (!segment.test(given.key_name)) throw invalid("key_name must be the name of a transit key");
  const mount = (given.mount_path ?? "transit").replace(/^\/+|\/+$/g, "");
  if (!mount.split("/").every((part) => segment.test(part)))
    throw invalid("mount_path must be a path such as transit/");
  return {
    ...{ name: sealName("transit", config), clusterName: deps.clusterName, address, keyName: given.key_name, mount },
    namespace: given.namespace,
    timeoutMillis: durationMillis("seal transit: timeout", config["timeout"] ?? TIMEOUT_DEFAULT),
    renews: given.disable_renewal !== true,
    tls: await readTls(given, deps),
    token: tokenOf(given, deps),
  };
}

async function readTls(given: Given, deps: SealDependencies): Promise<TransitTls> {
  const read = async (member: "tls_ca_cert" | "tls_client_cert" | "tls_client_key") => {
    const path = given[member];
    return path === undefined ? undefined : text(member, path, deps);
  };
  const [ca, cert, key] = await Promise.all([read("tls_ca_cert"), read("tls_client_cert"), read("tls_client_key")]);
  if ((cert === undefined) !== (key === undefined)) throw invalid("give tls_client_cert and tls_client_key together");
  return {
    ...{ ca, serverName: given.tls_server_name, skipVerify: given.tls_skip_verify === true },
    clientCertificate: cert !== undefined && key !== undefined ? { cert, key } : undefined,
  };
}

function tokenOf({ token, token_file: file }: Given, deps: SealDependencies): () => Promise<string> {
  if (file !== undefined) return async () => (await text("token_file", file, deps)).trim();
  const own = token ?? deps.environment("VAULT_TRANSIT_SEAL_TOKEN");
  if (own === undefined || own === "") throw invalid("give token_file, token or the variable VAULT_TRANSIT_SEAL_TOKEN");
  return async () => own;
}

async function text(member: string, path: string, { readFile }: SealDependencies): Promise<string> {
  try {
    return (await readFile(path)).toString("utf8");
  } catch (error) {
    throw invalid(`${member}: cannot read ${path}: ${messageOf(error)}`);
  }
}

function invalid(what: string): CofferError {
  return new CofferError("invalid_request", `seal transit: ${what}`);
}

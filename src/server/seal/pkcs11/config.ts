// The stanza of the pkcs11 seal: Vault's settings under Vault's names and environment variables, and a few of ours. The
// PIN comes from a file or the environment; the configuration may hold it, as in Vault, and then is a secret itself.
import { CofferError } from "#common/errors.ts";
import type { JsonObject } from "#common/json.ts";
import { type Infer, json, object, optional, string } from "#common/schema.ts";
import type { SealDependencies } from "../seal-types.ts";
import { assertKnownMembers, durationMillis, sealName } from "../stanza.ts";
import { type CloudHsmConfig, parseCloudHsmConfig } from "./cloudhsm/cloudhsm-config.ts";
import { isSchemeName, SCHEME_NAMES, type SchemeName } from "./schemes.ts";

/** A network HSM answers in milliseconds, and takes some seconds to log in when its session was lost. */
const TIMEOUT_MILLIS_DEFAULT = 10_000;

const stanza = object({
  /** Path of the vendor's PKCS #11 library. VAULT_HSM_LIB otherwise. */
  lib: optional(string),
  /** Number of the slot (decimal or 0x…), or the token's label. VAULT_HSM_SLOT, VAULT_HSM_TOKEN_LABEL otherwise. */
  slot: optional(json),
  token_label: optional(string),
  /** Of the user; for CloudHSM "user:password". A file, or VAULT_HSM_PIN, keeps it out of the configuration. */
  pin: optional(string),
  pin_file: optional(string),
  /** Label of the AES key. VAULT_HSM_KEY_LABEL otherwise. */
  key_label: optional(string),
  /** Hexadecimal CKA_ID, when several keys have that label. */
  key_id: optional(string),
  /** Label of the HMAC key of the scheme aes-cbc-hmac; by default the AES key's with "-hmac" behind. */
  hmac_key_label: optional(string),
  /** How keys are wrapped; by default the best that the token offers. */
  mechanism: optional(string),
  /** Whether a missing key is made. */
  generate_key: optional(json),
  /** Of one operation: "10s". */
  timeout: optional(json),
  /** The CloudHSM cluster behind the library, to look at: cloudhsm/cloudhsm-config.ts. */
  cloudhsm: optional(json),
});
type Stanza = Infer<typeof stanza>;

const MEMBERS: readonly (keyof Stanza)[] = [
  ...(["lib", "slot", "token_label", "pin", "pin_file", "key_label", "key_id", "hmac_key_label"] as const),
  ...(["mechanism", "generate_key", "timeout", "cloudhsm"] as const),
];

export interface TokenAddress {
  readonly slot: number | undefined;
  readonly label: string | undefined;
}

export interface Pkcs11Config {
  readonly name: string;
  readonly library: string;
  readonly token: TokenAddress;
  /** Read anew for each login, so that a PIN can be changed without a restart. Throws `invalid_request`. */
  readPin(): Promise<string>;
  readonly keyLabel: string;
  readonly keyId: string | undefined;
  readonly hmacKeyLabel: string;
  readonly scheme: SchemeName | undefined;
  readonly generateKey: boolean;
  /** Bound to every ciphertext. */
  readonly clusterName: string;
  readonly timeoutMillis: number;
  readonly cloudHsm: CloudHsmConfig | undefined;
}

type Dependencies = Pick<SealDependencies, "clusterName" | "environment" | "readFile">;

/** Reads the stanza. Throws `invalid_request` naming the member. */
export function parsePkcs11Config(config: JsonObject, dependencies: Dependencies): Pkcs11Config {
  assertKnownMembers("pkcs11", config, MEMBERS);
  const settings = stanza.parse(config, "seal pkcs11");
  const { environment, clusterName } = dependencies;
  const keyLabel = required(
    settings.key_label ?? environment("VAULT_HSM_KEY_LABEL"),
    "key_label is missing: set it to the label of the AES key in the HSM",
  );
  return {
    name: sealName("pkcs11", config),
    library: required(
      settings.lib ?? environment("VAULT_HSM_LIB"),
      "lib is missing: set it to the path of the HSM's PKCS #11 library, such as /opt/cloudhsm/lib/libcloudhsm_pkcs11.so",
    ),
    token: tokenAddress(settings, environment),
    readPin: pinReader(settings, dependencies),
    keyLabel,
    keyId: keyId(settings.key_id),
    hmacKeyLabel: settings.hmac_key_label ?? `${keyLabel}-hmac`,
    scheme: scheme(settings.mechanism),
    generateKey: flag("generate_key", settings.generate_key),
    clusterName,
    timeoutMillis: settings.timeout == null ? TIMEOUT_MILLIS_DEFAULT : durationMillis("timeout", settings.timeout),
    cloudHsm: parseCloudHsmConfig(settings.cloudhsm, environment),
  };
}

function invalid(message: string): CofferError {
  return new CofferError("invalid_request", `seal pkcs11: ${message}`);
}

function required(value: string | undefined, message: string): string {
  if (value === undefined || value === "") throw invalid(message);
  return value;
}

function tokenAddress(settings: Stanza, environment: SealDependencies["environment"]): TokenAddress {
  const slot = settings.slot ?? environment("VAULT_HSM_SLOT");
  const label = settings.token_label ?? environment("VAULT_HSM_TOKEN_LABEL");
  if (slot == null) return { slot: undefined, label };
  const number = Number(slot);
  if ((typeof slot !== "string" && typeof slot !== "number") || slot === "" || !Number.isInteger(number) || number < 0)
    throw invalid('slot must be a number such as 0 or "0x2"');
  return { slot: number, label };
}

function pinReader(settings: Stanza, { environment, readFile }: Dependencies): () => Promise<string> {
  const { pin, pin_file: file } = settings;
  if (pin !== undefined && file !== undefined) throw invalid("set pin or pin_file, not both");
  const given = pin ?? environment("VAULT_HSM_PIN");
  if (file === undefined) {
    const known = required(given, "the PIN is missing: set pin_file, or VAULT_HSM_PIN in the environment");
    return async () => known;
  }
  return async () => {
    const text = (await readFile(file)).toString("utf8").replace(/\r?\n$/, "");
    return required(text, `pin_file ${file} is empty`);
  };
}

function keyId(value: string | undefined): string | undefined {
  if (value === undefined) return undefined;
  const digits = value.replace(/^0x/, "").toLowerCase();
  if (!/^([0-9a-f]{2})+$/.test(digits)) throw invalid("key_id must be hexadecimal, such as 0x01ab");
  return digits;
}

function scheme(value: string | undefined): SchemeName | undefined {
  if (value === undefined || value === "auto") return undefined;
  if (isSchemeName(value)) return value;
  throw invalid(`mechanism must be auto or one of ${SCHEME_NAMES.join(", ")}`);
}

function flag(member: string, value: unknown): boolean {
  if (value == null) return false;
  if (value === true || value === "true" || value === "1") return true;
  if (value === false || value === "false" || value === "0") return false;
  throw invalid(`${member} must be true or false`);
}

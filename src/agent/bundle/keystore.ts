// A keystore for an application out of a secret's data: which keys hold certificate, private key and chain, and which
// the password. The names are those that PKI engines answer with, unless the configuration has others.
import type { AgentConfig } from "#common/agent-config.ts";
import { isJsonArray, type JsonObject } from "#common/json.ts";
import { textOf, textOfKey } from "../values.ts";
import { jksOf } from "./jks.ts";
import { readKeyMaterial } from "./key-material.ts";
import { pkcs12Of } from "./pkcs12.ts";

export type KeystoreConfig = NonNullable<AgentConfig["files"][number]["keystore"]>;

/** What a certificate has above it, in the answer of a PKI engine. */
const CHAIN_KEYS = ["ca_chain", "issuing_ca"] as const;

export interface KeystoreInput {
  readonly format: "PKCS12" | "JKS";
  readonly keystore: KeystoreConfig;
  /** Name of the source, for messages. */
  readonly source: string;
  readonly data: JsonObject;
  readonly passwordData: JsonObject;
}

/** Throws `not_found` or `invalid_request`, naming the key that is missing or what does not fit. */
export function renderKeystore({ format, keystore, source, data, passwordData }: KeystoreInput): Buffer {
  const { certificate, privateKey, alias, password } = keystore;
  const material = readKeyMaterial({
    certificate: textOfKey(data, certificate, source),
    privateKey: textOfKey(data, privateKey, source),
    chain: chainOf(data, keystore.chain, source),
  });
  const secret = textOfKey(passwordData, password.key, password.source ?? source);
  return format === "PKCS12" ? pkcs12Of(material, secret, alias) : jksOf(material, secret, alias);
}

/** A text with certificates, or a list of such texts; without a name what a PKI engine gives, if it gives any. */
function chainOf(data: JsonObject, key: string | undefined, source: string): string {
  const name = key ?? CHAIN_KEYS.find((each) => Object.hasOwn(data, each));
  if (name === undefined) return "";
  const value = data[name];
  return value !== undefined && isJsonArray(value) ? value.map(textOf).join("\n") : textOfKey(data, name, source);
}

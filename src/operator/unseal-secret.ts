// The Secret that an UnsealConfig names: which keys it must hold, and the sentence when it does not. No value is read.
import type { UnsealConfig } from "./api/unseal-config.ts";

/** Names of the Secret's keys are those of AWS's environment variables, which they become. */
export const AWS_CREDENTIAL_KEYS = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] as const;
export const AWS_SESSION_KEY = "AWS_SESSION_TOKEN";
export const STATIC_KEY = "key";
export const PIN_KEY = "pin";

export interface NeededSecret {
  readonly name: string;
  readonly keys: readonly string[];
}

/** What is known of a Secret: the names of its keys, and what changes with its contents. */
export interface SecretFacts {
  readonly keys: readonly string[];
  readonly version: string;
}

/** Of those, what servers read as a file, because it must not be in their environment or configuration. */
export function mountedSecret({ spec }: UnsealConfig): { readonly name: string; readonly key: string } | undefined {
  if (spec.static !== undefined) return { name: spec.static.secretRef.name, key: STATIC_KEY };
  return spec.pkcs11 && { name: spec.pkcs11.pin.secretRef.name, key: PIN_KEY };
}

/** The Secret that the configuration needs, if it needs one. */
export function neededSecret({ spec }: UnsealConfig): NeededSecret | undefined {
  if (spec.static !== undefined) return { name: spec.static.secretRef.name, keys: [STATIC_KEY] };
  if (spec.pkcs11 !== undefined) return { name: spec.pkcs11.pin.secretRef.name, keys: [PIN_KEY] };
  const credentials = spec.awsKms?.credentials;
  return credentials && { name: credentials.secretRef.name, keys: AWS_CREDENTIAL_KEYS };
}

/** What is wrong with the Secret, as a sentence that says what to do; undefined when all is well. */
export function secretProblem(config: UnsealConfig, facts: SecretFacts | undefined): string | undefined {
  const needed = neededSecret(config);
  if (needed === undefined) return undefined;
  const where = `${config.metadata.namespace}/${needed.name}`;
  if (facts === undefined)
    return `there is no Secret ${where}: create it with the key${needed.keys.length > 1 ? "s" : ""} ${needed.keys.join(" and ")}`;
  const missing = needed.keys.filter((key) => !facts.keys.includes(key));
  if (missing.length === 0) return undefined;
  return `the Secret ${where} lacks ${missing.join(" and ")}: add ${missing.length > 1 ? "them" : "it"}`;
}

// The seal whose key lies in the configuration, a file or the environment: as safe as that place, meant for development
// and for machines whose disk a TPM or an orchestrator protects. Two keys, so that one can be rotated: what the previous
// key wrapped is still opened, new wrappings use the current one. Format of the ciphertext: ../key-blob.ts.
import { CofferError, messageOf } from "#common/errors.ts";
import type { JsonObject } from "#common/json.ts";
import { type Infer, object, optional, string } from "#common/schema.ts";
import { SecretBytes } from "#common/secret-bytes.ts";
import { decryptKey, encryptKey, fingerprint, WRAPPING_KEY_BYTES } from "../key-blob.ts";
import { type AutoSeal, SealError, type WrappedKey } from "../seal.ts";
import type { SealDependencies, SealType } from "../seal-types.ts";
import { assertKnownMembers, sealName } from "../stanza.ts";

const stanza = object({
  /** The key: base64 or hex of 32 bytes, or where it is: file://PATH, env://NAME. A file may also hold 32 raw bytes. */
  current_key: string,
  /** Stored with what the key wraps. Default: a fingerprint of the key. */
  current_key_id: optional(string),
  previous_key: optional(string),
  previous_key_id: optional(string),
});

interface NamedKey {
  readonly id: string;
  readonly key: SecretBytes;
}

export const staticSealType: SealType = {
  type: "static",
  parse: async (config, dependencies) => {
    assertKnownMembers("static", config, ["current_key", "current_key_id", "previous_key", "previous_key_id"]);
    return createStaticSeal(sealName("static", config), await readKeys(config, dependencies), dependencies);
  },
};

/** A static seal. It owns the keys and disposes them when closed. The first key wraps, all of them unwrap. */
export function createStaticSeal(
  name: string,
  keys: readonly [NamedKey, ...NamedKey[]],
  { clock }: Pick<SealDependencies, "clock">,
): AutoSeal {
  const current = keys[0];
  const wrap = (key: SecretBytes, purpose: string): WrappedKey => ({
    seal: name,
    keyId: current.id,
    ciphertext: encryptKey(key, purpose, current.key).toString("base64"),
  });
  return {
    kind: "auto",
    type: "static",
    name,
    wrap: async (key, purpose) => wrap(key, purpose),
    unwrap: async (wrapped, purpose) => unwrapWith(name, keys, wrapped, purpose),
    probe: async () => {
      const start = clock.now();
      using nonce = SecretBytes.random(16);
      unwrapWith(name, keys, wrap(nonce, "probe"), "probe")[Symbol.dispose]();
      return { keyId: current.id, latencyMillis: clock.now() - start };
    },
    close: async () => {
      for (const { key } of keys) key[Symbol.dispose]();
    },
  };
}

function unwrapWith(name: string, keys: readonly NamedKey[], wrapped: WrappedKey, purpose: string): SecretBytes {
  const named = keys.find(({ id }) => id === wrapped.keyId);
  if (named === undefined)
    throw new SealError(
      "KeyNotFound",
      `seal ${name} has no key ${wrapped.keyId}, which wrapped the stored key: configure it as previous_key`,
      { transient: false },
    );
  const key = decryptKey(Buffer.from(wrapped.ciphertext, "base64"), purpose, named.key);
  if (key !== undefined) return key;
  throw new SealError(
    "InvalidCiphertext",
    `key ${named.id} of seal ${name} does not open the stored key: it is another key of the same id, or the store is damaged`,
    { transient: false },
  );
}

async function readKeys(
  config: JsonObject,
  dependencies: SealDependencies,
): Promise<readonly [NamedKey, ...NamedKey[]]> {
  const settings: Infer<typeof stanza> = stanza.parse(config, "seal static");
  const current = await readKey("current_key", settings.current_key, settings.current_key_id, dependencies);
  if (settings.previous_key === undefined) return [current];
  const previous = await readKey("previous_key", settings.previous_key, settings.previous_key_id, dependencies);
  if (previous.id === current.id)
    throw new CofferError("invalid_request", "seal static: current_key_id and previous_key_id must differ");
  return [current, previous];
}

async function readKey(
  member: string,
  value: string,
  id: string | undefined,
  dependencies: SealDependencies,
): Promise<NamedKey> {
  const content = await contentOf(member, value, dependencies);
  const raw = value.startsWith("file://") && content.length === WRAPPING_KEY_BYTES;
  const bytes = raw ? content : decodeKey(content.toString("utf8").trim());
  if (bytes === undefined)
    throw new CofferError(
      "invalid_request",
      `seal static: ${member} must be 32 bytes in base64 or hex; make one with "openssl rand -base64 32"`,
    );
  const key = new SecretBytes(bytes);
  return { id: id ?? fingerprint(key), key };
}

async function contentOf(member: string, value: string, dependencies: SealDependencies): Promise<Buffer> {
  if (value.startsWith("file://")) {
    const path = value.slice("file://".length);
    return dependencies.readFile(path).catch((error: unknown) => {
      throw new CofferError("invalid_request", `seal static: ${member}: cannot read ${path}: ${messageOf(error)}`);
    });
  }
  if (!value.startsWith("env://")) return Buffer.from(value, "utf8");
  const name = value.slice("env://".length);
  const text = dependencies.environment(name);
  if (text !== undefined && text !== "") return Buffer.from(text, "utf8");
  throw new CofferError("invalid_request", `seal static: ${member}: the environment variable ${name} is not set`);
}

/** 32 bytes from 64 hex digits or from base64 (either alphabet, padding or not). */
function decodeKey(text: string): Buffer | undefined {
  if (/^[0-9a-fA-F]{64}$/.test(text)) return Buffer.from(text, "hex");
  return /^[A-Za-z0-9+/_-]{43}=?$/.test(text) ? Buffer.from(text, "base64") : undefined;
}

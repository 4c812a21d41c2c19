// The seal that people open: keys are wrapped under a key-encryption key (KEK) that exists only as shares in their
// hands and in memory while enough of them are together. Splitting and combining: split.ts, combine.ts. Format of the
// ciphertext: ../key-blob.ts.
import type { SecretBytes } from "#common/secret-bytes.ts";
import { decryptKey, encryptKey, fingerprint } from "../key-blob.ts";
import { SealError, type ShamirSeal } from "../seal.ts";
import type { SealType } from "../seal-types.ts";
import { assertKnownMembers, sealName } from "../stanza.ts";

export const shamirSealType: SealType = {
  type: "shamir",
  parse: async (config) => {
    assertKnownMembers("shamir", config, []);
    return createShamirSeal(sealName("shamir", config));
  },
};

/** A Shamir seal. It holds no key: every call is given the KEK (32 bytes), which stays the caller's. */
export function createShamirSeal(name: string): ShamirSeal {
  return {
    kind: "shamir",
    type: "shamir",
    name,
    wrap: (key, purpose, kek) => ({
      seal: name,
      keyId: fingerprint(kek),
      ciphertext: encryptKey(key, purpose, kek).toString("base64"),
    }),
    unwrap: (wrapped, purpose, kek) => open(name, wrapped.ciphertext, purpose, kek),
  };
}

function open(name: string, ciphertext: string, purpose: string, kek: SecretBytes): SecretBytes {
  const key = decryptKey(Buffer.from(ciphertext, "base64"), purpose, kek);
  if (key !== undefined) return key;
  throw new SealError(
    "InvalidCiphertext",
    `the key shares do not open seal ${name}: start again with the shares of this server's last init or rekey`,
    { transient: false },
  );
}

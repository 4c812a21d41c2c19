// The KMS operations of the responder, after the KMS API reference: what is checked, in which order, and which exception
// tells it. Cryptographic operations need an enabled key; encryption context, tag and key id are checked for real.
import { randomBytes } from "node:crypto";
import type { JsonObject } from "#common/json.ts";
import type { AccessControl, Caller } from "./access.ts";
import { AwsError } from "./aws-error.ts";
import { type Grants, manageGrants } from "./grants.ts";
import type { JsonService, Operation } from "./json-service.ts";
import { manageAliases } from "./kms-aliases.ts";
import {
  assertNoDryRun,
  assertSymmetric,
  blob,
  CIPHERTEXT_BYTES_MAX,
  encryptionContext,
  integer,
  optionalText,
  PLAINTEXT_BYTES_MAX,
  text,
  validation,
} from "./kms-input.ts";
import type { EncryptionContext, Key, KeyStore } from "./kms-keys.ts";
import { manageKeys } from "./kms-management.ts";

const ALGORITHM = "SYMMETRIC_DEFAULT";

/** KMS over the given keys. */
export function kmsService(store: KeyStore, access: AccessControl, account: string, grants: Grants): JsonService {
  const use: Use = (input, caller, action, key, context) => {
    if (!grants.allow(input, caller, action, key, context)) access.authorize(caller, `kms:${action}`, key.arn, context);
    return usable(key);
  };
  return {
    name: "kms",
    target: "TrentService",
    operations: {
      ...encryption(store, use),
      ...dataKeys(store, access, use),
      ...manageKeys(store, access, account),
      ...manageAliases(store, access),
      ...manageGrants(store, access, grants),
    },
  };
}

/** The key, when a grant or the caller's policy allows this with it and it is usable. */
type Use = (input: JsonObject, caller: Caller, action: string, key: Key, context: EncryptionContext) => Key;

function usable(key: Key): Key {
  if (key.state === "Disabled") throw new AwsError("DisabledException", `${key.arn} is disabled.`);
  if (key.state === "PendingDeletion")
    throw new AwsError("KMSInvalidStateException", `${key.arn} is pending deletion.`);
  return key;
}

/** The key of a ciphertext; KeyId may name it, and then it must be that one. */
function keyForDecryption(store: KeyStore, input: JsonObject, ciphertext: Buffer, member: string): Key {
  const named = optionalText(input, member);
  const expected = named === undefined ? undefined : store.resolve(named);
  const key = store.keyOf(ciphertext);
  if (expected !== undefined && expected.id !== key.id)
    throw new AwsError(
      "IncorrectKeyException",
      "The key ID in the request does not identify a CMK that can perform this operation.",
    );
  return key;
}

function encryption(store: KeyStore, use: Use): Record<string, Operation> {
  return {
    Encrypt: (input, caller) => {
      assertSymmetric(input, "EncryptionAlgorithm");
      const plaintext = blob(input, "Plaintext", PLAINTEXT_BYTES_MAX);
      const context = encryptionContext(input);
      const key = use(input, caller, "Encrypt", store.resolve(text(input, "KeyId")), context);
      assertNoDryRun(input);
      const ciphertext = store.encrypt(key, plaintext, context).toString("base64");
      return { CiphertextBlob: ciphertext, KeyId: key.arn, EncryptionAlgorithm: ALGORITHM };
    },
    Decrypt: (input, caller) => {
      assertSymmetric(input, "EncryptionAlgorithm");
      const ciphertext = blob(input, "CiphertextBlob", CIPHERTEXT_BYTES_MAX);
      const context = encryptionContext(input);
      const key = use(input, caller, "Decrypt", keyForDecryption(store, input, ciphertext, "KeyId"), context);
      const plaintext = store.decrypt(key, ciphertext, context).toString("base64");
      assertNoDryRun(input);
      return { Plaintext: plaintext, KeyId: key.arn, EncryptionAlgorithm: ALGORITHM };
    },
    ReEncrypt: (input, caller) => {
      assertSymmetric(input, "SourceEncryptionAlgorithm");
      assertSymmetric(input, "DestinationEncryptionAlgorithm");
      const ciphertext = blob(input, "CiphertextBlob", CIPHERTEXT_BYTES_MAX);
      const from = encryptionContext(input, "SourceEncryptionContext");
      const to = encryptionContext(input, "DestinationEncryptionContext");
      const named = keyForDecryption(store, input, ciphertext, "SourceKeyId");
      const source = use(input, caller, "ReEncryptFrom", named, from);
      const target = use(input, caller, "ReEncryptTo", store.resolve(text(input, "DestinationKeyId")), to);
      const plaintext = store.decrypt(source, ciphertext, from);
      assertNoDryRun(input);
      return {
        CiphertextBlob: store.encrypt(target, plaintext, to).toString("base64"),
        SourceKeyId: source.arn,
        KeyId: target.arn,
        SourceEncryptionAlgorithm: ALGORITHM,
        DestinationEncryptionAlgorithm: ALGORITHM,
      };
    },
  };
}

function dataKeys(store: KeyStore, access: AccessControl, use: Use): Record<string, Operation> {
  const generate = (input: JsonObject, caller: Caller, action: string) => {
    const length = dataKeyLength(input);
    const context = encryptionContext(input);
    const key = use(input, caller, action, store.resolve(text(input, "KeyId")), context);
    assertNoDryRun(input);
    const plaintext = randomBytes(length);
    const ciphertext = store.encrypt(key, plaintext, context).toString("base64");
    return { sealed: { CiphertextBlob: ciphertext, KeyId: key.arn }, plaintext: plaintext.toString("base64") };
  };
  return {
    GenerateDataKey: (input, caller) => {
      const { sealed, plaintext } = generate(input, caller, "GenerateDataKey");
      return { ...sealed, Plaintext: plaintext };
    },
    GenerateDataKeyWithoutPlaintext: (input, caller) =>
      generate(input, caller, "GenerateDataKeyWithoutPlaintext").sealed,
    GenerateRandom: (input, caller) => {
      access.authorize(caller, "kms:GenerateRandom", "*");
      const length = integer(input, "NumberOfBytes", { from: 1, to: 1024 });
      if (length === undefined) throw validation("NumberOfBytes must not be null");
      return { Plaintext: randomBytes(length).toString("base64") };
    },
  };
}

function dataKeyLength(input: JsonObject): number {
  const spec = optionalText(input, "KeySpec");
  const length = integer(input, "NumberOfBytes", { from: 1, to: 1024 });
  if ((spec === undefined) === (length === undefined))
    throw validation("Please specify either number of bytes or key spec.");
  if (length !== undefined) return length;
  if (spec === "AES_256") return 32;
  if (spec === "AES_128") return 16;
  throw validation(
    "Value at 'keySpec' failed to satisfy constraint: Member must satisfy enum value set: [AES_256, AES_128]",
  );
}

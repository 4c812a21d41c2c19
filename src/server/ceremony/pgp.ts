// Shares and root tokens for people who gave a PGP public key: encrypted before they leave, so that neither who begins
// a ceremony nor anything on the way reads them. OpenPGP (RFC 9580) is the library's work; here is only what clients of
// Vault agree on: a key is sent as base64 of its binary form (or ASCII-armoured), and what is encrypted is the share in
// hexadecimal, so that `gpg --decrypt` prints a text that can be entered.
import { CofferError, messageOf } from "#common/errors.ts";
import { assertApproved } from "#common/fips-mode.ts";
import { type Infer, list, object, string } from "#common/schema.ts";
import type { SecretBytes } from "#common/secret-bytes.ts";

/** A public key as people publish it with a few identities and signatures; keys with photographs are larger. */
export const PGP_KEY_BYTES_MAX = 64 * 1024;

export const recipientsSchema = list(object({ key: string, fingerprint: string }));
/** People in the order of the shares that they are to get: public key (base64) and its fingerprint (lower-case hex). */
export type Recipients = Infer<typeof recipientsSchema>;

/**
 * Reads the public keys of field `name`, of which there must be `count` (none is nobody); `now` in ms. Throws `invalid_request` that
 * names the field and which key of it is wrong: not a key, a private one, expired or revoked.
 */
export async function readRecipients(
  name: string,
  keys: readonly string[],
  { count, now }: { count: number; now: number },
): Promise<Recipients> {
  if (keys.length === 0) return [];
  assertApproved(`${name}: OpenPGP, whose library has ciphers of its own,`, "leave the keys out");
  if (keys.length !== count)
    throw invalid(`${name} has ${keys.length} keys and there are ${count} shares: give one key for each`);
  const place = (i: number) => (count === 1 ? name : `${name}[${i}]`);
  return Promise.all(keys.map((text, i) => readRecipient(place(i), text, new Date(now))));
}

async function readRecipient(name: string, text: string, now: Date): Promise<Recipients[number]> {
  if (text.length > PGP_KEY_BYTES_MAX) throw invalid(`${name} is longer than ${PGP_KEY_BYTES_MAX} characters`);
  const { readKey } = await import("openpgp");
  const isArmored = text.trimStart().startsWith("-----BEGIN PGP");
  if (!isArmored && !/^[A-Za-z0-9+/\s]+={0,2}\s*$/.test(text))
    throw invalid(`${name} is neither base64 of a PGP public key nor an armoured one`);
  try {
    const key = await (isArmored ? readKey({ armoredKey: text }) : readKey({ binaryKey: Buffer.from(text, "base64") }));
    if (key.isPrivate()) throw new Error("it is a private key; send the public one, and keep this one to yourself");
    // Throws when the key is expired, revoked or cannot encrypt.
    await key.getEncryptionKey(undefined, now);
    return { key: Buffer.from(key.write()).toString("base64"), fingerprint: key.getFingerprint() };
  } catch (cause) {
    throw new CofferError("invalid_request", `${name} cannot be used: ${messageOf(cause)}`, { cause });
  }
}

/**
 * The shares as they may leave: each encrypted to its recipient, or as they are when there is none. `now` in ms: when
 * the recipients were read, so that a key that expires meanwhile does not stop what has begun.
 */
export async function sealShares(
  shares: readonly SecretBytes[],
  recipients: Recipients,
  now: number,
): Promise<readonly Buffer[]> {
  if (recipients.length === 0) return shares.map((share) => Buffer.from(share.expose()));
  return Promise.all(
    shares.map((share, i) => {
      const recipient = recipients[i];
      if (!recipient) throw new Error("there is a recipient for each share");
      return encryptTo(recipient, share.expose().toString("hex"), now);
    }),
  );
}

/** The text encrypted to the recipient: a binary OpenPGP message. `now` as in sealShares. */
export async function encryptTo({ key }: Recipients[number], text: string, now: number): Promise<Buffer> {
  const { createMessage, encrypt, readKey } = await import("openpgp");
  const encryptionKeys = await readKey({ binaryKey: Buffer.from(key, "base64") });
  const message = await createMessage({ text });
  return Buffer.from(await encrypt({ message, encryptionKeys, format: "binary", date: new Date(now) }));
}

function invalid(message: string): CofferError {
  return new CofferError("invalid_request", message);
}

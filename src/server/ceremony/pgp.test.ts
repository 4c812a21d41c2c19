import { decrypt, generateKey, readMessage, revokeKey } from "openpgp";
import { describe, expect, it } from "vitest";
import { SecretBytes } from "#common/secret-bytes.ts";
import { PGP_KEY_BYTES_MAX, readRecipients, sealShares } from "./pgp.ts";

const now = Date.now();
const person = (name: string) => generateKey({ userIDs: [{ name }], format: "object" });
const sent = (key: { write(): Uint8Array }) => Buffer.from(key.write()).toString("base64");

describe("PGP recipients", () => {
  it("get each share in hexadecimal, encrypted to them alone", async () => {
    const [ann, ben] = [await person("ann"), await person("ben")];
    const recipients = await readRecipients("pgp_keys", [sent(ann.publicKey), ben.publicKey.armor()], {
      count: 2,
      now,
    });
    expect(recipients.map(({ fingerprint }) => fingerprint)).toEqual([
      ann.publicKey.getFingerprint(),
      ben.publicKey.getFingerprint(),
    ]);
    const shares = [new SecretBytes(Buffer.from("share of ann")), new SecretBytes(Buffer.from("share of ben"))];
    const [first, second] = await sealShares(shares, recipients, now);
    const open = async (binaryMessage: Uint8Array | undefined, { privateKey }: typeof ann) =>
      (await decrypt({ message: await readMessage({ binaryMessage }), decryptionKeys: privateKey })).data;
    expect(await open(first, ann)).toBe(Buffer.from("share of ann").toString("hex"));
    expect(await open(second, ben)).toBe(Buffer.from("share of ben").toString("hex"));
    await expect(open(first, ben)).rejects.toThrow();
  });

  it("are refused by name when they are no keys to encrypt to", async () => {
    const ann = await person("ann");
    const { publicKey: revoked } = await revokeKey({ key: ann.privateKey, format: "object" });
    const expired = await generateKey({
      userIDs: [{ name: "old" }],
      keyExpirationTime: 60,
      date: new Date(now - 3600_000),
      format: "object",
    });
    const refusal = async (...keys: string[]) => {
      const outcome = await readRecipients("pgp_keys", keys, { count: keys.length, now }).catch(
        (error: unknown) => error,
      );
      return outcome instanceof Error ? outcome.message : "accepted";
    };
    const good = sent(ann.publicKey);
    expect(await refusal(good, "no key!")).toMatch(/^pgp_keys\[1\] is neither base64/);
    expect(await refusal("AAAA")).toMatch(/^pgp_keys cannot be used/);
    expect(await refusal("x".repeat(PGP_KEY_BYTES_MAX + 1))).toMatch(/longer than/);
    expect(await refusal(sent(ann.privateKey))).toMatch(/private key/);
    expect(await refusal(sent(revoked))).toMatch(/cannot be used/);
    expect(await refusal(sent(expired.publicKey))).toMatch(/cannot be used/);
    await expect(readRecipients("pgp_keys", [good], { count: 2, now })).rejects.toThrow(
      "pgp_keys has 1 keys and there are 2 shares",
    );
  });
});

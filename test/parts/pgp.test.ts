// What the server encrypts to a PGP key, GnuPG decrypts: with keys of the kinds that people have.
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { SecretBytes } from "#common/secret-bytes.ts";
import { readRecipients, sealShares } from "#server/ceremony/pgp.ts";

const home = mkdtempSync(join(tmpdir(), "coffer-gpg-"));
const gpg = (input: string | Buffer, ...args: string[]) =>
  execFileSync("gpg", ["--homedir", home, "--batch", "--quiet", "--trust-model", "always", ...args], {
    input,
    stdio: ["pipe", "pipe", "ignore"],
  });
const isInstalled = (() => {
  try {
    execFileSync("gpg", ["--version"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
})();

describe.skipIf(!isInstalled && !process.env["CI"])("PGP keys of GnuPG", () => {
  beforeAll(() => {
    if (!isInstalled) throw new Error("gpg is not installed: apt-get install gnupg");
  });
  afterAll(() => {
    execFileSync("gpgconf", ["--homedir", home, "--kill", "all"], { stdio: "ignore" });
    rmSync(home, { recursive: true, force: true });
  });

  it.each([
    ["RSA", "rsa2048", "encrypt"],
    ["elliptic curve", "future-default", "default"],
  ])("%s", async (name, algorithm, usage) => {
    const address = `${name.replace(" ", "-")}@example.com`;
    gpg("", "--passphrase", "", "--quick-generate-key", address, algorithm, usage, "never");
    for (const key of [
      gpg("", "--export", address).toString("base64"),
      gpg("", "--armor", "--export", address).toString(),
    ]) {
      const now = Date.now();
      const recipients = await readRecipients("pgp_keys", [key], { count: 1, now });
      const [message] = await sealShares([new SecretBytes(Buffer.from("share"))], recipients, now);
      expect(gpg(message ?? "", "--decrypt").toString()).toBe(Buffer.from("share").toString("hex"));
    }
  });
});

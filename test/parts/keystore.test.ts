// Keystores in Java's own hands: keytool reads them and writes the key out again.
import { execFileSync } from "node:child_process";
import { createPrivateKey, X509Certificate } from "node:crypto";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { renderKeystore } from "#agent/bundle/keystore.ts";
import { createTestAuthority } from "#test/kit/tls-pair.ts";

const KEYTOOL = (process.env["PATH"] ?? "").split(":").some((folder) => existsSync(join(folder, "keytool")));

it.skipIf(!KEYTOOL).each(["PKCS12", "JKS"] as const)("%s is read by keytool", { timeout: 60_000 }, async (format) => {
  const folder = mkdtempSync(join(tmpdir(), "coffer-keytool-"));
  try {
    const authority = await createTestAuthority();
    const pair = await authority.server("keytool");
    const bytes = renderKeystore({
      ...{ format, source: "tls" },
      keystore: {
        certificate: "tls.crt",
        privateKey: "tls.key",
        chain: "ca.crt",
        alias: "app",
        password: { key: "pw" },
      },
      data: { "tls.crt": pair.cert, "tls.key": pair.key, "ca.crt": authority.cert },
      passwordData: { pw: "changeit" },
    });
    const [store, out] = [join(folder, "store"), join(folder, "out.p12")];
    writeFileSync(store, bytes);
    const keytool = (...words: string[]) => execFileSync("keytool", words, { encoding: "utf8" });
    const listed = keytool("-list", "-rfc", "-keystore", store, "-storetype", format, "-storepass", "changeit");
    expect(listed).toContain("Entry type: PrivateKeyEntry");
    expect(listed).toContain("Certificate chain length: 2");
    expect(new X509Certificate(listed.slice(listed.indexOf("-----BEGIN"))).fingerprint256).toBe(
      new X509Certificate(pair.cert).fingerprint256,
    );
    const from = ["-srckeystore", store, "-srcstoretype", format, "-srcstorepass", "changeit", "-srcalias", "app"];
    const to = ["-destkeystore", out, "-deststoretype", "PKCS12", "-deststorepass", "changeit"];
    keytool("-importkeystore", "-noprompt", ...from, ...to);
    const words = ["pkcs12", "-in", out, "-passin", "pass:changeit", "-nodes", "-nocerts"];
    const key = createPrivateKey(execFileSync("openssl", words, { encoding: "utf8" }));
    const pem = { type: "pkcs8", format: "pem" } as const;
    expect(key.export(pem)).toBe(createPrivateKey(pair.key).export(pem));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

// FIPS mode without a FIPS provider, which Node brings none of: a server that was told to use it does not start, and in a
// process with the mode on, what is not approved is refused. A provider that works is not to be had here.
import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, it } from "vitest";
import { startServer, writeConfig } from "#test/kit/server.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "coffer-fips-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const MODULES = {
  fips: new URL("../../src/common/fips-mode.ts", import.meta.url).href,
  password: new URL("../../src/server/auth/userpass/password.ts", import.meta.url).href,
  pgp: new URL("../../src/server/ceremony/pgp.ts", import.meta.url).href,
};

/** What a process prints that switches the mode on first and then runs `code`. */
async function inFipsMode(code: string): Promise<string> {
  const file = join(folder, "run.mjs");
  await writeFile(file, `import { setFips } from "node:crypto";\nsetFips(true);\n${code}\n`);
  const { stdout } = await promisify(execFile)(process.execPath, ["--disable-warning=ExperimentalWarning", file]);
  return stdout.trim();
}
const messageOf = (module: keyof typeof MODULES, call: string) =>
  inFipsMode(`const m = await import(${JSON.stringify(MODULES[module])});
try { await m.${call}; console.log("done"); } catch (error) { console.log(error.code + ": " + error.message); }`);

it("a server that was told to use it does not start without", async () => {
  const config = await writeConfig(folder, { fips: true });
  await expect(startServer([`-config=${config}`])).rejects.toThrow(
    /fips is true, and this process is not in FIPS mode/,
  );
});

it("the mode alone is not believed: without a provider nothing can be hashed", async () => {
  expect(await messageOf("fips", "assertFipsMode()")).toMatch(/^invalid_request: .*OpenSSL finds no FIPS provider/);
});

it.each([
  ["password", 'hashPassword("a password")', "Argon2id"],
  ["password", 'verifyPassword("a password", undefined)', "Argon2id"],
  ["password", 'verifyPassword("a password", "$2b$10$x")', "bcrypt"],
  ["password", 'acceptHash("$2b$10$x")', "bcrypt"],
  ["pgp", 'readRecipients("pgp_keys", ["AAAA"], { count: 1, now: 0 })', "OpenPGP"],
] as const)("in the mode, %s refuses %s", async (module, call, algorithm) => {
  const said = await messageOf(module, call);
  expect(said).toMatch(/^invalid_request: /);
  expect(said).toContain(algorithm);
  expect(said).toContain("is not allowed in FIPS mode: ");
});

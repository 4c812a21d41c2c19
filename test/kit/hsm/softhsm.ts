// Tokens of SoftHSM2 for tests, through its own library and through a shim with the manners of AWS CloudHSM. SoftHSM
// finds its tokens by a variable of the environment, so a test file has one store of tokens, and child processes see it.
import { execFile } from "node:child_process";
import { access, mkdtemp, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);
const LIBRARIES = ["/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so"];

export interface SoftHsm extends AsyncDisposable {
  readonly folder: string;
  readonly library: string;
  /** The same tokens as CloudHSM shows them. */
  readonly cloudHsmLibrary: string;
  /** A new token with that label and user PIN. */
  createToken(label: string, pin: string): Promise<void>;
  /** Removes a token with all its keys. */
  deleteToken(label: string): Promise<void>;
}

/** Whether SoftHSM, a compiler and the binding are there; says what is missing. */
export async function missingForSoftHsm(): Promise<string | undefined> {
  try {
    await run("softhsm2-util", ["--version"]);
    await run("gcc", ["--version"]);
    createRequire(import.meta.url)("pkcs11js");
    return (await findLibrary()) === undefined ? "libsofthsm2.so is nowhere" : undefined;
  } catch (error) {
    return String(error);
  }
}

/** Compiles the shim and makes an empty store of tokens. */
export async function startSoftHsm(): Promise<SoftHsm> {
  const folder = await mkdtemp(join(tmpdir(), "coffer-hsm-"));
  const library = await findLibrary();
  if (library === undefined) throw new Error("softhsm2 is not installed: apt-get install softhsm2");
  const configuration = join(folder, "softhsm2.conf");
  await writeFile(configuration, `directories.tokendir = ${folder}\nlog.level = ERROR\nslots.removable = false\n`);
  process.env["SOFTHSM2_CONF"] = configuration;
  process.env["SHIM_LIBRARY"] = library;
  const cloudHsmLibrary = join(folder, "cloudhsm.so");
  const headers = join(dirname(createRequire(import.meta.url).resolve("pkcs11js")), "includes/pkcs11");
  const source = join(import.meta.dirname, "cloudhsm-shim.c");
  await run("gcc", ["-O1", "-Wall", "-Werror", "-shared", "-fPIC", "-I", headers, "-o", cloudHsmLibrary, source]);
  return {
    ...{ folder, library, cloudHsmLibrary },
    createToken: async (label, pin) => {
      await run("softhsm2-util", ["--init-token", "--free", "--label", label, "--pin", pin, "--so-pin", "so-pin-1234"]);
    },
    deleteToken: async (label) => void (await run("softhsm2-util", ["--delete-token", "--token", label])),
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
  };
}

async function findLibrary(): Promise<string | undefined> {
  for (const library of LIBRARIES) {
    try {
      await access(library);
      return library;
    } catch {
      // The next one.
    }
  }
  return undefined;
}

// Kinds of seals that open by themselves, each with a service of its own for tests that can go away, lose its key or get
// another one: AWS KMS (the strict stand-in), PKCS #11 (SoftHSM2) and static keys in files.
import { randomBytes } from "node:crypto";
import { rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { JsonObject } from "#common/json.ts";
import type { AwsResponder } from "./aws/responder.ts";
import type { SoftHsm } from "./hsm/softhsm.ts";

/** One seal with its key. */
export interface SealUnderTest {
  readonly name: string;
  /** Of the configuration: the type with its members. */
  readonly stanza: JsonObject;
  /** The same seal with other settings, under which its ciphertexts do not belong. */
  readonly misplaced: { readonly stanza: JsonObject; readonly clusterName: string; readonly reason: string };
  /** The service is gone, and comes back. */
  down(): Promise<void>;
  up(): Promise<void>;
  /** The key is out of use for good. Gives the fault that is reported. */
  disable(): Promise<string>;
  /** Another key from now on; the old one still opens. Gives the stanza that says so. */
  rotate(): Promise<JsonObject>;
}

export interface SealKind {
  readonly type: string;
  /** Whether the server starts and waits while the service is away; else it refuses to start. */
  readonly waits: boolean;
  make(name: string): Promise<SealUnderTest>;
}

const PIN = "crypto-user:swordfish-1";

export function staticKind(folder: string): SealKind {
  return {
    type: "static",
    waits: false,
    make: async (name) => {
      const file = join(folder, `${name}-${randomBytes(4).toString("hex")}.key`);
      const key = randomBytes(32);
      const put = (bytes: Buffer) => writeFile(file, bytes, { mode: 0o600 });
      await put(key);
      const members = { name, current_key: `file://${file}`, current_key_id: "a" };
      const stanza = { static: members };
      return {
        ...{ name, stanza, down: () => rm(file), up: () => put(key) },
        misplaced: {
          stanza: { static: { ...members, current_key: randomBytes(32).toString("base64") } },
          clusterName: "main",
          reason: "InvalidCiphertext",
        },
        disable: async () => {
          await put(randomBytes(32));
          return "InvalidCiphertext";
        },
        rotate: async () => ({
          static: {
            ...{ name, current_key: randomBytes(32).toString("base64"), current_key_id: "b" },
            ...{ previous_key: `file://${file}`, previous_key_id: "a" },
          },
        }),
      };
    },
  };
}

export function awsKmsKind(start: () => Promise<AwsResponder>): SealKind {
  return {
    type: "awskms",
    waits: true,
    make: async (name) => {
      const aws = await start();
      const { keyId } = aws.createKey({ alias: "alias/root" });
      const { accessKeyId: access_key, secretAccessKey: secret_key } = aws.credentials;
      const stanza = {
        awskms: { name, region: aws.region, kms_key_id: "alias/root", endpoint: aws.endpoint, access_key, secret_key },
      };
      return {
        ...{ name, stanza, misplaced: { stanza, clusterName: "other", reason: "InvalidCiphertext" } },
        down: async () => aws.faults.goDown(),
        up: async () => aws.faults.clear(),
        disable: async () => {
          aws.disableKey(keyId);
          return "KeyDisabled";
        },
        rotate: async () => {
          aws.createKey({ alias: "alias/root" });
          return stanza;
        },
      };
    },
  };
}

export function pkcs11Kind(hsm: SoftHsm): SealKind {
  return {
    type: "pkcs11",
    waits: true,
    make: async (name) => {
      const label = `${name}-${randomBytes(4).toString("hex")}`;
      await hsm.createToken(label, PIN);
      const lib = join(hsm.folder, `${label}.so`);
      const up = () => symlink(hsm.library, lib);
      await up();
      const members = { name, lib, token_label: label, pin: PIN, key_label: "root", generate_key: true };
      const stanza = { pkcs11: members };
      return {
        // SoftHSM 2 says CKR_GENERAL_ERROR where a tag does not fit; the seal finds out what that means.
        misplaced: { stanza, clusterName: "other", reason: "InvalidCiphertext" },
        ...{ name, stanza, up, down: () => rm(lib) },
        disable: async () => {
          await hsm.deleteToken(label);
          return "Misconfigured";
        },
        rotate: async () => ({ pkcs11: { ...members, key_label: "next" } }),
      };
    },
  };
}

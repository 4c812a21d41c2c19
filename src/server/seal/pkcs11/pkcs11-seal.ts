// The seal whose key is in an HSM and never leaves it: AWS CloudHSM, or any token with a PKCS #11 library. The stored
// ciphertext is the blob of schemes.ts in base64; the key id is the key's label and CKA_ID, so that a new key under the
// same label is noticed and old ciphertexts name the key that opens them.
import { SecretBytes } from "#common/secret-bytes.ts";
import { probeByNonce } from "../probe-by-nonce.ts";
import { type AutoSeal, SealError, type WrappedKey } from "../seal.ts";
import type { SealDependencies, SealType } from "../seal-types.ts";
import { ClusterWatch } from "./cloudhsm/cluster-watch.ts";
import { ControlPlane } from "./cloudhsm/control-plane.ts";
import { type Pkcs11Config, parsePkcs11Config } from "./config.ts";
import { HsmClient } from "./hsm-client.ts";
import { createHsmMachine } from "./hsm-machine.ts";
import { BLOB_BYTES_MAX, bindingOf } from "./schemes.ts";

type Dependencies = Pick<SealDependencies, "clock" | "background">;

export const pkcs11SealType: SealType = {
  type: "pkcs11",
  parse: async (config, dependencies) => createPkcs11Seal(parsePkcs11Config(config, dependencies), dependencies),
  machine: (config, dependencies) => createHsmMachine(parsePkcs11Config(config, dependencies), dependencies),
};

/** A seal over a PKCS #11 token. No library is loaded and nothing contacted before the first call. */
export function createPkcs11Seal(config: Pkcs11Config, dependencies: Dependencies): AutoSeal {
  const { clock } = dependencies;
  const client = new HsmClient(config, clock);
  const watch = clusterWatch(config, dependencies);
  const wrap = async (key: SecretBytes, purpose: string, signal?: AbortSignal): Promise<WrappedKey> => {
    const binding = bindingOf(config.clusterName, purpose);
    const { keyId, blob } = await client.ask({ kind: "wrap", key: key.expose(), binding }, "wrapped", signal);
    return { seal: config.name, keyId, ciphertext: Buffer.from(blob).toString("base64") };
  };
  const unwrap = async (wrapped: WrappedKey, purpose: string, signal?: AbortSignal): Promise<SecretBytes> => {
    const blob = Buffer.from(wrapped.ciphertext, "base64");
    if (blob.length > BLOB_BYTES_MAX)
      throw new SealError("InvalidCiphertext", `seal ${config.name}: the wrapped key is too long to be one`, {
        transient: false,
      });
    const binding = bindingOf(config.clusterName, purpose);
    const { key } = await client.ask({ kind: "unwrap", keyId: wrapped.keyId, blob, binding }, "unwrapped", signal);
    return new SecretBytes(key);
  };
  return {
    kind: "auto",
    type: "pkcs11",
    name: config.name,
    wrap,
    unwrap,
    probe: (signal) => {
      watch?.start();
      return probeByNonce({ name: config.name, wrap, unwrap }, { clock, keeper: "the HSM", signal });
    },
    ...(watch !== undefined && { machinery: () => watch.report() }),
    close: async () => {
      await Promise.all([client.close(), watch?.close()]);
    },
  };
}

/** Begins with the first probe: those are made by one worker of a server, for all. */
function clusterWatch({ name, cloudHsm }: Pkcs11Config, { clock, background }: Dependencies): ClusterWatch | undefined {
  if (cloudHsm === undefined || background === undefined) return undefined;
  return new ClusterWatch({ seal: name, plane: new ControlPlane(cloudHsm, clock), clock, background });
}

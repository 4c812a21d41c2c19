// The probe of a seal whose key is elsewhere: a nonce is wrapped and unwrapped as keys are, under a purpose of its own, and
// must come back as it was. It changes nothing, neither in the store nor in the seal.
import type { Clock } from "#common/clock.ts";
import { SecretBytes } from "#common/secret-bytes.ts";
import { type AutoSeal, SealError } from "./seal.ts";

const PROBE_PURPOSE = "probe";
const PROBE_BYTES = 32;

/**
 * The key in use and how long the two calls took. Throws what the seal throws, and SealError "Failed" when other bytes
 * came back; `keeper` is who gave them: "KMS".
 */
export async function probeByNonce(
  { name, wrap, unwrap }: Pick<AutoSeal, "name" | "wrap" | "unwrap">,
  { clock, keeper, signal }: { clock: Clock; keeper: string; signal: AbortSignal | undefined },
): Promise<{ keyId: string; latencyMillis: number }> {
  const start = clock.now();
  using nonce = SecretBytes.random(PROBE_BYTES);
  const wrapped = await wrap(nonce, PROBE_PURPOSE, signal);
  using again = await unwrap(wrapped, PROBE_PURPOSE, signal);
  if (!again.equals(nonce))
    throw new SealError("Failed", `seal ${name}: ${keeper} gave back other bytes than it was given`, {
      transient: false,
    });
  return { keyId: wrapped.keyId, latencyMillis: clock.now() - start };
}
